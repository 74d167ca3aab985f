"""The walk over a schedule: unit by unit of samples and heads, panel by panel of queries, product by product."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from attnir.codegen.torch import products
from attnir.codegen.torch.budget import Budget
from attnir.codegen.torch.dead import DeadPairs
from attnir.codegen.torch.operands import Unit, units
from attnir.codegen.torch.panels import Panel, Piece, Range, panels
from attnir.codegen.torch.schedule import Schedule

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Step:
    """A panel of a unit: the rows that are computed together."""

    unit: Unit
    panel: Panel
    dead: DeadPairs
    pairs: int

    def rows_of(self, piece: Piece) -> slice:
        """The matrix rows of a piece, counted from the panel's first."""
        first, shared = self.panel.rows[0], self.unit.shared
        return slice((piece.rows[0] - first) * shared, (piece.rows[1] - first) * shared)

    def put(self, rows: Tensor, out: Tensor) -> None:
        """Write rows [n, rows * shared, d] of the panel where they belong in out [B, Hq, Sq, d]."""
        place = self.unit.queries(out)[:, :, self.panel.rows[0] : self.panel.rows[1]]
        place.copy_(rows.view(place.shape))

    def wide(self, q: Tensor) -> Iterator[tuple[Range, list[slice]]]:
        """The wide range in parts, each with the slices of n that go into one product; q is [n, rows * shared, D]."""
        start, stop = self.panel.wide
        n, height, d = q.shape
        together = 1 if products.takes_one(q, height * (stop - start) * d) else n
        width = max(1, self.pairs // (height * together))
        for at in range(start, stop, width):
            yield (at, min(at + width, stop)), [slice(i, i + together) for i in range(0, n, together)]


def steps(schedule: Schedule, q: Tensor, k: Tensor, budget: Budget) -> Iterator[Step]:
    """Every panel of every unit, in an order that depends on nothing but the schedule and the sizes."""
    for group in schedule.groups:
        for unit in units(group, q, k, budget.heads):
            for panel in panels(group.visits, unit.n * unit.shared, unit.shared, budget):
                yield Step(unit, panel, DeadPairs(schedule, unit, budget.checks), budget.pairs)


def covers(schedule: Schedule, q: Tensor) -> bool:
    """Whether the visits name every query row of every sample and head."""
    rows = 0
    for group in schedule.groups:
        members = (group.batches.stop - group.batches.start) * (group.heads.stop - group.heads.start)
        rows += members * sum(v.stop - v.start for v in group.visits)
    return rows == q.shape[0] * q.shape[1] * q.shape[2]


def exact(function: Callable[P, R]) -> Callable[P, R]:
    """Run without autograd, and without automatic mixed precision, which would round scores."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        device = next(a.device for a in args if isinstance(a, Tensor))
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            return function(*args, **kwargs)

    return run
