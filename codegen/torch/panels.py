"""Panels: neighbouring visits of queries, joined.

The keys that all rows of a panel see in full become one wide product of many rows, which runs at twice the speed of
narrow ones; what is left of each visit becomes narrow products of its own rows. The predicate is evaluated for a
whole panel at once. Every span of every visit lands in exactly one product.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from attnir.codegen.torch.budget import Budget
from attnir.codegen.torch.schedule import Span, Visit

Range = tuple[int, int]  # [start, stop)
NOTHING: Range = (0, 0)


class Check(NamedTuple):
    """Keys whose pairs the predicate decides, and the part of the panel's keys for which it is evaluated at once."""

    cols: Range
    area: Range


@dataclass(frozen=True, slots=True)
class Piece:
    """One product: some rows of a panel against a run of keys. first: these rows have seen no key yet."""

    rows: Range
    cols: Range
    checks: tuple[Check, ...]
    first: bool


@dataclass(frozen=True, slots=True)
class Panel:
    """Query rows, the run of keys that all of them see in full, or NOTHING, and the products for the other keys.

    bare: some of the rows see no key at all.
    """

    rows: Range
    wide: Range
    narrow: tuple[Piece, ...]
    bare: bool


@dataclass(frozen=True, slots=True)
class _Draft:
    """Visits to be joined, the keys common to the widest full span of each, and the union of their partial spans."""

    visits: tuple[Visit, ...]
    common: Range
    areas: tuple[Range, ...]

    @property
    def rows(self) -> int:
        return self.visits[-1].stop - self.visits[0].start


def panels(visits: Iterable[Visit], heads: int, shared: int, budget: Budget) -> Iterator[Panel]:
    """Join visits; `heads` query heads are in one product, `shared` of them to a key head."""
    draft: _Draft | None = None
    for visit in visits:
        alone = _Draft((visit,), _widest(visit), _union((s.start, s.stop) for s in visit.spans if not s.full))
        both = draft and _joined(draft, alone)
        if draft and both and _fits(draft, both, shared, budget):
            draft = both
            continue
        if draft:
            yield _panel(draft, heads, budget)
        draft = alone
    if draft:
        yield _panel(draft, heads, budget)


def _joined(a: _Draft, b: _Draft) -> _Draft:
    common = (max(a.common[0], b.common[0]), min(a.common[1], b.common[1]))
    return _Draft(a.visits + b.visits, common if common[0] < common[1] else NOTHING, _union(a.areas + b.areas))


def _fits(draft: _Draft, both: _Draft, shared: int, budget: Budget) -> bool:
    """Whether a visit may join: in rows, in the cost of the predicate, and without spoiling the wide product."""
    adjacent = draft.visits[-1].stop == both.visits[-1].start
    wide = [d.common[1] - d.common[0] >= budget.wide for d in (draft, both)]
    checked = both.rows * sum(stop - start for start, stop in both.areas)
    return adjacent and both.rows * shared <= budget.rows and checked <= budget.checks and wide[0] == wide[1]


def _widest(visit: Visit) -> Range:
    return max(((s.start, s.stop) for s in visit.spans if s.full), key=lambda r: r[1] - r[0], default=NOTHING)


def _union(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Ranges as disjoint ascending ones; those that touch become one."""
    found: list[Range] = []
    for start, stop in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], stop))
        else:
            found.append((start, stop))
    return tuple(found)


def _panel(draft: _Draft, heads: int, budget: Budget) -> Panel:
    wide = draft.common if draft.common[1] - draft.common[0] >= budget.wide else NOTHING
    step = max(1, budget.checks // draft.rows)
    areas = [part for area in draft.areas for part in _cut(area, step)]
    narrow = (piece for v in draft.visits for piece in _pieces(v, wide, areas, budget.pairs // heads))
    rows = (draft.visits[0].start, draft.visits[-1].stop)
    return Panel(rows, wide, tuple(narrow), any(not v.spans for v in draft.visits))


def _cut(whole: Range, width: int) -> Iterator[Range]:
    """A range in parts of equal width, at most `width`, but for the last."""
    start, stop = whole
    parts = -(-(stop - start) // width)
    step = -(-(stop - start) // max(1, parts))
    for at in range(start, stop, max(1, step)):
        yield at, min(at + step, stop)


def _pieces(visit: Visit, wide: Range, areas: list[Range], pairs: int) -> Iterator[Piece]:
    """The products of one visit besides the wide one."""
    rows = (visit.start, visit.stop)
    first = wide == NOTHING
    for run in _runs(visit.spans, wide):
        for part in _cut((run[0].start, run[-1].stop), max(1, pairs // (visit.stop - visit.start))):
            checks = (c for s in run if not s.full for c in _checks(s, part, areas))
            yield Piece(rows, part, tuple(checks), first)
            first = False


def _runs(spans: Iterable[Span], wide: Range) -> Iterator[list[Span]]:
    """Spans without the wide range, those that touch in one list."""
    run: list[Span] = []
    for span in _outside(spans, wide):
        if run and run[-1].stop != span.start:
            yield run
            run = []
        run.append(span)
    if run:
        yield run


def _outside(spans: Iterable[Span], wide: Range) -> Iterator[Span]:
    for span in spans:
        if wide[1] <= span.start or span.stop <= wide[0]:
            yield span
            continue
        if span.start < wide[0]:
            yield Span(span.start, wide[0], span.full)
        if wide[1] < span.stop:
            yield Span(wide[1], span.stop, span.full)


def _checks(span: Span, part: Range, areas: list[Range]) -> Iterator[Check]:
    """What a partial span asks to check within a product's keys, area by area."""
    start, stop = max(span.start, part[0]), min(span.stop, part[1])
    at = bisect_right(areas, (start, start)) - 1 if start < stop else len(areas)
    for area in areas[max(0, at) :]:
        if area[0] >= stop:
            break
        cols = (max(start, area[0]), min(stop, area[1]))
        if cols[0] < cols[1]:
            yield Check(cols, area)
