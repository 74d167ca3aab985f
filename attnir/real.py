"""Real numbers in expressions: what a score is computed of.

A score is an expression over the score before it, `s`, over constants and over integers and conditions on tokens. As
elsewhere, constructors fold constants and neutral elements and change nothing else.

>>> from attnir.expr import K, Q, eq
>>> far = eq(Q // 8, K // 8)
>>> print(where(far, SCORE, sub(SCORE, real(4.0))))
where(q // 8 == k // 8, s, s - 4.0)
>>> print(slope(where(far, SCORE, real(0.0))))
where(q // 8 == k // 8, 1.0, 0.0)
"""

from __future__ import annotations

import math
from collections.abc import Callable

from attnir.digits import carried
from attnir.expr import Expr, node
from attnir.ops import Op
from attnir.traverse import contains, nodes, rebuild, substitute

SCORE = node(Op.SCORE, (), "s")


def real(value: float) -> Expr:
    """A constant."""
    return node(Op.REAL, (), float(value) + 0.0)  # no -0.0, which is the same constant


ZERO, ONE = real(0.0), real(1.0)


def _known(e: Expr) -> float | None:
    """The value of a constant."""
    return float(e.value) if e.op in (Op.REAL, Op.CONST) and isinstance(e.value, int | float) else None


def _one_form(e: Expr) -> Expr:
    """A constant as a real number: 1 is 1.0."""
    return real(e.const) if e.op is Op.CONST else e


def add(a: Expr, b: Expr) -> Expr:
    x, y = _known(a), _known(b)
    if x is not None and y is not None:
        return real(x + y)
    if x == 0 or y == 0:
        return a if y == 0 else b
    return node(Op.REAL_ADD, (_one_form(a), _one_form(b))) if y is None or y > 0 else sub(a, real(-y))


def sub(a: Expr, b: Expr) -> Expr:
    x, y = _known(a), _known(b)
    if x is not None and y is not None:
        return real(x - y)
    if y == 0:
        return a
    return node(Op.REAL_SUB, (_one_form(a), _one_form(b))) if y is None or y > 0 else add(a, real(-y))


def neg(a: Expr) -> Expr:
    x = _known(a)
    if x is not None:
        return real(-x)
    return a.args[0] if a.op is Op.REAL_NEG else node(Op.REAL_NEG, (a,))


def mul(a: Expr, b: Expr) -> Expr:
    x, y = _known(a), _known(b)
    if x is not None and y is not None:
        return real(x * y)
    if x == 0 or y == 0:
        return ZERO
    if x == 1 or y == 1:
        return a if y == 1 else b
    return node(Op.REAL_MUL, (_one_form(a), _one_form(b)))


def where(condition: Expr, a: Expr, b: Expr) -> Expr:
    if condition.op is Op.BOOL:
        return a if condition.value else b
    return a if a is b else node(Op.REAL_WHERE, (condition, _one_form(a), _one_form(b)))


def log(count: Expr) -> Expr:
    """The natural logarithm of an integer; 0 where it is below 1."""
    known = _known(count)
    return node(Op.LOG, (count,)) if known is None else real(math.log(max(known, 1)))


def of_integer(e: Expr) -> Expr:
    """An integer as a real number; a real number as it is."""
    return e if e.is_real else _one_form(e) if e.op is Op.CONST else node(Op.FLOAT, (e,))


_BUILD: dict[Op, Callable[..., Expr]] = {
    Op.REAL_ADD: add,
    Op.REAL_SUB: sub,
    Op.REAL_NEG: neg,
    Op.REAL_MUL: mul,
    Op.REAL_WHERE: where,
    Op.LOG: log,
    Op.FLOAT: of_integer,
}


def _folded(e: Expr) -> Expr | None:
    return _BUILD[e.op](*e.args) if e.op in _BUILD else None


def after(score: Expr, before: Expr) -> Expr:
    """The score that comes of another one."""
    return rebuild(substitute(score, {SCORE: before}), _folded)


def at(score: Expr, positions: dict[Expr, Expr]) -> Expr:
    """The score with positions said in other words; fields stay facts about tokens."""
    fields = {n: n for n in nodes(score) if n.op is Op.FIELD}
    return rebuild(carried(substitute(score, positions | fields)), _folded)


def slope(e: Expr) -> Expr:
    """The derivative of a score by the score before it."""
    if e is SCORE:
        return ONE
    if not contains(e, SCORE):
        return ZERO
    match e.op, e.args:
        case Op.REAL_ADD, (a, b):
            return add(slope(a), slope(b))
        case Op.REAL_SUB, (a, b):
            return sub(slope(a), slope(b))
        case Op.REAL_NEG, (a,):
            return neg(slope(a))
        case Op.REAL_MUL, (a, b):
            return add(mul(slope(a), b), mul(a, slope(b)))
        case Op.REAL_WHERE, (condition, a, b):
            return where(condition, slope(a), slope(b))
    raise AssertionError(f"{e.op} has no derivative")
