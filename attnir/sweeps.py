"""From the bands of a predicate to disjoint sweeps, and the scalars that bound them.

Bands are ordered by where they begin, and each one starts where those before it have ended, so no tile is visited
twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise, permutations, product

from attnir.expr import Expr, maximum, minimum, sym, where
from attnir.ops import Op
from attnir.order import at_most
from attnir.program import Status, Sweep
from attnir.ranges import Range, Tiling
from attnir.solve import Band


def sweeps(bands: Sequence[Band], tiling: Tiling, names: Lets) -> tuple[Sweep, ...]:
    """Sweeps that visit every tile of some band once; their scalars are added to the names."""
    visits: list[Sweep] = []
    cursor: Expr | None = None
    ordered = _ordered(bands, tiling, names)
    for i, r in enumerate(ordered):
        suffix = f"_{i}" if len(ordered) > 1 else ""
        visits += _split(names, suffix, r, cursor)
        (end,) = visits[-1].stop
        if cursor is None or at_most(cursor, end):
            cursor = end
        elif i + 1 < len(ordered):
            cursor = names.let(f"done{suffix}", maximum(cursor, end))
    return tuple(visits)


def _ordered(bands: Sequence[Band], tiling: Tiling, names: Lets) -> tuple[Range, ...]:
    """The ranges in the order of their starts: as it is proved, or as it turns out at run time."""
    ranges = tiling.merged({b: tiling.range_of(b) for b in bands})
    order = _proved_order({b: r.start for b, r in ranges.items()})
    if order is None:
        return _sorted_at_run_time(names, list(ranges.values()))
    return tiling.without_gaps([(ranges[b], tiling.tail_of(b, names.let)) for b in order])


def _proved_order(starts: Mapping[Band, Expr]) -> list[Band] | None:
    """The bands in an order in which their starts are proved to ascend, if there is one."""
    before = {(a, b) for a, b in permutations(starts, 2) if at_most(starts[a], starts[b])}
    for middle, a, b in product(starts, repeat=3):
        if (a, middle) in before and (middle, b) in before:
            before.add((a, b))
    order = sorted(starts, key=lambda b: sum((a, b) in before for a in starts))
    return order if all(pair in before for pair in pairwise(order)) else None


class Lets:
    """Collects the lets of a program, under names that no field and no parameter has."""

    def __init__(self, taken: set[str]) -> None:
        self.taken = taken
        self.lets: list[tuple[str, Expr]] = []

    def let(self, name: str, value: Expr) -> Expr:
        """A name for the value, unless it is as short as a name."""
        if value.is_const or value.op is Op.SYM:
            return value
        name = self.free(name)
        self.lets.append((name, value))
        return sym(name)

    def free(self, name: str) -> str:
        """A name like this one that nothing else has, from now on taken."""
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name


def _split(names: Lets, suffix: str, r: Range, cursor: Expr | None) -> list[Sweep]:
    """The sweeps of one range, from where the ranges before it have ended: partial, full, partial."""
    start = r.start
    if cursor is not None:
        start = cursor if at_most(start, cursor) else maximum(start, cursor)
    start, stop = names.let(f"start{suffix}", start), names.let(f"stop{suffix}", r.stop)
    if r.full_start is None or r.full_stop is None:
        return [Sweep((start,), (stop,), Status.PARTIAL)]
    visits = []
    begin = start
    if r.full_start is not r.start or cursor is not None:
        begin = names.let(f"full_start{suffix}", minimum(maximum(start, r.full_start), stop))
        visits.append(Sweep((start,), (begin,), Status.PARTIAL))
    end = r.full_stop if at_most(begin, r.full_stop) else maximum(begin, r.full_stop)
    end = names.let(f"full_stop{suffix}", end if at_most(r.full_stop, r.stop) else minimum(end, stop))
    return [*visits, Sweep((begin,), (end,), Status.FULL), Sweep((end,), (stop,), Status.PARTIAL)]


def _sorted_at_run_time(names: Lets, ranges: Sequence[Range]) -> tuple[Range, ...]:
    """The ranges in the order of their starts, by compare and exchange."""
    named = [_named(names, f"{i}_0", r) for i, r in enumerate(ranges)]
    for stage in range(len(named) - 1):
        for i in range(len(named) - 1 - stage):
            a, b = named[i], named[i + 1]
            first = a.start <= b.start
            named[i] = _named(names, f"{i}_{stage + 1}", _pick(first, a, b))
            named[i + 1] = _named(names, f"{i + 1}_{stage + 1}", _pick(~first, a, b))
    return tuple(named)


def _pick(condition: Expr, a: Range, b: Range) -> Range:
    return Range(
        where(condition, a.start, b.start),
        where(condition, a.stop, b.stop),
        where(condition, _or_stop(a.full_start, a), _or_stop(b.full_start, b)),
        where(condition, _or_stop(a.full_stop, a), _or_stop(b.full_stop, b)),
    )


def _or_stop(limit: Expr | None, r: Range) -> Expr:
    return r.stop if limit is None else limit


def _named(names: Lets, suffix: str, r: Range) -> Range:
    return Range(
        names.let(f"from_{suffix}", r.start),
        names.let(f"to_{suffix}", r.stop),
        None if r.full_start is None else names.let(f"full_from_{suffix}", r.full_start),
        None if r.full_stop is None else names.let(f"full_to_{suffix}", r.full_stop),
    )
