"""From visits to products: which query rows meet which keys at once, and which of these products are alike.

Neighbouring visits are joined to a panel; the keys that all its rows see in full make wide products of many rows, which
run at twice the speed of narrow ones. What is left of each visit is one narrow product for each run of its keys.
Products of one shape make a series, so that a batched operation does many of them. Every span of every visit lands in
exactly one product.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from attnir.codegen.torch.budget import Budget
from attnir.codegen.torch.schedule import Gathered, Group, Span, Visit

Range = tuple[int, int]  # [start, stop)
Place = tuple[int, int]  # a product's first row and its first key
NOTHING: Range = (0, 0)
FEW = 3  # products with one step between them that are worth a series of their own


class Shape(NamedTuple):
    """What the products of a series have in common."""

    turn: int  # how many products of the same rows come before
    height: int  # query rows
    width: int  # keys
    checks: tuple[Range, ...]  # the keys, counted from the first, whose pairs the predicate decides


@dataclass(frozen=True, slots=True)
class Series:
    """Products of one shape, of different rows. even: their rows and their keys lie one step >= 0 apart each."""

    shape: Shape
    rows: tuple[int, ...]  # the first query row of each product, ascending
    cols: tuple[int, ...]  # the first key of each
    even: bool

    def part(self, at: slice) -> Series:
        """Some of the products."""
        return replace(self, rows=self.rows[at], cols=self.cols[at])


def series(group: Group, shared: int, budget: Budget, block: int = 1) -> list[Series]:
    """All products of a group, first turns first; `shared` query heads have one key head.

    block: keys that stand in one block, as spans begin with one, are in one product.
    """
    places: defaultdict[Shape, list[Place]] = defaultdict(list)
    if group.gathered is not None:
        for shape, found in _of_gathered(group.gathered, shared, budget.pairs):
            places[shape] += found
    for panel in _panels(group.visits, shared, budget):
        for shape, place in panel.products(shared, budget.pairs, block):
            places[shape].append(place)
    ordered = sorted(places.items(), key=lambda item: item[0].turn)
    return [s for shape, found in ordered for s in _series(shape, found)]


def _of_gathered(visits: Gathered, shared: int, pairs: int) -> Iterator[tuple[Shape, list[Place]]]:
    """The products of each kind of visit, of at most so many pairs each."""
    kinds, which = np.unique(np.stack([visits.heights, visits.full, visits.checked]), axis=1, return_inverse=True)
    for kind, (height, full, checked) in enumerate(kinds.T.tolist()):
        at = np.flatnonzero(which == kind)
        for turn, (start, stop) in enumerate(_cut((0, full + checked), pairs // (height * shared), 1)):
            check = (max(full, start) - start, stop - start)
            shape = Shape(turn, height, stop - start, (check,) if check[0] < check[1] else ())
            yield shape, list(zip(visits.rows[at].tolist(), (visits.keys[at] + start).tolist(), strict=True))


def keys_met(found: Iterable[Series]) -> list[Range]:
    """The keys of all products, in disjoint runs."""
    runs: list[Range] = []
    for start, stop in sorted({(c, c + s.shape.width) for s in found for c in s.cols}):
        if runs and start <= runs[-1][1]:
            runs[-1] = (runs[-1][0], max(runs[-1][1], stop))
        else:
            runs.append((start, stop))
    return runs


def _series(shape: Shape, places: Sequence[Place]) -> Iterator[Series]:
    """Even series of as many products as lie one step apart, and one of all others."""
    loose: list[Place] = []
    at = 0
    while at < len(places):
        stop = _end_of_run(places, at)
        if stop - at < FEW:
            stop = at + 1
            loose.append(places[at])
        else:
            yield _of(shape, places[at:stop], even=True)
        at = stop
    if loose:
        yield _of(shape, loose, even=len(loose) == 1)


def _of(shape: Shape, places: Sequence[Place], even: bool) -> Series:
    rows, cols = zip(*places, strict=True)
    return Series(shape, rows, cols, even)


def _end_of_run(places: Sequence[Place], at: int) -> int:
    """One past the last place up to which every step is the same one."""
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(places[at : at + 2], places[at + 1 : at + 2], strict=False)]
    if not steps or steps[0][1] < 0:
        return at + 1
    row_step, col_step = steps[0]
    stop = at + 1
    while stop < len(places) and places[stop] == (places[stop - 1][0] + row_step, places[stop - 1][1] + col_step):
        stop += 1
    return stop


@dataclass(frozen=True, slots=True)
class _Panel:
    """Neighbouring visits, and the keys common to the widest full span of each."""

    visits: tuple[Visit, ...]
    common: Range

    @property
    def rows(self) -> Range:
        return self.visits[0].start, self.visits[-1].stop

    def joined(self, other: _Panel) -> _Panel:
        start, stop = max(self.common[0], other.common[0]), min(self.common[1], other.common[1])
        return _Panel(self.visits + other.visits, (start, stop) if start < stop else NOTHING)

    def wide(self, budget: Budget) -> bool:
        return self.common[1] - self.common[0] >= budget.wide

    def products(self, shared: int, pairs: int, block: int) -> Iterator[tuple[Shape, Place]]:
        """The products of the common keys, then those of each visit's other keys; of at most so many pairs each."""
        first, last = self.rows
        common = list(_cut(self.common, pairs // ((last - first) * shared), block))
        for turn, (start, stop) in enumerate(common):
            yield Shape(turn, last - first, stop - start, ()), (first, start)
        for visit in self.visits:
            height = visit.stop - visit.start
            narrow = _narrow(visit.spans, self.common, pairs // (height * shared), block)
            for turn, (start, stop, checks) in enumerate(narrow, len(common)):
                yield Shape(turn, height, stop - start, checks), (visit.start, start)


def _panels(visits: Iterable[Visit], shared: int, budget: Budget) -> Iterator[_Panel]:
    """Visits joined where they follow each other, their rows are not too many, and it costs no wide product."""
    panel: _Panel | None = None
    for visit in visits:
        alone = _Panel((visit,), _widest(visit))
        if panel:
            both = panel.joined(alone)
            fits = (both.rows[1] - both.rows[0]) * shared <= budget.rows and panel.rows[1] == visit.start
            if fits and panel.wide(budget) and both.wide(budget):
                panel = both
                continue
            yield _finished(panel, budget)
        panel = alone
    if panel:
        yield _finished(panel, budget)


def _finished(panel: _Panel, budget: Budget) -> _Panel:
    return panel if panel.wide(budget) else replace(panel, common=NOTHING)


def _widest(visit: Visit) -> Range:
    return max(((s.start, s.stop) for s in visit.spans if s.full), key=lambda r: r[1] - r[0], default=NOTHING)


def _narrow(spans: Iterable[Span], wide: Range, most: int, block: int) -> Iterator[tuple[int, int, tuple[Range, ...]]]:
    """(first key, one past the last, checks) of the products of one visit besides the wide ones."""
    for run in _runs(spans, wide):
        for start, stop in _cut((run[0].start, run[-1].stop), most, block):
            parts = [(max(s.start, start) - start, min(s.stop, stop) - start) for s in run if not s.full]
            yield start, stop, tuple(p for p in parts if p[0] < p[1])


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


def _cut(whole: Range, most: int, block: int) -> Iterator[Range]:
    """A range in parts of equal width, at most `most`, but for the last; all but that one of whole blocks."""
    start, stop = whole
    blocks = -(-(stop - start) // block)
    parts = -(-blocks // max(1, most // block))
    step = block * -(-blocks // max(1, parts))
    for at in range(start, stop, max(1, step)):
        yield at, min(at + step, stop)
