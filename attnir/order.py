"""Proving one integer expression at most as large as another, in every call that is possible.

The difference is taken as a linear form. Where its bounds do not settle it, a min, max, where or a reduction over rows
in it is replaced by its cases. Each step is sound, and a proof takes at most `STEPS` of them: a sum of many such terms
has exponentially many cases, and beyond the limit its order counts as not proved.
"""

from __future__ import annotations

from dataclasses import replace

from attnir import expr as ex
from attnir.bounder import Bounder
from attnir.bounds import any_call, bounds
from attnir.expr import Expr
from attnir.interval import Integers, Interval
from attnir.linear import Linear, linear
from attnir.ops import POSITION_LIMIT, TABLES, Coordinate, Of, Op
from attnir.traverse import nodes, substitute

STEPS = 512  # forms that a proof may look at

# What holds in every call, as substitutions by something that is not negative: q_start <= q0 <= q1, and so on.
_LATER, _LATER0, _ROWS = ex.sym("later"), ex.sym("later0"), ex.sym("rows")
_ORDER = {
    ex.Q: ex.Q_START + _LATER,
    ex.Q0: ex.Q_START + _LATER0,
    ex.Q1: ex.Q_START + _LATER0 + _ROWS,
    ex.K1: ex.K0 + _ROWS,
}
_ORDERED = Interval(0, POSITION_LIMIT)


def _in_order(coordinate: Coordinate) -> Expr:
    """A coordinate as a sum of what is not negative: first <= token, first <= last."""
    if coordinate.of not in (Of.TOKEN, Of.FIRST, Of.LAST):
        return ex.coordinate(coordinate)
    first = ex.coordinate(replace(coordinate, of=Of.BEFORE))
    if coordinate.of is Of.FIRST:
        return first
    kind = replace(coordinate, axis=f"{coordinate.axis} {coordinate.of}", of=Of.SINCE)  # of no axis: none has a space
    return first + ex.coordinate(kind)


def at_most(a: Expr, b: Expr) -> bool:
    """Whether a <= b is proved for every call.

    >>> at_most(ex.Q_START, ex.maximum(ex.Q - 4, ex.Q_START))
    True
    """
    gap = b - a
    if a is b or bounds(gap).low >= 0:
        return True
    known = {n: _in_order(n.value) for n in nodes(gap) if isinstance(n.value, Coordinate)}
    return _Proof().not_negative(linear(substitute(gap, _ORDER | known)), _reads_one_row(gap))


def _any_ordered_call(leaf: Expr) -> Interval[int]:
    return _ORDERED if leaf in (_LATER, _LATER0, _ROWS) else any_call(leaf)


def _reads_one_row(e: Expr) -> bool:
    """Whether a token stands outside of every reduction over rows, and so belongs to one certain row."""
    stack = [e]
    while stack:
        n = stack.pop()
        if n is ex.Q or n is ex.K or (isinstance(n.value, Coordinate) and n.value.of is Of.TOKEN):
            return True
        if n.op not in (Op.ROWMIN, Op.ROWMAX):
            stack.extend(n.args[1:] if n.op in TABLES else n.args)
    return False


class _Proof:
    """One proof; remembers the forms that it has looked at."""

    def __init__(self) -> None:
        self.bounder = Bounder(Integers(), _any_ordered_call)
        self.known: dict[tuple[Linear, bool], bool] = {}

    def not_negative(self, form: Linear, row_taken: bool) -> bool:
        """Whether the form is proved never negative.

        `row_taken`: a reduction in it was replaced by its argument at one row, so that another one may stand elsewhere.
        """
        key = (form, row_taken)
        if key not in self.known:
            if len(self.known) == STEPS:
                return False
            self.known[key] = False  # until it is proved
            self.known[key] = self.bounder.form(form).low >= 0 or self._by_cases(form, row_taken)
        return self.known[key]

    def _by_cases(self, form: Linear, row_taken: bool) -> bool:
        for atom, c in form.terms:
            match atom.op:
                case Op.MIN | Op.MAX:
                    # max(x, y) is at least x; -min(x, y) is at least -x; the other way round both must hold.
                    quantifier = any if (atom.op is Op.MAX) == (c > 0) else all
                    return quantifier(self._with(form, atom, x, row_taken) for x in atom.args)
                case Op.WHERE:
                    return all(self._with(form, atom, x, row_taken) for x in atom.args[1:])
                case Op.ROWMIN | Op.ROWMAX:
                    # The least value stands at some row, and so does minus the greatest; after one of these is taken a
                    # second one may stand at another row. The greatest value, and minus the least, are no less than at
                    # any row.
                    takes = (atom.op is Op.ROWMIN) == (c > 0)
                    if not (takes and row_taken):
                        return self._with(form, atom, atom.args[0], row_taken or takes)
        return self._by_quotients(form, row_taken)

    def _with(self, form: Linear, atom: Expr, case: Expr, row_taken: bool) -> bool:
        """Whether the form is never negative with a case in an atom's place."""
        return self.not_negative(form.without(atom).plus(linear(case), form.coefficient(atom)), row_taken)

    def _by_quotients(self, form: Linear, row_taken: bool) -> bool:
        """x // d - y // d >= 0 where x >= y; x // d - c >= 0 where x >= c * d."""
        for up, c in form.terms:
            if c != 1 or up.op is not Op.FLOORDIV or bounds(up.args[1]).low <= 0:
                continue
            rest, (x, d) = form.without(up), up.args
            if not rest.terms and d.op is Op.CONST:
                return self.not_negative(linear(x).plus(Linear((), rest.constant * d.const)), row_taken)
            if len(rest.terms) == 1 and rest.constant >= 0:
                ((down, c),) = rest.terms
                if c == -1 and down.op is Op.FLOORDIV and down.args[1] is d:
                    return self.not_negative(linear(x - down.args[0]), row_taken)
        return False
