"""Scores in powers of two, of products that are scaled beforehand: what a pair pays for otherwise, pass by pass.

Queries are scaled in any case, so a constant that every use of the score is divided by, or multiplied with, costs
nothing there; and the factor to powers of two goes into a constant that the result is multiplied with.

>>> from attnir.real import SCORE
>>> cap = real.mul(real.real(4.0), real.tanh(real.div(SCORE, real.real(4.0))))
>>> found = scaled(cap, real.slope(cap))
>>> found.factor, str(found.score)
(0.5, 'sigmoid(s) * 11.541560327111707 - 5.7707801635558535')
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from attnir import real
from attnir.codegen.tangents import MOST, error_of_tangents
from attnir.expr import Expr
from attnir.ops import Op
from attnir.real import SCORE
from attnir.traverse import nodes, rebuild, substitute

LOG2E = math.log2(math.e)


class Scaled(NamedTuple):
    """A score in powers of two, and the slope of the score, of products that are multiplied with `factor`."""

    factor: float
    score: Expr
    slope: Expr


def scaled(score: Expr, slope: Expr, *, numbers: Mapping[str, float] | None = None, whole: bool = False) -> Scaled:
    """A score and its slope, of products that are scaled so that little is left to do; whole: that are not scaled.

    numbers: the values of real parameters.
    """
    factor, both = 1.0, (cheap(_times(score, LOG2E), numbers), cheap(slope, numbers))
    while not whole and (use := _use(*both)) is not None:
        factor *= use[1]
        both = substitute(both[0], {use[0]: SCORE}), substitute(both[1], {use[0]: SCORE})
    return Scaled(factor, *both)


def cheap(e: Expr, numbers: Mapping[str, float] | None = None) -> Expr:
    """An equal expression without tanh, which torch takes ten times as long for as for a sigmoid.

    To some roundings of 1, as in the Triton kernels; not where these would be made large.
    """
    return rebuild(e, _without_tanh) if error_of_tangents(e, numbers=numbers) <= MOST else e


def _without_tanh(n: Expr) -> Expr | None:
    if n.op is Op.TANH:
        return real.sub(real.mul(_sigmoid(n), real.real(2.0)), real.ONE)
    if n.op is Op.REAL_MUL:
        for a, b in (n.args, n.args[::-1]):
            if _is_constant(b) and a.op is Op.REAL_MUL and any(map(_is_constant, a.args)):
                return _times(a, _constant(b))
            if _is_constant(b) and a.op is Op.REAL_SUB and _is_constant(a.args[1]):
                x, y = a.args  # a tanh that is multiplied: the constant goes into both of its own
                return real.sub(_times(x, _constant(b)), real.real(_constant(y) * _constant(b)))
    return None


def _sigmoid(n: Expr) -> Expr:
    """That of twice what a tanh is of."""
    return real.sigmoid(real.mul(n.args[0], real.real(2.0)))


def _use(*roots: Expr) -> tuple[Expr, float] | None:
    """The one thing that is done with the score, where that is to multiply it with a constant; and the constant."""
    uses = {n for root in roots for n in nodes(root) if any(a is SCORE for a in n.args)}
    if len(uses) != 1 or SCORE in roots:
        return None
    (use,) = uses
    factor = _factor(use)
    return None if factor is None else (use, factor)


def _factor(use: Expr) -> float | None:
    """What the score is multiplied with, where that is all that is done with it."""
    constants = [_constant(a) for a in use.args if _is_constant(a) and a is not real.ZERO]
    if len(constants) != 1:
        return None
    if use.op is Op.REAL_MUL:
        return constants[0]
    return 1.0 / constants[0] if use.op is Op.REAL_DIV and use.args[0] is SCORE else None


def _times(e: Expr, factor: float) -> Expr:
    """A real number times a constant, which goes into one that is there."""
    if e.op is Op.REAL_MUL:
        for a, b in (e.args, e.args[::-1]):
            if _is_constant(b):
                return real.mul(a, real.real(_constant(b) * factor))
    return real.mul(e, real.real(factor))


def _is_constant(e: Expr) -> bool:
    return e.op is Op.REAL and isinstance(e.value, float)


def _constant(e: Expr) -> float:
    assert isinstance(e.value, float)
    return e.value
