"""The cover pass: from a predicate to the tile program that visits its live tiles.

The predicate is solved for the column, which gives bands. Over a tile of rows a band is live at most from the lowest
of its lower bounds to the highest of its upper ones, and it is full from the highest lower bound to the lowest upper
one. Both are scalars of the tile, so the kernel computes them; nothing is tabulated. Several bands are ordered by
where they begin, and each one starts where those before it have ended, so no tile is visited twice.

What no band expresses in closed form is left to a block list, except a condition that repeats within less than a
tile: it leaves no tile empty, so a list could not skip anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, permutations

from attnir import expr as ex
from attnir.expr import Expr, const, maximum, minimum, sym, where
from attnir.linear import simplify
from attnir.normalise import normalise
from attnir.ops import TABLES, Op
from attnir.order import at_most
from attnir.periods import moduli
from attnir.program import KEYS, QUERIES, Axis, Listed, Status, Sweep, TileProgram
from attnir.rows import direction, highest, lowest
from attnir.solve import Band, solve
from attnir.traverse import contains, fields_of, nodes, params_of

MOST_SWEPT = 4  # bands in one kernel; each one is up to three loops


def cover(predicate: Expr, tile: tuple[int, int], *, transposed: bool = False) -> TileProgram:
    """The program that visits the live tiles of `predicate`; tile = (row tokens, column tokens).

    Forward, the rows are queries and the columns keys; `transposed`, the other way round, from the same predicate.

    >>> print(cover(ex.K <= ex.Q, (128, 64)))
    tiles of 128 q by 64 k
    let stop = (min(q1 + 1, k_len) + 63) // 64
    let full_stop = min(q0 + 1, k_len) // 64
    sweep k tiles in [0, full_stop) full
    sweep k tiles in [full_stop, stop) partial
    where k <= q
    because closed ranges: every condition bounds k by an expression of q
    """
    rows, columns = (KEYS, QUERIES) if transposed else (QUERIES, KEYS)
    predicate = normalise(predicate)
    bands = solve(predicate, columns.token, rows.token)
    shape = _Shape(rows, columns, tile)
    if reason := shape.needs_list(bands):
        lets: Lets = ()
        visits: tuple[Sweep | Listed, ...] = (Listed(Status.FULL), Listed(Status.PARTIAL))
    else:
        lets, visits = shape.sweeps(predicate, bands)
        reason = shape.why(bands)
    program = TileProgram(rows, columns, tile, predicate, lets, visits, reason)
    program.verify()
    return program


Lets = tuple[tuple[str, Expr], ...]


@dataclass(frozen=True, slots=True)
class _Range:
    """A band over a tile of rows, as column tile indices: live in [start, stop), full in [full_start, full_stop)."""

    start: Expr
    stop: Expr
    full_start: Expr | None  # None: no tile of the band is full
    full_stop: Expr | None


@dataclass(frozen=True, slots=True)
class _Tail:
    """A cut of a range: what the first rows see ends at column tile `stop`, what the others see begins at `start`."""

    stop: Expr
    start: Expr


@dataclass(frozen=True, slots=True)
class _Shape:
    rows: Axis
    columns: Axis
    tile: tuple[int, int]

    def needs_list(self, bands: Sequence[Band]) -> str:
        """Why the live tiles must be listed; empty when they need not."""
        if len(bands) > MOST_SWEPT:
            return f"block lists: the predicate falls into {len(bands)} ranges of {self.columns.side}"
        for band in bands:
            for condition in band.residual:
                if not _repeats(condition, self.columns.token, self.tile[1]):
                    return f"block lists: `{condition}` bounds {self.columns.side} by no expression of {self.rows.side}"
        return ""

    def why(self, bands: Sequence[Band]) -> str:
        column, row = self.columns.side, self.rows.side
        if any(contains_table(e) for b in bands for e in (*b.lower, *b.upper)):
            return f"row tables: sorted fields bound {column} for each {row}"
        if any(b.residual for b in bands):
            return f"closed ranges: what does not bound {column} repeats within a tile"
        return f"closed ranges: every condition bounds {column} by an expression of {row}"

    def sweeps(self, predicate: Expr, bands: Sequence[Band]) -> tuple[Lets, tuple[Sweep, ...]]:
        ranges = self.merged({b: self.range_of(b) for b in bands})
        order = next(
            (p for p in permutations(ranges) if all(at_most(ranges[a].start, ranges[b].start) for a, b in pairwise(p))),
            None,
        )
        names = _Names({f.name for f in fields_of(predicate)} | {p.name for p in params_of(predicate)})
        if order is None:
            ordered = _sorted_at_run_time(names, list(ranges.values()))
        else:
            ordered = self.without_gaps([(ranges[b], self.tail_of(b, names)) for b in order])
        visits: list[Sweep] = []
        cursor: Expr | None = None
        for i, r in enumerate(ordered):
            suffix = f"_{i}" if len(ordered) > 1 else ""
            visits += _split(names, suffix, r, cursor)
            end = visits[-1].stop
            if cursor is None or at_most(cursor, end):
                cursor = end
            elif i + 1 < len(ordered):
                cursor = names.let(f"done{suffix}", maximum(cursor, end))
        return tuple(names.lets), tuple(visits)

    def merged(self, ranges: dict[Band, _Range]) -> dict[Band, _Range]:
        """A range without full tiles takes over one that lies inside it, and the full tiles of that one."""
        found = dict(ranges)
        for outer, inner in permutations(ranges, 2):
            if not {outer, inner} <= found.keys() or self.jumps(outer) or self.jumps(inner):
                continue
            a, b = found[outer], found[inner]
            if a.full_start is None and at_most(a.start, b.start) and at_most(b.stop, a.stop):
                found[outer] = replace(a, full_start=b.full_start, full_stop=b.full_stop)
                del found[inner]
        return found

    def range_of(self, band: Band) -> _Range:
        lower, upper = band.span(self.columns.start, self.columns.stop)
        begin, end = lowest(lower, self.rows), highest(upper, self.rows)
        start, stop = self.first_tile(begin), self.end_tile(end)
        if _may_be_empty(band):  # nothing still lies in a tile
            stop = where(begin < end, stop, 0)
        if band.residual:
            return _Range(start, stop, None, None)
        full_start = self.end_tile(highest(lower, self.rows), ragged=False)
        return _Range(start, stop, full_start, self.first_tile(lowest(upper, self.rows), end=True))

    def jumps(self, band: Band) -> bool:
        """Whether the range of a band may leap within a tile: values of a field bound it."""
        row, span = self.rows.token, band.span(self.columns.start, self.columns.stop)
        reads_field = any(n.op is Op.FIELD and contains(n, row) for n in nodes(*span, definitions=False))
        return reads_field and all(direction(e, row) in (0, 1) for e in span)

    def tail_of(self, band: Band, names: _Names) -> _Tail | None:
        """Where to cut the range of a band that jumps.

        The first row's columns end at `end`. Rows whose columns begin up to there are one part of the tile, the others
        its tail, which begins anew further on.
        """
        if not self.jumps(band):
            return None
        lower, upper = band.span(self.columns.start, self.columns.stop)
        end = names.let("first_end", lowest(maximum(lower, upper), self.rows))
        inside = lower <= end
        stop = ex.build(Op.ROWMAX, (where(inside, upper, end),))
        start = ex.build(Op.ROWMIN, (where(inside, self.columns.stop, lower),))
        return _Tail(names.let("head_stop", self.end_tile(stop)), names.let("tail_start", self.first_tile(start)))

    def without_gaps(self, ordered: Sequence[tuple[_Range, _Tail | None]]) -> tuple[_Range, ...]:
        """Ordered ranges, those with a tail cut short; the tail goes into the next range, or is one of its own."""
        found: list[_Range] = []
        tail: _Range | None = None
        for r, cut in ordered:
            if tail is not None:
                r = replace(r, start=minimum(r.start, tail.start), stop=maximum(r.stop, tail.stop))
            tail = None if cut is None else _Range(cut.start, r.stop, None, None)
            found.append(r if cut is None else replace(r, stop=cut.stop))
        return (*found, *([tail] if tail else []))

    def offset(self, position: Expr, *, low: bool, high: bool) -> Expr:
        """How far the position lies behind the first column, held within the axis."""
        if high and not at_most(position, self.columns.stop):
            position = minimum(position, self.columns.stop)
        if low and not at_most(self.columns.start, position):
            position = maximum(self.columns.start, position)
        return simplify(position - self.columns.start)

    def first_tile(self, position: Expr, *, end: bool = False) -> Expr:
        """The tile that holds a position; for an exclusive `end`, the number of tiles that lie before it whole."""
        return self.offset(position, low=True, high=end) // const(self.tile[1])

    def end_tile(self, position: Expr, *, ragged: bool = True) -> Expr:
        """The number of tiles that begin before a position."""
        behind = self.offset(position, low=True, high=ragged)
        return simplify(behind + (self.tile[1] - 1)) // const(self.tile[1])


class _Names:
    """Collects the lets of a program, under names that no field and no parameter has."""

    def __init__(self, taken: set[str]) -> None:
        self.taken = taken
        self.lets: list[tuple[str, Expr]] = []

    def let(self, name: str, value: Expr) -> Expr:
        """A name for the value, unless it is as short as a name."""
        if value.is_const or value.op is Op.SYM:
            return value
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        self.lets.append((name, value))
        return sym(name)


def _split(names: _Names, suffix: str, r: _Range, cursor: Expr | None) -> list[Sweep]:
    """The sweeps of one range, from where the ranges before it have ended: partial, full, partial."""
    start = r.start
    if cursor is not None:
        start = cursor if at_most(start, cursor) else maximum(start, cursor)
    start, stop = names.let(f"start{suffix}", start), names.let(f"stop{suffix}", r.stop)
    if r.full_start is None or r.full_stop is None:
        return [Sweep(start, stop, Status.PARTIAL)]
    visits = []
    begin = start
    if r.full_start is not r.start or cursor is not None:
        begin = names.let(f"full_start{suffix}", minimum(maximum(start, r.full_start), stop))
        visits.append(Sweep(start, begin, Status.PARTIAL))
    end = r.full_stop if at_most(begin, r.full_stop) else maximum(begin, r.full_stop)
    end = names.let(f"full_stop{suffix}", end if at_most(r.full_stop, r.stop) else minimum(end, stop))
    return [*visits, Sweep(begin, end, Status.FULL), Sweep(end, stop, Status.PARTIAL)]


def _sorted_at_run_time(names: _Names, ranges: Sequence[_Range]) -> tuple[_Range, ...]:
    """The ranges in the order of their starts, by compare and exchange."""
    named = [_named(names, f"{i}_0", r) for i, r in enumerate(ranges)]
    for stage in range(len(named) - 1):
        for i in range(len(named) - 1 - stage):
            a, b = named[i], named[i + 1]
            first = a.start <= b.start
            named[i] = _named(names, f"{i}_{stage + 1}", _pick(first, a, b))
            named[i + 1] = _named(names, f"{i + 1}_{stage + 1}", _pick(~first, a, b))
    return tuple(named)


def _pick(condition: Expr, a: _Range, b: _Range) -> _Range:
    return _Range(
        where(condition, a.start, b.start),
        where(condition, a.stop, b.stop),
        where(condition, _or_stop(a.full_start, a), _or_stop(b.full_start, b)),
        where(condition, _or_stop(a.full_stop, a), _or_stop(b.full_stop, b)),
    )


def _or_stop(limit: Expr | None, r: _Range) -> Expr:
    return r.stop if limit is None else limit


def _named(names: _Names, suffix: str, r: _Range) -> _Range:
    return _Range(
        names.let(f"from_{suffix}", r.start),
        names.let(f"to_{suffix}", r.stop),
        None if r.full_start is None else names.let(f"full_from_{suffix}", r.full_start),
        None if r.full_stop is None else names.let(f"full_to_{suffix}", r.full_stop),
    )


def contains_table(e: Expr) -> bool:
    return any(n.op in TABLES for n in nodes(e))


def _may_be_empty(band: Band) -> bool:
    """Whether whole tiles of rows may see nothing: columns begin at a value of a field, and do not end with it."""
    begin, end = (
        {(n.value, n.args[0]) for e in limits for n in nodes(e) if n.op in TABLES}
        for limits in (band.lower, band.upper)
    )
    return not begin <= end


def _repeats(e: Expr, column: Expr, within: int) -> bool:
    """Whether the column enters only as a remainder by constants of at most `within`."""
    found = moduli(e, column)
    return found is not None and all(m <= within for m in found)
