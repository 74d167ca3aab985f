"""Which samples and heads one batched product takes, and their operands as it wants them.

Query heads that share a key head become rows of one matrix, so keys and values are never repeated: query rows are laid
out [n, rows * shared, width], row by row and within a row head by head; n counts pairs of a sample and a key head.
With head maps, these are query heads in a row that have one key head and one value head.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from torch import Tensor

from attnir.codegen.torch.schedule import Group, Schedule
from attnir.heads import Heads

Shape = tuple[int, ...]
Batches = tuple[Tensor, ...] | Tensor  # [inner, rows, columns] each, or together [outer, inner, rows, columns]


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """What scores, sums and gradients are kept in."""
    return torch.float64 if dtype == torch.float64 else torch.float32


@dataclass(frozen=True, slots=True)
class Unit:
    """Samples and heads that are computed together: part of a group."""

    group: Group
    kv_heads: slice
    value_heads: slice  # as many
    shared: int  # query heads of the group to each of the key heads

    @property
    def n(self) -> int:
        return 1 if self.group.fold is not None else _len(self.group.batches) * _len(self.kv_heads)

    def pairs(self, which: slice, rows: Tensor, cols: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(samples, query heads, queries, keys) of some matrices' rows [1, products, rows, 1, 1] and keys [..., keys].

        Indices that broadcast to [matrices, products, rows, shared, keys].
        """
        own = torch.arange(self.shared, device=rows.device).view(1, 1, 1, -1, 1)
        if (fold := self.group.fold) is not None:
            members = rows.div(fold.q_len, rounding_mode="floor")
            heads = members % fold.heads * self.shared + own
            return members.div(fold.heads, rounding_mode="floor"), heads, rows % fold.q_len, cols % fold.k_len
        index = torch.arange(self.n, device=rows.device)[which].view(-1, 1, 1, 1, 1)
        kv_heads = _len(self.kv_heads)
        heads = self.group.heads.start + index % kv_heads * self.shared + own
        return self.group.batches.start + index // kv_heads, heads, rows, cols

    def queries(self, t: Tensor) -> Tensor:
        """t [B, Hq, Sq, d] as [samples, key heads, Sq, shared, d], or [1, 1, all, shared, d]: a view if it can be."""
        heads: Tensor = t[self.group.batches, self.group.heads].unflatten(1, (-1, self.shared))
        return self._on_one_axis(heads.transpose(2, 3))

    def keys(self, t: Tensor) -> Tensor:
        """t [B, Hk, Sk, d] as [samples, key heads, Sk, d], or [1, 1, all, d]: a view if it can be."""
        return self._on_one_axis(t[self.group.batches, self.kv_heads])

    def values(self, t: Tensor) -> Tensor:
        """t [B, Hv, Sk, d] likewise."""
        return self._on_one_axis(t[self.group.batches, self.value_heads])

    def _on_one_axis(self, t: Tensor) -> Tensor:
        """t [samples, heads, tokens, ...] as [1, 1, all of them, ...] where members are folded."""
        return t if self.group.fold is None else t.flatten(0, 2)[None, None]

    @contextmanager
    def results(self, t: Tensor) -> Iterator[Tensor]:
        """t [B, Hq, Sq, d] as [samples, key heads, rows, shared, d] in the order of the visits, to be written.

        A view, or, where the rows stand in another order, memory that is stored to their places in the end.
        """
        found, rows = self.queries(t), self.group.rows
        held = found if rows is None else found.new_empty(*found.shape[:2], len(rows), *found.shape[3:])
        yield held
        if rows is not None:
            found.index_copy_(2, rows, held)
        if self.group.fold is not None and found.data_ptr() != t.data_ptr():  # no view
            place = t.unflatten(1, (-1, self.shared)).transpose(2, 3)
            place.copy_(found.view(place.shape))


def units(schedule: Schedule, q: Tensor, k: Tensor, limit: int) -> Iterator[Unit]:
    """All groups in parts of about `limit` query heads, in the order of the schedule.

    A part has several samples only where they and its key heads make one axis.
    """
    for group in schedule.groups:
        if group.fold is not None:
            yield Unit(group, slice(0, k.shape[1]), slice(0, k.shape[1]), group.fold.shared)
            continue
        maps = schedule.maps
        parts = _head_parts(group.heads, q.shape[1] // k.shape[1], limit) if maps is None else _runs(group.heads, maps)
        for heads, kv_heads, value_heads, shared in parts:
            one_axis = _len(kv_heads) in (1, k.shape[1])
            for batches in _steps(group.batches, max(1, limit // _len(heads)) if one_axis else 1):
                yield Unit(replace(group, batches=batches, heads=heads), kv_heads, value_heads, shared)


def _len(s: slice) -> int:
    return int(s.stop - s.start)


def _steps(whole: slice, step: int) -> Iterator[slice]:
    for start in range(whole.start, whole.stop, step):
        yield slice(start, min(start + step, whole.stop))


Part = tuple[slice, slice, slice, int]  # query heads, key heads, value heads, how many of the first to each other


def _runs(heads: slice, maps: Heads) -> Iterator[Part]:
    """Query heads in a row that have one key head and one value head."""
    start = heads.start
    for (k, v), run in groupby(zip(maps.k[heads], maps.v[heads], strict=True)):
        shared = len(list(run))
        yield slice(start, start + shared), slice(k, k + 1), slice(v, v + 1), shared
        start += shared


def _head_parts(heads: slice, ratio: int, limit: int) -> Iterator[Part]:
    """Whole key heads together, those that the range cuts one by one; k and v have the same heads."""
    return ((own, kv, kv, shared) for own, kv, shared in _grouped(heads, ratio, limit))


def _grouped(heads: slice, ratio: int, limit: int) -> Iterator[tuple[slice, slice, int]]:
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


def as_matrices(t: Tensor) -> Tensor | None:
    """t [samples, key heads, ..., d] as a view [n, rows, d] whose rows lie apart and each in one piece, or None."""
    try:
        found = t.view(t.shape[0] * t.shape[1], -1, t.shape[-1])
    except RuntimeError:  # the axes do not lie as one
        return None
    return found if found.stride(2) == 1 and found.stride(1) >= t.shape[-1] else None


def matrices(t: Tensor, dtype: torch.dtype) -> Tensor:
    """t [samples, key heads, ..., d] as matrices [n, rows, d] of a dtype: a view where it serves, else a copy."""
    found = as_matrices(t) if t.dtype == dtype else None
    if found is None:
        found = t.to(dtype, memory_format=torch.contiguous_format, copy=True).flatten(2, -2).flatten(0, 1)
    return found


def sums(t: Tensor, dtype: torch.dtype) -> Tensor:
    """Memory for sums [n, rows, d] that belong in t [samples, key heads, ..., d]: t itself where it serves."""
    found = as_matrices(t) if t.dtype == dtype else None
    return (
        t.new_empty(t.shape[0] * t.shape[1], math.prod(t.shape[2:-1]), t.shape[-1], dtype=dtype)
        if found is None
        else found
    )


def put(found: Tensor, t: Tensor) -> None:
    """Write the finished sums to the t that they belong in, unless `sums` has let them grow there."""
    if found.data_ptr() != t.data_ptr():
        t.copy_(found.view(t.shape))


def each(function: Callable[..., object], *batches: Batches) -> None:
    """Call an elementwise function on what a step reads and writes: at once where that is one tensor, else by parts."""
    if all(isinstance(b, Tensor) for b in batches):
        function(*batches)
    else:
        for parts in zip(*batches, strict=True):
            function(*parts)
