"""Solving a predicate for one token: which columns may a row see, as a union of bands.

A band is a conjunction: `lower <= column < upper` for each of its bounds, which are expressions of the row, `guards`,
which do not read the column, and `residual`, conditions on the column that no bound expresses. The union of the
bands is the predicate, pair by pair. What can be isolated: linear comparisons; `//` by a positive divisor; abs, min,
max and where, by cases; squares against a constant; a sorted field of the column, by search.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

from attnir import expr as ex
from attnir.bounds import bounds, decide
from attnir.digits import carried
from attnir.expr import Expr, const, row_table, side_of
from attnir.limits import field_limit, width_problem
from attnir.linear import Linear, linear, simplify
from attnir.ops import COMPARISONS, NEGATED, POSITION_LIMIT, FieldDecl, Op, Searched
from attnir.order import at_most
from attnir.traverse import contains

# A predicate that falls into more than this is left whole, as one residual.
MOST_BANDS = 64  # conjunctions
MOST_CASES = 512  # times that an abs, min, max or where is taken by cases; a sum of n has 2**n


@dataclass(frozen=True, slots=True)
class Band:
    """lower_i <= column < upper_j for all i, j, and every guard, and every residual condition."""

    lower: tuple[Expr, ...] = ()
    upper: tuple[Expr, ...] = ()
    guards: tuple[Expr, ...] = ()
    residual: tuple[Expr, ...] = ()

    def meet(self, other: Band) -> Band:
        return Band(
            _tightest(self.lower + other.lower, lower=True),
            _tightest(self.upper + other.upper, lower=False),
            tuple(dict.fromkeys(self.guards + other.guards)),
            tuple(dict.fromkeys(self.residual + other.residual)),
        )

    def span(self, start: Expr, stop: Expr) -> tuple[Expr, Expr]:
        """(first column, one past the last) for a row, out of [start, stop) where a bound leaves it."""
        lower = reduce(ex.maximum, self.lower) if self.lower else start
        upper = reduce(ex.minimum, self.upper) if self.upper else stop
        if self.guards:  # a row that fails its guards sees nothing: its range ends where the columns start
            upper = ex.where(reduce(ex.and_, self.guards), upper, start)
        return lower, upper

    @property
    def empty(self) -> bool:
        """Whether it is proved that no pair is inside."""
        return any(decide(g) is False for g in self.guards + self.residual) or any(
            at_most(u, low) for u in self.upper for low in self.lower
        )

    def inside(self, other: Band) -> bool:
        """Whether it is proved that every pair of this band is one of the other's."""
        return (
            all(any(at_most(theirs, mine) for mine in self.lower) for theirs in other.lower)
            and all(any(at_most(mine, theirs) for mine in self.upper) for theirs in other.upper)
            and set(other.guards) <= set(self.guards)
            and set(other.residual) <= set(self.residual)
        )


Bands = tuple[Band, ...]
EVERYTHING: Bands = (Band(),)
NOTHING: Bands = ()


class _TooMany(Exception):
    """More bands, or cases, than a kernel could use."""


class _Unsolved(Exception):
    """The comparison gives no bound on the column."""


def solve(predicate: Expr, column: Expr, row: Expr, others: frozenset[Expr] = frozenset()) -> Bands:
    """The predicate as a union of bands on `column`, whose bounds read `row`.

    others: more that tells columns apart (another coordinate, the position). No bound reads them; what reads them and
    not the column is a guard.

    >>> from attnir.expr import K, Q
    >>> [band] = solve((K <= Q) & (Q - K < 8), K, Q)
    >>> print(band.lower, band.upper)
    (<q - 7>,) (<q + 1>,)
    """
    whole = (Band(residual=(predicate,)),)
    try:
        bands = _Solver(column, row, others).solve(predicate, True)
    except _TooMany:
        return whole
    most = field_limit(predicate)
    fits = not any(width_problem(e, most) for band in bands for e in (*band.lower, *band.upper, *band.guards))
    return bands if fits else whole


