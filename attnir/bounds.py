"""Intervals and congruences: what is known of an expression before its tokens are.

The same rules serve two purposes. With Python integers they bound an expression over every call that is possible
(positions below 2**28, parameters in their range), which is how the compiler proves one scalar below another. With
tensors of intervals they classify many tiles at once. The rules are sound: the value always lies inside.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from attnir import expr as ex
from attnir.expr import COPIES_LIMIT, PARAM_LIMIT, POSITION_LIMIT, Expr, FieldDecl, Op, ParamDecl
from attnir.linear import Linear, linear

Number = Any  # int, or an int64 tensor of them
Truth = Any  # bool, or a bool tensor
INFINITE = 2**61  # stands for every value at least as large, so that the sum of two still fits 64 bits


@dataclass(frozen=True, slots=True)
class Interval:
    """low <= value <= high, for an integer or elementwise for tensors of them."""

    low: Number
    high: Number

    def __add__(self, other: Interval) -> Interval:
        low, high = _sum(self.low, other.low), _sum(self.high, other.high)
        endless_low = (self.low <= -INFINITE) | (other.low <= -INFINITE)
        endless_high = (self.high >= INFINITE) | (other.high >= INFINITE)
        return Interval(choose(endless_low, -INFINITE, low), choose(endless_high, INFINITE, high))

    def times(self, factor: int) -> Interval:
        a, b = _product(self.low, factor), _product(self.high, factor)
        return Interval(a, b) if factor >= 0 else Interval(b, a)


Leaf = Callable[[Expr], Interval]


def _tensors(*values: Number) -> bool:
    return any(isinstance(v, torch.Tensor) for v in values)


def lowest(a: Number, b: Number) -> Number:
    return torch.minimum(torch.as_tensor(a), torch.as_tensor(b)) if _tensors(a, b) else min(a, b)


def highest(a: Number, b: Number) -> Number:
    return torch.maximum(torch.as_tensor(a), torch.as_tensor(b)) if _tensors(a, b) else max(a, b)


def choose(condition: Truth, a: Number, b: Number) -> Number:
    if isinstance(condition, torch.Tensor):
        return torch.where(condition, torch.as_tensor(a), torch.as_tensor(b))
    return a if condition else b


def _clip(value: Number) -> Number:
    return lowest(highest(value, -INFINITE), INFINITE)


def _saturating(operation: Callable[[Number, Number], Number]) -> Callable[[Number, Number], Number]:
    """The operation held within +-INFINITE, also where a tensor's 64 bits would wrap around."""

    def saturated(a: Number, b: Number) -> Number:
        if not _tensors(a, b):
            return _clip(operation(a, b))
        a, b = torch.as_tensor(a), torch.as_tensor(b)
        size = operation(a.double(), b.double())
        return torch.where(size.abs() < INFINITE, operation(a, b), torch.where(size > 0, INFINITE, -INFINITE))

    return saturated


_sum = _saturating(operator.add)
_product = _saturating(operator.mul)


