"""Which samples and heads one batched product takes, and their operands as it wants them.

Query heads that share a key head become rows of one matrix, so keys and values are never repeated: query rows are laid
out [n, rows * shared, width], row by row and within a row head by head; n counts pairs of a sample and a key head.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attnir.codegen.torch.panels import Range
from attnir.codegen.torch.schedule import Group, Schedule

Shape = tuple[int, ...]


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """What scores, sums and gradients are kept in."""
    return torch.float64 if dtype == torch.float64 else torch.float32


@dataclass(frozen=True, slots=True)
class Unit:
    """Samples and heads that are computed together: part of a group."""

    group: Group
    kv_heads: slice
    shared: int  # query heads of the group to each of the key heads

    @property
    def n(self) -> int:
        return _len(self.group.batches) * _len(self.kv_heads)

    def queries(self, t: Tensor) -> Tensor:
        """t [B, Hq, Sq, d] as a view [samples, key heads, Sq, shared, d]."""
        heads: Tensor = t[self.group.batches, self.group.heads].unflatten(1, (-1, self.shared))
        return heads.transpose(2, 3)

    def keys(self, t: Tensor) -> Tensor:
        """t [B, Hkv, Sk, d] as a view [samples, key heads, Sk, d]."""
        return t[self.group.batches, self.kv_heads]


def units(schedule: Schedule, q: Tensor, k: Tensor, limit: int) -> Iterator[Unit]:
    """All groups in parts of about `limit` query heads, in the order of the schedule.

    A part has several samples only where they and its key heads make one axis.
    """
    for group in schedule.groups:
        for heads, kv_heads, shared in _head_parts(group.heads, q.shape[1] // k.shape[1], limit):
            one_axis = _len(kv_heads) in (1, k.shape[1])
            for batches in _steps(group.batches, max(1, limit // _len(heads)) if one_axis else 1):
                yield Unit(replace(group, batches=batches, heads=heads), kv_heads, shared)


def _len(s: slice) -> int:
    return int(s.stop - s.start)


def _steps(whole: slice, step: int) -> Iterator[slice]:
    for start in range(whole.start, whole.stop, step):
        yield slice(start, min(start + step, whole.stop))


def _head_parts(heads: slice, ratio: int, limit: int) -> Iterator[tuple[slice, slice, int]]:
    """(query heads, key heads, shared): whole key heads together, those that the range cuts one by one."""
    start, stop = -(-heads.start // ratio), heads.stop // ratio
    if start <= stop:
        if heads.start < start * ratio:
            yield slice(heads.start, start * ratio), slice(start - 1, start), start * ratio - heads.start
        for kv in _steps(slice(start, stop), max(1, limit // ratio)):
            yield slice(kv.start * ratio, kv.stop * ratio), kv, ratio
        if stop * ratio < heads.stop:
            yield slice(stop * ratio, heads.stop), slice(stop, stop + 1), heads.stop - stop * ratio
    else:
        yield heads, slice(stop, stop + 1), _len(heads)


class Workspace:
    """The buffers of one call, by name, reused from step to step."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self.dtype, self.device = dtype, device
        self.held: dict[str, Tensor] = {}
        self.views: dict[tuple[str, Shape], Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """A contiguous tensor with the contents of the last use, or none in particular."""
        found = self.views.get((name, shape))
        if found is None:
            size = math.prod(shape)
            if name not in self.held or self.held[name].numel() < size:
                self.held[name] = torch.empty(size, dtype=self.dtype, device=self.device)
                self.views = {key: view for key, view in self.views.items() if key[0] != name}
            found = self.views[name, shape] = self.held[name][:size].view(shape)
        return found

    def rows(self, name: str, t: Tensor, factor: float = 1.0) -> Tensor:
        """A copy of rows t [samples, key heads, rows, shared, d], times a factor: [n, rows * shared, d]."""
        copy = self.take(name, *t.shape)
        if t.dtype == self.dtype:
            torch.mul(t, factor, out=copy)
        else:
            copy.copy_(t).mul_(factor)
        return copy.view(t.shape[0] * t.shape[1], -1, t.shape[4])


class Keys:
    """Keys or values of a unit as matrices [n, keys, d]: views where they serve, else copies in a buffer."""

    def __init__(self, work: Workspace, name: str, t: Tensor) -> None:
        """t is what `Unit.keys` gives."""
        self.work, self.name, self.t = work, name, t
        self.flat = t.flatten(0, 1) if t.dtype == work.dtype and _is_batch_of_matrices(t) else None

    def at(self, cols: Range) -> Tensor:
        """Some of the keys; what came before may be gone."""
        if self.flat is not None:
            return self.flat[:, cols[0] : cols[1]]
        part = self.t[:, :, cols[0] : cols[1]]
        return self.work.take(self.name, *part.shape).copy_(part).flatten(0, 1)


def _is_batch_of_matrices(t: Tensor) -> bool:
    """Whether t [a, b, r, c] is a view [a * b, r, c] whose rows lie apart and each in one piece."""
    one_axis = t.shape[0] == 1 or t.shape[1] == 1 or t.stride(0) == t.shape[1] * t.stride(1)
    return one_axis and t.stride(3) == 1 and t.stride(2) >= t.shape[3]