@dataclass(slots=True)
class _Solver:
    column: Expr
    row: Expr
    others: frozenset[Expr] = frozenset()
    cases: int = 0  # taken so far

    def solve(self, e: Expr, wanted: bool) -> Bands:
        """The bands where the condition is `wanted`."""
        match e.op:
            case Op.BOOL:
                return EVERYTHING if bool(e.value) == wanted else NOTHING
            case Op.NOT:
                return self.solve(e.args[0], not wanted)
            case Op.AND | Op.OR:
                parts = (self.solve(e.args[0], wanted), self.solve(e.args[1], wanted))
                return self.meet(*parts) if (e.op is Op.AND) == wanted else self.join(*parts)
        assert e.op in COMPARISONS, e
        return self.comparison(e if wanted else ex.compare(NEGATED[e.op], *e.args))

    def comparison(self, e: Expr) -> Bands:
        if e.op is Op.BOOL:
            return self.solve(e, True)
        verdict = decide(e)
        if verdict is not None:
            return EVERYTHING if verdict else NOTHING
        if not contains(e, self.column):
            return (Band(guards=(e,)),)
        gap = linear(ex.sub(*e.args))
        try:
            match e.op:
                case Op.LE:
                    return self.nonpositive(gap)
                case Op.LT:
                    return self.nonpositive(gap.plus(Linear((), 1)))
                case Op.GE:
                    return self.nonpositive(gap.times(-1))
                case Op.GT:
                    return self.nonpositive(gap.times(-1).plus(Linear((), 1)))
                case Op.EQ:
                    return self.meet(self.nonpositive(gap), self.nonpositive(gap.times(-1)))
            below = self.nonpositive(gap.plus(Linear((), 1)))
            return self.join(below, self.nonpositive(gap.times(-1).plus(Linear((), 1))))
        except _Unsolved:
            return (Band(residual=(e,)),)

    def nonpositive(self, form: Linear) -> Bands:
        """The bands of form <= 0."""
        atoms = [(a, c) for a, c in form.terms if contains(a, self.column)]
        if not atoms:
            return self.comparison(form.expr() <= 0)
        for atom, c in atoms:
            if atom.op in (Op.ABS, Op.MIN, Op.MAX, Op.WHERE):
                return self.by_cases(form.without(atom), atom, c)
        if len(atoms) > 1:
            raise _Unsolved
        ((atom, c),) = atoms
        rest = form.without(atom).expr()
        if any(contains(e, other) for other in self.others for e in (rest, atom)):
            raise _Unsolved
        if c > 0:
            return self.at_most(atom, carried(-rest // const(c)))
        return self.at_least(atom, carried((rest + (-c - 1)) // const(-c)))

    def by_cases(self, rest: Linear, atom: Expr, c: int) -> Bands:
        """rest + c * atom <= 0 for an atom that is one of several linear forms."""
        self.cases += 1
        if self.cases > MOST_CASES:
            raise _TooMany
        if atom.op is Op.WHERE:
            condition, a, b = atom.args
            yes, no = (self.nonpositive(rest.plus(linear(x), c)) for x in (a, b))
            return self.join(self.meet(self.solve(condition, True), yes), self.meet(self.solve(condition, False), no))
        a, b = atom.args if atom.op is not Op.ABS else (atom.args[0], ex.neg(atom.args[0]))
        cases = [self.nonpositive(rest.plus(linear(x), c)) for x in (a, b)]
        largest = atom.op is not Op.MIN
        return self.meet(*cases) if largest == (c > 0) else self.join(*cases)

    def at_most(self, atom: Expr, limit: Expr) -> Bands:
        """atom <= limit, for a limit without the column."""
        if atom is self.column:
            return (Band(upper=(simplify(limit + 1),)),)
        match atom.op:
            case Op.FLOORDIV if self.divides(atom):
                x, d = atom.args
                return self.nonpositive(linear(x - (d * limit + d - 1)))
            case Op.FIELD if self.searchable(atom):
                return (Band(upper=(self.search(Op.UPPER_BOUND, atom, limit),)),)
            case Op.MUL if atom.args[0] is atom.args[1] and limit.op is Op.CONST:
                if limit.const < 0:
                    return NOTHING
                root = const(math.isqrt(limit.const))
                return self.meet(
                    self.nonpositive(linear(atom.args[0] - root)), self.nonpositive(linear(-atom.args[0] - root))
                )
        raise _Unsolved

    def at_least(self, atom: Expr, limit: Expr) -> Bands:
        """atom >= limit, for a limit without the column."""
        if atom is self.column:
            return (Band(lower=(limit,)),)
        match atom.op:
            case Op.FLOORDIV if self.divides(atom):
                x, d = atom.args
                return self.nonpositive(linear(d * limit - x))
            case Op.FIELD if self.searchable(atom):
                return (Band(lower=(self.search(Op.LOWER_BOUND, atom, limit),)),)
            case Op.MUL if atom.args[0] is atom.args[1] and limit.op is Op.CONST:
                if limit.const <= 0:
                    return EVERYTHING
                root = const(math.isqrt(limit.const - 1) + 1)
                return self.join(
                    self.nonpositive(linear(root - atom.args[0])), self.nonpositive(linear(root + atom.args[0]))
                )
        raise _Unsolved

    def meet(self, left: Bands, right: Bands) -> Bands:
        """What is in both."""
        if len(left) * len(right) > MOST_BANDS:
            raise _TooMany
        return self.join((), tuple(a.meet(b) for a in left for b in right))

    def join(self, left: Bands, right: Bands) -> Bands:
        """The union, without the bands that are empty or inside another; two that one band can say become that one."""
        kept: list[Band] = []
        for new in (*left, *right):
            if new.empty or any(new.inside(k) for k in kept):
                continue
            kept = [k for k in kept if not k.inside(new)]
            for k in kept:
                both = self.opened(k, new) or self.opened(new, k)
                if both:
                    kept.remove(k)
                    new = both
                    break
            kept.append(new)
        if len(kept) > MOST_BANDS:
            raise _TooMany
        return tuple(kept)

    def opened(self, bounded: Band, guarded: Band) -> Band | None:
        """`column < U or guard`, a union of two bands, as the one band `column < where(guard, no bound, U)`."""
        if guarded.lower or guarded.upper or guarded.residual or bounded.guards or bounded.residual:
            return None
        guard = reduce(ex.and_, guarded.guards, ex.TRUE)
        if any(contains(guard, other) for other in self.others):
            return None
        match bounded.lower, bounded.upper:
            case (), (upper,):
                held = upper if bounds(upper).high <= POSITION_LIMIT else ex.minimum(upper, POSITION_LIMIT)
                return Band(upper=(ex.where(guard, POSITION_LIMIT, held),))
            case (lower,), ():
                return Band(lower=(ex.where(guard, 0, lower if bounds(lower).low >= 0 else ex.maximum(lower, 0)),))
        return None

    def divides(self, atom: Expr) -> bool:
        return not contains(atom.args[1], self.column) and bounds(atom.args[1]).low > 0

    def searchable(self, atom: Expr) -> bool:
        return isinstance(atom.value, FieldDecl) and atom.value.sorted

    def search(self, op: Op, atom: Expr, limit: Expr) -> Expr:
        assert isinstance(atom.value, FieldDecl)
        return row_table(op, Searched(atom.value, side_of(self.column)), limit, self.row)


def _tightest(limits: Iterable[Expr], *, lower: bool) -> tuple[Expr, ...]:
    """The limits without those that another one implies."""
    kept: list[Expr] = []
    for new in dict.fromkeys(limits):
        if any(at_most(new, k) if lower else at_most(k, new) for k in kept):
            continue
        kept = [k for k in kept if not (at_most(k, new) if lower else at_most(new, k))]
        kept.append(new)
    return tuple(kept)
