"""The torch target's schedule: concrete spans of keys for each tile of queries."""

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
    """Samples and query heads that share their visits."""

    batches: slice
    heads: slice
    visits: tuple[Visit, ...]


@dataclass(frozen=True, slots=True)
class Schedule:
    """All groups of a call. live(group, rows, cols) is bool, broadcastable to [samples, heads, rows, cols]."""

    groups: tuple[Group, ...]
    live: Callable[[Group, slice, slice], Tensor]
