"""What forward and backward have in common: where a panel's rows are, and how its wide product is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from attnir.codegen.torch import products
from attnir.codegen.torch.panels import Panel, Range
from attnir.codegen.torch.schedule import Schedule

P = ParamSpec("P")
R = TypeVar("R")
ALL = slice(None)


def rows_of(panel: Panel, rows: Range, shared: int) -> slice:
    """The matrix rows of some query rows, counted from the panel's first."""
    first = panel.rows[0]
    return slice((rows[0] - first) * shared, (rows[1] - first) * shared)


def wide_parts(panel: Panel, q: Tensor, pairs: int) -> Iterator[tuple[Range, list[slice]]]:
    """The wide range in parts, each with the slices of n that go into one product of at most about `pairs` scores.

    q is [n, rows * shared, D].
    """
    start, stop = panel.wide
    n, height, d = q.shape
    together = 1 if products.takes_one(q, height * (stop - start) * d) else n
    width = max(1, pairs // (height * together))
    for at in range(start, stop, width):
        yield (at, min(at + width, stop)), [slice(i, i + together) for i in range(0, n, together)]


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
