"""A step: as many products of a series, for as many matrices of a unit, as are held at once.

A step is a few batches of products: either one batch a product, over the matrices, or one batch a matrix, over
products that lie evenly apart, which a strided view gives without a copy. What a step reads or writes is a list with
one part [inner, length, width] for each of its `outer` batches; or, where the products lie evenly apart, one tensor
[outer, inner, length, width].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from attnir.codegen.torch.operands import Batches, Unit, Workspace, each
from attnir.codegen.torch.schedule import Group
from attnir.codegen.torch.series import Series

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Step:
    """Products of a series for the matrices `members`; shared: matrix rows to a query row."""

    series: Series
    members: slice
    shared: int
    by_member: bool  # one batch a matrix, not one a product
    group: Group  # whose rows and keys the products count

    @property
    def first(self) -> bool:
        """Whether its rows have met no key before."""
        return self.series.shape.turn == 0

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(batches, products of one, matrix rows, keys)."""
        matrices, products = self.members.stop - self.members.start, len(self.series.rows)
        outer, inner = (matrices, products) if self.by_member else (products, matrices)
        return outer, inner, self.series.shape.height * self.shared, self.series.shape.width

    def scaled(self, t: Tensor, factor: float, work: Workspace) -> Tensor:
        """The queries of t [n, queries * shared, d] times a factor, in a buffer [outer, inner, rows, d]."""
        copy = work.take("scaled", *self.shape[:3], t.shape[2])
        each(lambda part, place: torch.mul(part, factor, out=place), self.queries(t), copy)
        return copy

    def queries(self, t: Tensor) -> Batches:
        """The rows of t [n, queries * shared, d], in the order of the tokens: views, or gathered."""
        if self.group.rows is None and (self.series.even or self.group.gathered is None):
            return self.rows(t)
        return self._gathered(t, self.group.rows, self.series.rows, self.series.shape.height, self.shared)

    def rows(self, t: Tensor) -> Batches:
        """The rows of t [n, rows * shared, d], in the order of the visits, as views."""
        return self._parts(t, [r * self.shared for r in self.series.rows], self.shape[2])

    def keys(self, t: Tensor) -> Batches:
        """The keys of t [n, keys, d], as views, of which those of one part may overlap; or gathered."""
        if self.group.keys is None:
            return self._parts(t, self.series.cols, self.shape[3])
        return self._gathered(t, self.group.keys, self.series.cols, self.shape[3], 1)

    def _gathered(self, t: Tensor, order: Tensor | None, places: Sequence[int], length: int, shared: int) -> Tensor:
        """Runs of an order of the tokens of t [n, tokens * shared, d], as a copy [outer, inner, length * shared, d]."""
        t = t[self.members].unflatten(1, (-1, shared))
        found = t.index_select(1, tokens_at(places, length, order, t.device).flatten())
        found = found.view(t.shape[0], len(places), length * shared, t.shape[3])
        return found if self.by_member else found.transpose(0, 1)

    def _parts(self, t: Tensor, places: tuple[int, ...] | list[int], length: int) -> Batches:
        t = t[self.members]
        if not self.series.even:
            return tuple(t[:, at : at + length] for at in places)
        found = _windows(t, places, length)
        return found if self.by_member else found.transpose(0, 1)

    def add_to_keys(self, t: Tensor, more: Tensor) -> None:
        """Add more [outer, inner, keys, d] to the keys of t [n, keys, d], in a fixed order where they overlap."""
        if self.group.keys is not None:
            index = tokens_at(self.series.cols, self.shape[3], self.group.keys, t.device)
            if t.device.type == "cpu" and self.members == slice(0, 1):  # where one operation adds in the order of index
                t[0].index_add_(0, index.flatten(), more.reshape(-1, more.shape[3]))
                return
            for i, tokens in enumerate(index):
                t[self.members].index_add_(1, tokens, more[:, i] if self.by_member else more[i])
            return
        if not self.by_member:
            for part, x in zip(self.keys(t), more, strict=True):  # one by one, as they may overlap
                part.add_(x)
            return
        cols, length = self.series.cols, self.shape[3]
        step = cols[1] - cols[0] if len(cols) > 1 else length
        if step == 0:
            t[self.members, cols[0] : cols[0] + length].add_(more.sum(1))
            return
        apart = -(-length // step)  # products so far from each other share no key
        for i in range(min(apart, len(cols))):
            _windows(t[self.members], cols[i::apart], length).add_(more[:, i::apart])


def copied(found: Batches) -> Tensor:
    """What a step reads, as a copy [outer, inner, rows, d]."""
    return found.clone(memory_format=torch.contiguous_format) if isinstance(found, Tensor) else torch.stack(found)


def tokens_at(places: Sequence[int], length: int, order: Tensor | None, device: torch.device) -> Tensor:
    """The indices of the tokens at some places, of an order if there is one, and behind them: [places, length]."""
    index = torch.tensor(places, device=device)[:, None] + torch.arange(length, device=device)
    return index if order is None else order[index]


def _windows(t: Tensor, places: tuple[int, ...] | list[int], length: int) -> Tensor:
    """t [n, all, d] from places that lie one step apart: a view [n, places, length, d]."""
    step = places[1] - places[0] if len(places) > 1 else 1
    if step == 0:
        return t[:, None, places[0] : places[0] + length].expand(-1, len(places), -1, -1)
    return t[:, places[0] : places[-1] + length].unfold(1, length, step).transpose(2, 3)


def steps(found: Iterable[Series], unit: Unit, pairs: int) -> Iterator[Step]:
    """All products of a unit, in steps of at most about so many pairs."""
    n, shared = unit.n, unit.shared
    for series in found:
        size = series.shape.height * shared * series.shape.width
        room = max(1, pairs // size)
        count = min(len(series.rows), room if series.even else max(1, room // n))
        matrices = min(n, max(1, room // count))
        for at in range(0, len(series.rows), count):
            part = series.part(slice(at, at + count))
            for first in range(0, n, matrices):
                members = slice(first, min(first + matrices, n))
                by_member = series.even and len(part.rows) >= members.stop - members.start
                yield Step(part, members, shared, by_member, unit.group)


def exact(function: Callable[P, R]) -> Callable[P, R]:
    """Run without autograd, and without automatic mixed precision, which would round scores."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        device: torch.device = next(a.device for a in args if hasattr(a, "device"))
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            return function(*args, **kwargs)

    return run
