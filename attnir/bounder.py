"""Bounding an expression from the intervals of its leaves, by one rule per operation.

The rules are sound: the value lies inside, whatever the leaves are within theirs. Sums are bounded as linear forms, so
that q - (q - k) is k; what is alike up to a multiple is told apart by congruences.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Generic

from attnir import expr as ex
from attnir.congruence import congruence
from attnir.expr import Expr
from attnir.interval import Arithmetic, Interval, N
from attnir.linear import Linear, linear
from attnir.ops import Op

Leaf = Callable[[Expr], Interval[N]]  # the interval of a symbol, parameter, field or row table


class Bounder(Generic[N]):
    """One walk over an expression; remembers what it has bounded."""

    def __init__(self, arithmetic: Arithmetic[N], leaf: Leaf[N]) -> None:
        self.arithmetic: Arithmetic[N] = arithmetic
        self.leaf: Leaf[N] = leaf
        self.integers: dict[Expr, Interval[N]] = {}
        self.conditions: dict[Expr, tuple[N, N]] = {}

    def integer(self, e: Expr) -> Interval[N]:
        """The interval of an integer expression."""
        if e not in self.integers:
            self.integers[e] = self._integer(e)
        return self.integers[e]

    def _integer(self, e: Expr) -> Interval[N]:
        rules = self.arithmetic
        match e.op:
            case Op.CONST:
                return rules.point(e.const)
            case Op.ADD | Op.SUB | Op.NEG:
                return self.form(linear(e))
            case Op.MUL:
                return self._product(e)
            case Op.FLOORDIV:
                return rules.quotient(self.integer(e.args[0]), self.integer(e.args[1]))
            case Op.MOD:
                return rules.modulo(self.integer(e.args[0]), self.integer(e.args[1]))
            case Op.ABS:
                return rules.absolute(self.integer(e.args[0]))
            case Op.MIN:
                return rules.minimum(self.integer(e.args[0]), self.integer(e.args[1]))
            case Op.MAX:
                return rules.maximum(self.integer(e.args[0]), self.integer(e.args[1]))
            case Op.WHERE:
                return rules.either(*self.condition(e.args[0]), self.integer(e.args[1]), self.integer(e.args[2]))
            case Op.ROWMIN | Op.ROWMAX:
                return self.integer(e.args[0])
        return self.leaf(e)

    def _product(self, e: Expr) -> Interval[N]:
        form = linear(e)
        if form.atoms != (e,):
            return self.form(form)
        a, b = self.integer(e.args[0]), self.integer(e.args[1])
        return self.arithmetic.square(a) if e.args[0] is e.args[1] else self.arithmetic.multiply(a, b)

    def form(self, form: Linear) -> Interval[N]:
        """The interval of a sum in which every atom stands once."""
        rules = self.arithmetic
        terms = [rules.times(self.integer(atom), c) for atom, c in form.terms]
        return reduce(rules.add, terms, rules.point(form.constant))

    def condition(self, e: Expr) -> tuple[N, N]:
        """(can be true, can be false) of a condition. Both true means: not proved."""
        if e not in self.conditions:
            self.conditions[e] = self._condition(e)
        return self.conditions[e]

    def _condition(self, e: Expr) -> tuple[N, N]:
        match e.op:
            case Op.BOOL:
                return self._truth(bool(e.value)), self._truth(not e.value)
            case Op.NOT:
                can, cannot = self.condition(e.args[0])
                return cannot, can
            case Op.AND:
                (a, not_a), (b, not_b) = self.condition(e.args[0]), self.condition(e.args[1])
                return a & b, not_a | not_b
            case Op.OR:
                (a, not_a), (b, not_b) = self.condition(e.args[0]), self.condition(e.args[1])
                return a | b, not_a & not_b
        return self._comparison(e)

    def _comparison(self, e: Expr) -> tuple[N, N]:
        difference = ex.sub(*e.args)
        gap = self.form(linear(difference))
        match e.op:
            case Op.LT:
                return gap.low < 0, gap.high >= 0
            case Op.LE:
                return gap.low <= 0, gap.high > 0
            case Op.GT:
                return gap.high > 0, gap.low <= 0
            case Op.GE:
                return gap.high >= 0, gap.low < 0
        modulus, remainder = congruence(difference)
        zero = self._truth(remainder % modulus == 0 if modulus else remainder == 0)
        can_meet = (gap.low <= 0) & (gap.high >= 0) & zero
        can_differ = (gap.low != 0) | (gap.high != 0)
        return (can_meet, can_differ) if e.op is Op.EQ else (can_differ, can_meet)

    def _truth(self, value: bool) -> N:
        return self.arithmetic.number(value)
