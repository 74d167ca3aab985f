"""Division of sums whose parts are multiples of the divisor or smaller than it, as of the digits of a number.

With 0 <= x < 64, `(64 * y + x) // 64` is y and `(64 * y + x) % 64` is x. So an expression of a position becomes one of
its coordinates: positions are sums of coordinates times strides.

>>> from attnir.ops import Coordinate, Side
>>> y, x = (ex.coordinate(Coordinate(Side.QUERIES, name, size=64)) for name in "yx")
>>> print(carried((64 * y + x) // 64 + (64 * y + x) % 64))
q.y + q.x
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

from attnir import expr as ex
from attnir.bounds import bounds, decide
from attnir.expr import ZERO, Expr, const
from attnir.linear import Linear, linear
from attnir.ops import COMPARISONS, Coordinate, Of, Op, ParamDecl
from attnir.traverse import nodes, rebuild, substitute


def carried(e: Expr) -> Expr:
    """An equal expression with such divisions done, sums collected, and comparisons freed of common factors."""
    return rebuild(e, _carried)


def _carried(e: Expr) -> Expr | None:
    if e.op in (Op.ADD, Op.SUB, Op.NEG, Op.MUL):
        return linear(e).expr()
    if e.op in (Op.FLOORDIV, Op.MOD):
        found = bounds(e)
        return const(found.low) if found.low == found.high else _divided(e.op, linear(e.args[0]), e.args[1])
    if e.op in COMPARISONS and not any(a.is_bool or a.is_real for a in e.args):
        return _compared(e)
    return None


def _divided(op: Op, form: Linear, divisor: Expr) -> Expr:
    """form // divisor or form % divisor: what is a multiple of the divisor leaves the division."""
    whole, rest = _parts(form, divisor)
    if _below(rest.expr(), divisor):
        return whole if op is Op.FLOORDIV else rest.expr()
    if op is Op.MOD:
        return ex.mod(rest.expr(), divisor)
    common = math.gcd(divisor.const, *(c for _, c in rest.terms)) if divisor.op is Op.CONST else 1
    if common > 1 and divisor.const > 0:  # (8 * u + r) // 16 is u // 2 where 0 <= r < 8
        large, small = _parts(rest, const(common))
        if _below(small.expr(), const(common)):
            return linear(whole + ex.floordiv(large, const(divisor.const // common))).expr()
    return linear(whole + ex.floordiv(rest.expr(), divisor)).expr()


def _below(e: Expr, limit: Expr) -> bool:
    """Whether 0 <= e < limit is proved."""
    found = bounds(e)
    if found.low < 0:
        return False
    if limit.op is Op.CONST:
        return found.high < limit.const
    down = {c: _counted_down(c.value) for c in nodes(e) if isinstance(c.value, Coordinate)}
    left = limit - substitute(e, down) - 1
    return all(c >= 0 and all(bounds(a).low >= 0 for a in atoms) for atoms, c in _products(left).items())


Atoms = tuple[Expr, ...]


def _products(e: Expr) -> dict[Atoms, int]:
    """An expression multiplied out: how often each product of atoms stands in it."""
    total: dict[Atoms, int] = {}
    for atom, c in (*linear(e).terms, (const(1), linear(e).constant)):
        if atom.op is Op.MUL:
            found = [
                (a + b, x * y) for a, x in _products(atom.args[0]).items() for b, y in _products(atom.args[1]).items()
            ]
        else:
            found = [((), 1) if atom.is_const else ((atom,), 1)]
        for atoms, times in found:
            ordered = tuple(sorted(atoms, key=str))
            total[ordered] = total.get(ordered, 0) + c * times
    return {atoms: c for atoms, c in total.items() if c}


def _counted_down(coordinate: Coordinate) -> Expr:
    """A coordinate below a parameter, as what is left of the parameter."""
    if isinstance(coordinate.size, ParamDecl):
        left = replace(coordinate, axis=f"{coordinate.axis} {coordinate.of}", of=Of.SINCE)
        return ex.param(coordinate.size) - 1 - ex.coordinate(left)
    return ex.coordinate(coordinate)


def _parts(form: Linear, divisor: Expr) -> tuple[Expr, Linear]:
    """(whole, rest) with form = whole * divisor + rest."""
    if divisor.op is Op.CONST:
        d = divisor.const
        terms = tuple((atom, c // d) for atom, c in form.terms if c % d == 0)
        rest = tuple((atom, c) for atom, c in form.terms if c % d)
        return Linear(terms, form.constant // d).expr(), Linear(rest, form.constant % d)
    whole, kept = ZERO, []
    for atom, c in form.terms:
        quotient = _quotient(atom, divisor)
        if quotient is None:
            kept.append((atom, c))
        else:
            whole = whole + quotient * c
    return whole, Linear(tuple(kept), form.constant)


def _quotient(product: Expr, divisor: Expr) -> Expr | None:
    """product / divisor, if the factors of the one are among those of the other."""
    over, under = Counter(_factors(product)), Counter(_factors(divisor))
    if under - over:
        return None
    result = const(1)
    for factor in (over - under).elements():
        result = ex.mul(result, factor)
    return result


def _factors(e: Expr) -> list[Expr]:
    return [*_factors(e.args[0]), *_factors(e.args[1])] if e.op is Op.MUL else [e]


def _compared(e: Expr) -> Expr:
    """A comparison of sums without what both sides have, and without a factor that all parts share."""
    known = decide(e)
    if known is not None:
        return ex.boolean(known)
    form = linear(ex.sub(*e.args))
    g = math.gcd(*(c for _, c in form.terms))
    if g == 1 and linear(e.args[0]).terms and len(form.terms) == len({a for x in e.args for a in linear(x).atoms}):
        return e
    moved, exact = -form.constant, form.constant % g == 0
    terms = Linear(tuple((a, c // g) for a, c in form.terms), 0).expr()
    match e.op:
        case Op.EQ | Op.NE:
            return ex.compare(e.op, terms, const(moved // g)) if exact else ex.boolean(e.op is Op.NE)
        case Op.LE | Op.GT:
            return ex.compare(e.op, terms, const(moved // g))
    return ex.compare(e.op, terms, const(-(-moved // g)))
