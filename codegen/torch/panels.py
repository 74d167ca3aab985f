"""Panels: neighbouring visits of queries, joined.

The keys that all rows of a panel see in full become one wide product of many rows, which runs at twice the speed of
narrow ones; what is left of each visit becomes narrow products of its own rows. The predicate is evaluated for
several visits at once. Every span of every visit lands in exactly one product.
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


class Area(NamedTuple):
    """Pairs for which the predicate is evaluated at once."""

    rows: Range
    cols: Range

    @property
    def pairs(self) -> int:
        return (self.rows[1] - self.rows[0]) * (self.cols[1] - self.cols[0])

    def moved(self, by: int) -> Area:
        """The area as far along the diagonal."""
        return Area((self.rows[0] + by, self.rows[1] + by), (self.cols[0] + by, self.cols[1] + by))


class Check(NamedTuple):
    """Keys whose pairs with a product's rows the predicate decides, and the area in which they lie."""

    cols: Range
    area: Area


@dataclass(frozen=True, slots=True)
class Piece:
    """One product: some rows of a panel against a run of keys."""

    rows: Range
    cols: Range
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """Query rows, the run of keys that all of them see in full, or NOTHING, and the products for the other keys.

    whole: each of the products has all keys of its rows, and all rows have one.
    """

    rows: Range
    wide: Range
    narrow: tuple[Piece, ...]
    whole: bool

    def seen(self) -> list[Range]:
        """The keys that some row sees, in disjoint runs."""
        return _union([r for r in (self.wide, *(p.cols for p in self.narrow)) if r != NOTHING])


@dataclass(frozen=True, slots=True)
class _Draft:
    """Visits to be joined, and the keys common to the widest full span of each."""

    visits: tuple[Visit, ...]
    common: Range


def panels(visits: Iterable[Visit], heads: int, shared: int, budget: Budget) -> Iterator[Panel]:
    """Join visits; `heads` query heads are in one product, `shared` of them to a key head."""
    draft: _Draft | None = None
    for visit in visits:
        alone = _Draft((visit,), _widest(visit))
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
    return _Draft(a.visits + b.visits, common if common[0] < common[1] else NOTHING)


def _fits(draft: _Draft, both: _Draft, shared: int, budget: Budget) -> bool:
    """Whether a visit may join: its rows are the next ones, they are not too many, and the wide product stays."""
    rows = (both.visits[-1].stop - both.visits[0].start) * shared
    wide = [d.common[1] - d.common[0] >= budget.wide for d in (draft, both)]
    return draft.visits[-1].stop == both.visits[-1].start and rows <= budget.rows and wide[0] == wide[1]


def _widest(visit: Visit) -> Range:
    return max(((s.start, s.stop) for s in visit.spans if s.full), key=lambda r: r[1] - r[0], default=NOTHING)


def _panel(draft: _Draft, heads: int, budget: Budget) -> Panel:
    wide = draft.common if draft.common[1] - draft.common[0] >= budget.wide else NOTHING
    narrow = tuple(
        piece
        for visits, areas in _areas(draft.visits, budget)
        for visit in visits
        for piece in _pieces(visit, wide, areas, budget.pairs // heads)
    )
    rows = (draft.visits[0].start, draft.visits[-1].stop)
    whole = wide == NOTHING and [p.rows for p in narrow] == [(v.start, v.stop) for v in draft.visits]
    return Panel(rows, wide, narrow, whole)


def _areas(visits: Iterable[Visit], budget: Budget) -> Iterator[tuple[list[Visit], list[Area]]]:
    """Visits in turn, as many as share areas, and these: the union of their partial spans, ascending."""
    block: list[Visit] = []
    union: list[Range] = []
    for visit in visits:
        more = _union([*union, *((s.start, s.stop) for s in visit.spans if not s.full)])
        rows = visit.stop - block[0].start if block else 0
        if rows > budget.checked_rows or rows * sum(stop - start for start, stop in more) > budget.checks:
            yield block, _cut_areas(block, union, budget.checks)
            block, more = [], _union((s.start, s.stop) for s in visit.spans if not s.full)
        block.append(visit)
        union = more
    yield block, _cut_areas(block, union, budget.checks)


def _cut_areas(block: list[Visit], union: list[Range], limit: int) -> list[Area]:
    rows = (block[0].start, block[-1].stop)
    return [Area(rows, part) for cols in union for part in _cut(cols, max(1, limit // (rows[1] - rows[0])))]


def _union(ranges: Iterable[Range]) -> list[Range]:
    """Ranges as disjoint ascending ones; those that touch become one."""
    found: list[Range] = []
    for start, stop in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], stop))
        else:
            found.append((start, stop))
    return found


def _cut(whole: Range, width: int) -> Iterator[Range]:
    """A range in parts of equal width, at most `width`, but for the last."""
    start, stop = whole
    parts = -(-(stop - start) // width)
    step = -(-(stop - start) // max(1, parts))
    for at in range(start, stop, max(1, step)):
        yield at, min(at + step, stop)


def _pieces(visit: Visit, wide: Range, areas: list[Area], pairs: int) -> Iterator[Piece]:
    """The products of one visit besides the wide one."""
    rows = (visit.start, visit.stop)
    for run in _runs(visit.spans, wide):
        for part in _cut((run[0].start, run[-1].stop), max(1, pairs // (visit.stop - visit.start))):
            checks = (c for s in run if not s.full for c in _checks(s, part, areas))
            yield Piece(rows, part, tuple(checks))


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


def _checks(span: Span, part: Range, areas: list[Area]) -> Iterator[Check]:
    """What a partial span asks to check within a product's keys, area by area."""
    start, stop = max(span.start, part[0]), min(span.stop, part[1])
    if start >= stop:
        return
    at = bisect_right(areas, start, key=lambda area: area.cols[0]) - 1
    while at < len(areas) and areas[at].cols[0] < stop:
        area = areas[at]
        yield Check((max(start, area.cols[0]), min(stop, area.cols[1])), area)
        at += 1
