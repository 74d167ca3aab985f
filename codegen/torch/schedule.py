"""The torch target's schedule: the concrete spans of keys that each tile of queries visits.

The compiler evaluates a tile program to this for one call; the target only follows it. Indices are those of the
tensors, not positions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Span:
    """Key indices [start, stop). full: every pair is live; otherwise the predicate decides."""

    start: int
    stop: int
    full: bool


@dataclass(frozen=True, slots=True)
class Visit:
    """Query indices [start, stop) and the disjoint spans that its rows visit, ascending."""

    start: int
    stop: int
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Samples and query heads that share their visits. The rows of the visits ascend and do not overlap."""

    batches: slice
    heads: slice
    visits: tuple[Visit, ...]


@dataclass(frozen=True, slots=True)
class Schedule:
    """All groups of a call; a query row that no visit names is dead.

    live(group, rows, cols) is bool, broadcastable to [samples, heads, rows, cols] of the group; it may be asked for any
    part of a group, and for keys that the rows do not visit. by_distance: it gives the same for rows and cols that are
    moved by one amount.
    """

    groups: tuple[Group, ...]
    live: Callable[[Group, slice, slice], Tensor]
    by_distance: bool = False
