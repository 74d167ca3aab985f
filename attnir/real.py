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

from attnir import expr as ex
from attnir.digits import carried
from attnir.expr import DECIDE, Expr, boolean, node
from attnir.ops import UNBOUNDED, Op, TensorDecl
from attnir.traverse import nodes, rebuild, substitute

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


def div(a: Expr, b: Expr) -> Expr:
    y = _known(b)
    if y is not None and y != 0:
        x = _known(a)
        return real(x / y) if x is not None else a if y == 1 else node(Op.REAL_DIV, (_one_form(a), real(y)))
    return node(Op.REAL_DIV, (_one_form(a), _one_form(b)))


def absolute(a: Expr) -> Expr:
    x = _known(a)
    return real(abs(x)) if x is not None else a if a.op is Op.REAL_ABS else node(Op.REAL_ABS, (a,))


def _extremum(op: Op, pick: Callable[[float, float], float], a: Expr, b: Expr) -> Expr:
    x, y = _known(a), _known(b)
    if x is not None and y is not None:
        return real(pick(x, y))
    return a if a is b else node(op, (_one_form(a), _one_form(b)))


def minimum(a: Expr, b: Expr) -> Expr:
    return _extremum(Op.REAL_MIN, min, a, b)


def maximum(a: Expr, b: Expr) -> Expr:
    return _extremum(Op.REAL_MAX, max, a, b)


def compare(op: Op, a: Expr, b: Expr) -> Expr:
    """A condition on real numbers; it has no slope."""
    x, y = _known(a), _known(b)
    return ex.compare(op, _one_form(a), _one_form(b)) if x is None or y is None else boolean(DECIDE[op](x, y))


def log(a: Expr) -> Expr:
    """The natural logarithm; that of an integer is 0 where it is below 1."""
    known = _known(a)
    if a.is_real:
        return node(Op.REAL_LOG, (a,)) if known is None or known <= 0 else real(math.log(known))
    return node(Op.LOG, (a,)) if known is None else real(math.log(max(known, 1)))


def _function(op: Op, a: Expr, value: Callable[[float], float], inside: Callable[[float], bool]) -> Expr:
    known = _known(a)
    return node(op, (_one_form(a),)) if known is None or not inside(known) else real(value(known))


def exp(a: Expr) -> Expr:
    return _function(Op.EXP, a, math.exp, lambda x: abs(x) < 60)


def tanh(a: Expr) -> Expr:
    return _function(Op.TANH, a, math.tanh, lambda x: True)


def sigmoid(a: Expr) -> Expr:
    return _function(Op.SIGMOID, a, lambda x: 0.5 + 0.5 * math.tanh(x / 2), lambda x: True)


def sqrt(a: Expr) -> Expr:
    return _function(Op.SQRT, a, math.sqrt, lambda x: x >= 0)


COUNTERS = 4


def random(seed: Expr, *counters: Expr) -> Expr:
    """A number from [0, 1), a pure function of a seed and of up to COUNTERS counters."""
    assert len(counters) <= COUNTERS
    return node(Op.RANDOM, (seed, *counters, *[ex.ZERO] * (COUNTERS - len(counters))))


def of_integer(e: Expr) -> Expr:
    """An integer as a real number; a real number as it is."""
    return e if e.is_real else _one_form(e) if e.op is Op.CONST else node(Op.FLOAT, (e,))


_BUILD: dict[Op, Callable[..., Expr]] = {
    Op.REAL_ADD: add,
    Op.REAL_SUB: sub,
    Op.REAL_NEG: neg,
    Op.REAL_MUL: mul,
    Op.REAL_DIV: div,
    Op.REAL_ABS: absolute,
    Op.REAL_MIN: minimum,
    Op.REAL_MAX: maximum,
    Op.REAL_WHERE: where,
    Op.EXP: exp,
    Op.REAL_LOG: log,
    Op.TANH: tanh,
    Op.SIGMOID: sigmoid,
    Op.SQRT: sqrt,
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


def tensors_read(*roots: Expr) -> tuple[tuple[str, Expr], ...]:
    """(name of the tensor, node) for every place at which expressions read a real tensor."""
    return tuple((n.value.name, n) for n in nodes(*roots) if n.op is Op.READ and isinstance(n.value, TensorDecl))


def is_unbounded(e: Expr) -> bool:
    """Whether a value or a slope of the expression may be infinite or NaN."""
    return any(n.op in UNBOUNDED and not _divides_by_a_number(n) for n in nodes(e))


def _divides_by_a_number(n: Expr) -> bool:
    return n.op is Op.REAL_DIV and isinstance(n.args[1].value, float) and n.args[1].value != 0.0


def slope(e: Expr) -> Expr:
    """The derivative of a score by the score before it."""
    return derivative(e, SCORE)


def derivative(e: Expr, by: Expr) -> Expr:
    """The derivative of a score by one of its nodes: the score before it, or a real tensor read somewhere.

    Where an extremum is reached twice, each of the two counts half, as in torch; a condition has no slope.
    """
    done: dict[Expr, Expr] = {}
    reached = {by}
    for n in nodes(e):
        if any(a in reached for a in n.args):
            reached.add(n)
        own = ONE if n is by else ZERO
        done[n] = _derived(n, [done[a] for a in n.args]) if n in reached - {by} and n.is_real else own
    return of_integer(done[e])


def _derived(e: Expr, slopes: list[Expr]) -> Expr:
    """The derivative of an operation from those of its arguments."""
    match e.op, e.args, slopes:
        case Op.REAL_ADD, _, (x, y):
            return add(x, y)
        case Op.REAL_SUB, _, (x, y):
            return sub(x, y)
        case Op.REAL_NEG, _, (x,):
            return neg(x)
        case Op.REAL_MUL, (a, b), (x, y):
            return add(mul(x, b), mul(a, y))
        case Op.REAL_DIV, (_, b), (x, y):
            return div(sub(x, mul(e, y)), b)
        case Op.REAL_WHERE, (condition, _, _), (_, x, y):
            return where(condition, x, y)
        case ((Op.REAL_MIN | Op.REAL_MAX as op), (a, b), (x, y)):
            first, second = (a, b) if op is Op.REAL_MAX else (b, a)
            half = mul(add(x, y), real(0.5))
            return where(compare(Op.GT, first, second), x, where(compare(Op.LT, first, second), y, half))
        case Op.REAL_ABS, (a,), (x,):
            return where(compare(Op.GT, a, ZERO), x, where(compare(Op.LT, a, ZERO), neg(x), ZERO))
        case Op.EXP, _, (x,):
            return mul(e, x)
        case Op.REAL_LOG, (a,), (x,):
            return div(x, a)
        case Op.TANH, _, (x,):
            return mul(sub(ONE, mul(e, e)), x)
        case Op.SIGMOID, _, (x,):
            return mul(mul(e, sub(ONE, e)), x)
        case Op.SQRT, _, (x,):
            return div(mul(x, real(0.5)), e)
        case ((Op.LOG | Op.FLOAT | Op.READ | Op.RANDOM), _, _):
            return ZERO  # of integers
    raise AssertionError(f"{e.op} has no derivative")
