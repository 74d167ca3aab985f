"""A band over a tile of rows: which column tiles it reaches, and which of these it fills.

Over a tile of rows a band is live at most from the lowest of its lower bounds to the highest of its upper ones, and it
is full from the highest lower bound to the lowest upper one. Both are scalars of the tile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

from attnir import expr as ex
from attnir.axes import Axis, Layout
from attnir.expr import Expr, const, maximum, minimum, where
from attnir.linear import simplify
from attnir.ops import TABLES, Op
from attnir.order import at_most
from attnir.rows import direction, highest, lowest
from attnir.solve import Band
from attnir.traverse import contains, nodes

Let = Callable[[str, Expr], Expr]  # gives a value a name


@dataclass(frozen=True, slots=True)
class Range:
    """A band over a tile of rows, as column tile indices: live in [start, stop), full in [full_start, full_stop)."""

    start: Expr
    stop: Expr
    full_start: Expr | None  # None: no tile of the band is full
    full_stop: Expr | None


@dataclass(frozen=True, slots=True)
class Tail:
    """A cut of a range: what the first rows see ends at column tile `stop`, what the others see begins at `start`."""

    stop: Expr
    start: Expr


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tiles of rows against runs of `width` columns of one axis."""

    rows: Layout
    columns: Axis
    width: int

    def merged(self, ranges: dict[Band, Range]) -> dict[Band, Range]:
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

    def range_of(self, band: Band) -> Range:
        lower, upper = band.span(self.columns.start, self.columns.stop)
        begin, end = lowest(lower, self.rows), highest(upper, self.rows)
        start, stop = self.first_tile(begin), self.end_tile(end)
        if _may_be_empty(band):  # nothing still lies in a tile
            stop = where(begin < end, stop, 0)
        if band.residual:
            return Range(start, stop, None, None)
        full_start = self.end_tile(highest(lower, self.rows), ragged=False)
        return Range(start, stop, full_start, self.first_tile(lowest(upper, self.rows), end=True))

    def jumps(self, band: Band) -> bool:
        """Whether the range of a band may leap within a tile: values of a field bound it."""
        if not self.rows.is_sequence:
            return False
        row, span = self.rows.axes[0].token, band.span(self.columns.start, self.columns.stop)
        reads_field = any(n.op is Op.FIELD and contains(n, row) for n in nodes(*span, definitions=False))
        return reads_field and all(direction(e, row) in (0, 1) for e in span)

    def tail_of(self, band: Band, let: Let) -> Tail | None:
        """Where to cut the range of a band that jumps.

        The first row's columns end at `end`. Rows whose columns begin up to there are one part of the tile, the others
        its tail, which begins anew further on.
        """
        if not self.jumps(band):
            return None
        lower, upper = band.span(self.columns.start, self.columns.stop)
        end = let("first_end", lowest(maximum(lower, upper), self.rows))
        inside = lower <= end
        stop = ex.build(Op.ROWMAX, (where(inside, upper, end),))
        start = ex.build(Op.ROWMIN, (where(inside, self.columns.stop, lower),))
        return Tail(let("head_stop", self.end_tile(stop)), let("tail_start", self.first_tile(start)))

    def without_gaps(self, ordered: Sequence[tuple[Range, Tail | None]]) -> tuple[Range, ...]:
        """Ordered ranges, those with a tail cut short; the tail goes into the next range, or is one of its own."""
        found: list[Range] = []
        tail: Range | None = None
        for r, cut in ordered:
            if tail is not None:
                r = replace(r, start=minimum(r.start, tail.start), stop=maximum(r.stop, tail.stop))
            tail = None if cut is None else Range(cut.start, r.stop, None, None)
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
        return self.offset(position, low=True, high=end) // const(self.width)

    def end_tile(self, position: Expr, *, ragged: bool = True) -> Expr:
        """The number of tiles that begin before a position."""
        behind = self.offset(position, low=True, high=ragged)
        return simplify(behind + (self.width - 1)) // const(self.width)


def _may_be_empty(band: Band) -> bool:
    """Whether whole tiles of rows may see nothing: columns begin at a value of a field, and do not end with it."""
    begin, end = (
        {(n.value, n.args[0]) for e in limits for n in nodes(e) if n.op in TABLES}
        for limits in (band.lower, band.upper)
    )
    return not begin <= end
