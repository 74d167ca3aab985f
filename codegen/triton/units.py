"""Scores in the unit in which the softmax is computed, of products of q and k that are not yet scaled.

Where scores are not float32 the softmax takes powers of two, of scores times log2(e). That factor, and the scale of the
products, go into factors that stand there in any case, and into what belongs to rows and columns alone: a pair pays for
them only where a function of its score is taken.

>>> def shape(e):
...     return Shape.TILE if e is SCORE else Shape.SCALAR if not e.args else max(map(shape, e.args))
>>> print(times(real.add(SCORE, real.real(0.5)), LOG2E, shape))
product * (scale * LOG2E) + 0.5 * LOG2E
>>> print(times(real.mul(real.tanh(real.div(SCORE, real.real(4.0))), real.real(3.0)), LOG2E, shape))
tanh(product * (scale * 0.25)) * (3.0 * LOG2E)
"""

from __future__ import annotations

from collections.abc import Callable

from attnir import real
from attnir.codegen.triton.expressions import Shape
from attnir.expr import Expr, build, node
from attnir.ops import Op
from attnir.real import ONE, SCORE

PRODUCT = node(Op.SCORE, (), "product")  # q . k
SCALE = node(Op.SCORE, (), "scale")
LOG2E = node(Op.SCORE, (), "LOG2E")


def times(e: Expr, factor: Expr, shape: Callable[[Expr], Shape]) -> Expr:
    """A score, or what its slope is made of, times a factor of the instance, its rows or its columns.

    shape: which axes of the tile an expression varies along.
    """

    def alike(a: Expr) -> Expr:
        return times(a, factor, shape)

    def plain(a: Expr) -> Expr:
        return times(a, ONE, shape) if a.is_real or a.is_bool else a

    if not (e.is_real or e.is_bool):
        return times(real.of_integer(e), factor, shape)
    if e is SCORE:
        return real.mul(PRODUCT, real.mul(SCALE, factor))
    if e.is_real and shape(e) is not Shape.TILE:
        return real.mul(e, factor)
    match e.op, e.args:
        case ((Op.REAL_ADD | Op.REAL_SUB | Op.REAL_NEG | Op.REAL_WHERE), args):
            return build(e.op, tuple(plain(a) if a.is_bool else alike(a) for a in args), e.value)
        case Op.REAL_DIV, (a, b) if b.op is Op.REAL and isinstance(b.value, float) and b.value:
            return times(real.mul(a, real.real(1.0 / b.value)), factor, shape)
        case Op.REAL_DIV, (a, b) if a is SCORE and shape(b) is not Shape.TILE:
            return real.mul(PRODUCT, real.div(real.mul(SCALE, factor), b))
        case Op.REAL_DIV, (a, b):
            return real.div(times(a, factor, shape), plain(b))
        case Op.REAL_MUL, (a, b):
            rest, first = (a, b) if shape(b) is not Shape.TILE else (b, a)
            if shape(first) is Shape.TILE:
                return real.mul(times(rest, factor, shape), plain(first))
            by = real.mul(first, factor)
            return times(SCORE, by, shape) if rest is SCORE else real.mul(plain(rest), by)
    found = build(e.op, tuple(plain(a) for a in e.args), e.value) if e.args else e
    return real.mul(found, factor) if e.is_real else found