def _corners(f: Callable[[Number, Number], Number], a: Interval, b: Interval) -> Interval:
    values = [f(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
    low = high = values[0]
    for v in values[1:]:
        low, high = lowest(low, v), highest(high, v)
    return Interval(low, high)


def _quotient(a: Interval, b: Interval) -> Interval:
    found = _corners(lambda x, y: x // y, a, b)
    return Interval(choose(_finite(a), found.low, -INFINITE), choose(_finite(a), found.high, INFINITE))


def _finite(a: Interval) -> Truth:
    """Whether no end of the interval stands for values beyond it."""
    return (a.low > -INFINITE) & (a.high < INFINITE)


def _modulo(a: Interval, b: Interval) -> Interval:
    positive = b.low > 0
    below, above = b + Interval(1, 1), b + Interval(-1, -1)
    widest = Interval(choose(positive, 0, below.low), choose(positive, above.high, 0))
    # Inside one period of a known divisor the remainder moves with its argument.
    known = (b.low == b.high) & (a.low // b.low == a.high // b.low) & _finite(a)
    return Interval(choose(known, a.low % b.low, widest.low), choose(known, a.high % b.low, widest.high))


def _absolute(a: Interval) -> Interval:
    crosses = (a.low <= 0) & (a.high >= 0)
    small, large = lowest(abs(a.low), abs(a.high)), highest(abs(a.low), abs(a.high))
    return Interval(choose(crosses, 0, small), large)


def interval(e: Expr, leaf: Leaf) -> Interval:
    """The interval of an integer expression, from those of its leaves (symbols, parameters, fields, row tables)."""
    return _Bounder(leaf).integer(e)


def decide(e: Expr, leaf: Leaf) -> tuple[Truth, Truth]:
    """(can be true, can be false) of a condition. Both True means: not proved."""
    return _Bounder(leaf).condition(e)


class _Bounder:
    """One walk over an expression; remembers what it has bounded."""

    def __init__(self, leaf: Leaf) -> None:
        self.leaf = leaf
        self.integers: dict[Expr, Interval] = {}
        self.conditions: dict[Expr, tuple[Truth, Truth]] = {}

    def integer(self, e: Expr) -> Interval:
        if e not in self.integers:
            self.integers[e] = self._integer(e)
        return self.integers[e]

    def _integer(self, e: Expr) -> Interval:
        match e.op:
            case Op.CONST:
                return Interval(e.const, e.const)
            case Op.ADD | Op.SUB | Op.NEG:
                return self.linear(e)
            case Op.MUL:
                form = linear(e)
                if not (len(form.terms) == 1 and form.terms[0][0] is e):
                    return self.linear(e)
                product = _corners(_product, self.integer(e.args[0]), self.integer(e.args[1]))
                return Interval(highest(product.low, 0), product.high) if e.args[0] is e.args[1] else product
            case Op.FLOORDIV:
                return _quotient(self.integer(e.args[0]), self.integer(e.args[1]))
            case Op.MOD:
                return _modulo(self.integer(e.args[0]), self.integer(e.args[1]))
            case Op.ABS:
                return _absolute(self.integer(e.args[0]))
            case Op.MIN:
                a, b = self.integer(e.args[0]), self.integer(e.args[1])
                return Interval(lowest(a.low, b.low), lowest(a.high, b.high))
            case Op.MAX:
                a, b = self.integer(e.args[0]), self.integer(e.args[1])
                return Interval(highest(a.low, b.low), highest(a.high, b.high))
            case Op.WHERE:
                can, cannot = self.condition(e.args[0])
                a, b = self.integer(e.args[1]), self.integer(e.args[2])
                low = choose(can, choose(cannot, lowest(a.low, b.low), a.low), b.low)
                high = choose(can, choose(cannot, highest(a.high, b.high), a.high), b.high)
                return Interval(low, high)
            case Op.ROWMIN | Op.ROWMAX:
                return self.integer(e.args[0])
        return self.leaf(e)

    def linear(self, e: Expr) -> Interval:
        """A sum with every atom counted once: q - (q - k) is k."""
        form = linear(e)
        total = Interval(form.constant, form.constant)
        for atom, c in form.terms:
            total = total + self.integer(atom).times(c)
        return total

    def condition(self, e: Expr) -> tuple[Truth, Truth]:
        if e not in self.conditions:
            self.conditions[e] = self._condition(e)
        return self.conditions[e]

    def _condition(self, e: Expr) -> tuple[Truth, Truth]:
        match e.op:
            case Op.BOOL:
                return bool(e.value), not e.value
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

    def _comparison(self, e: Expr) -> tuple[Truth, Truth]:
        gap = self.linear(ex.sub(e.args[0], e.args[1]))
        match e.op:
            case Op.LT:
                return gap.low < 0, gap.high >= 0
            case Op.LE:
                return gap.low <= 0, gap.high > 0
            case Op.GT:
                return gap.high > 0, gap.low <= 0
            case Op.GE:
                return gap.high >= 0, gap.low < 0
        can_meet = (gap.low <= 0) & (gap.high >= 0) & self._zero_is_congruent(e)
        can_differ = (gap.low != 0) | (gap.high != 0)
        return (can_meet, can_differ) if e.op is Op.EQ else (can_differ, can_meet)

    def _zero_is_congruent(self, e: Expr) -> bool:
        modulus, remainder = congruence(ex.sub(e.args[0], e.args[1]))
        return remainder % modulus == 0 if modulus else remainder == 0


def congruence(e: Expr) -> tuple[int, int]:
    """(m, r) with value = r modulo m, whatever the tokens are; m = 0 says that the value is r, m = 1 nothing.

    >>> congruence(ex.Q * 4 + 6)
    (4, 2)
    """
    form = linear(e)
    modulus, remainder = 0, form.constant
    for atom, c in form.terms:
        m, r = _atom_congruence(atom)
        modulus, remainder = math.gcd(modulus, m * c), remainder + r * c
    return modulus, remainder % modulus if modulus else remainder


def _atom_congruence(atom: Expr) -> tuple[int, int]:
    match atom.op:
        case Op.MOD if atom.args[1].op is Op.CONST:
            m, r = congruence(atom.args[0])
            g = math.gcd(m, atom.args[1].const)
            return (g, r % g) if g else (0, r)
        case Op.MUL:
            (m, r), (n, s) = congruence(atom.args[0]), congruence(atom.args[1])
            g = math.gcd(m * n, m * s, n * r)
            return (g, r * s % g) if g else (0, r * s)
        case Op.MIN | Op.MAX | Op.WHERE:
            (m, r), (n, s) = congruence(atom.args[-2]), congruence(atom.args[-1])
            g = math.gcd(m, n, r - s)
            return (g, r % g) if g else (0, r)
    return 1, 0


_SYMBOLS: Mapping[Expr, Interval] = {
    **dict.fromkeys((*ex.SIDES, ex.Q_START), Interval(0, POSITION_LIMIT - 1)),
    **dict.fromkeys((ex.Q_LEN, ex.K_LEN), Interval(0, POSITION_LIMIT)),
    **dict.fromkeys((ex.B, ex.H), Interval(0, COPIES_LIMIT)),
}
UNKNOWN = Interval(-INFINITE, INFINITE)


def any_call(e: Expr) -> Interval:
    """The bounds of a leaf over every call that is possible."""
    match e.value:
        case ParamDecl(low=low, high=high):
            return Interval(low, high)
        case FieldDecl():
            return UNKNOWN
        case str():
            return _SYMBOLS.get(e, Interval(-PARAM_LIMIT, PARAM_LIMIT))
    return Interval(0, POSITION_LIMIT)  # a row table holds positions


def bounds(e: Expr) -> Interval:
    """The bounds of an integer expression over every call that is possible.

    >>> bounds(ex.maximum(ex.Q - 4, 0)).low
    0
    """
    return interval(e, any_call)


# What holds in every call, as substitutions by something that is not negative: q_start <= q0 <= q1, and so on.
_ORDER = {
    ex.Q: ex.Q_START + ex.sym("later"),
    ex.Q0: ex.Q_START + ex.sym("later0"),
    ex.Q1: ex.Q_START + ex.sym("later0") + ex.sym("rows"),
    ex.K1: ex.K0 + ex.sym("rows"),
}
_ORDERED = Interval(0, POSITION_LIMIT)


def _any_ordered_call(e: Expr) -> Interval:
    return _ORDERED if e.op is Op.SYM and e.value in ("later", "later0", "rows") else any_call(e)


def at_most(a: Expr, b: Expr) -> bool:
    """Whether a <= b is proved for every call.

    >>> at_most(ex.Q_START, ex.maximum(ex.Q - 4, ex.Q_START))
    True
    """
    gap = b - a
    return a is b or _not_negative(linear(ex.substitute(gap, _ORDER)), _reads_one_row(gap))


def _reads_one_row(e: Expr) -> bool:
    """Whether a token stands outside of every reduction over rows, and so belongs to one certain row."""
    stack = [e]
    while stack:
        n = stack.pop()
        if n is ex.Q or n is ex.K:
            return True
        if n.op not in (Op.ROWMIN, Op.ROWMAX):
            stack.extend(n.args[1:] if n.op in ex.TABLES else n.args)
    return False


def _not_negative(form: Linear, row_taken: bool) -> bool:
    """Whether the form is proved never negative.

    A reduction in it is replaced by its argument at one row. The least value stands at some row, and so does minus the
    greatest; after one of these is taken (`row_taken`), a second one may stand at another row. The greatest value, and
    minus the least, are no less than at any row.
    """
    if _form_interval(form).low >= 0:
        return True
    for atom, c in form.terms:
        rest = form.without(atom)
        if atom.op in (Op.MIN, Op.MAX):
            # max(x, y) is at least x; -min(x, y) is at least -x; the other way round both must hold.
            quantifier = any if (atom.op is Op.MAX) == (c > 0) else all
            return quantifier(_not_negative(rest.plus(linear(x), c), row_taken) for x in atom.args)
        if atom.op is Op.WHERE:
            return all(_not_negative(rest.plus(linear(x), c), row_taken) for x in atom.args[1:])
        if atom.op in (Op.ROWMIN, Op.ROWMAX):
            takes = (atom.op is Op.ROWMIN) == (c > 0)
            if not (takes and row_taken):
                return _not_negative(rest.plus(linear(atom.args[0]), c), row_taken or takes)
    return _quotients_not_negative(form, row_taken)


def _quotients_not_negative(form: Linear, row_taken: bool) -> bool:
    """x // d - y // d >= 0 where x >= y; x // d - c >= 0 where x >= c * d."""
    ups = [a for a, c in form.terms if c == 1 and a.op is Op.FLOORDIV and bounds(a.args[1]).low > 0]
    for up in ups:
        rest = form.without(up)
        x, d = up.args
        if not rest.terms and d.op is Op.CONST:
            return _not_negative(linear(x).plus(Linear((), rest.constant * d.const)), row_taken)
        if len(rest.terms) == 1 and rest.constant >= 0:
            ((down, c),) = rest.terms
            if c == -1 and down.op is Op.FLOORDIV and down.args[1] is d:
                return _not_negative(linear(x - down.args[0]), row_taken)
    return False


def _form_interval(form: Linear) -> Interval:
    total = Interval(form.constant, form.constant)
    for atom, c in form.terms:
        total = total + interval(atom, _any_ordered_call).times(c)
    return total


def decided(e: Expr) -> bool | None:
    """True or False when a condition is proved for every call, else None."""
    can, cannot = decide(e, any_call)
    return None if can and cannot else bool(can)
