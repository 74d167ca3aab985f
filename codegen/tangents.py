"""How much of what its tangents err by an expression has: both targets have a fast one, that errs by roundings of 1.

A cap of scores, `c * tanh(s / c)`, errs by c times as much: for a cap so large that it does nothing, by more than the
scores are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from attnir.expr import Expr
from attnir.ops import Op, ParamDecl
from attnir.traverse import nodes

MOST = 256.0  # times a rounding of 1, which a fast tangent errs by, and no score may err by more


class Error(NamedTuple):
    """The largest size of a value, and what it errs by where every tangent errs by 1."""

    size: float
    of_tangents: float


def error_of_tangents(*roots: Expr, numbers: Mapping[str, float] | None = None) -> float:
    """What expressions err by at most where every tangent errs by 1; infinite, where nothing bounds it.

    numbers: the values of real parameters, where they are known.

    >>> from attnir.real import SCORE, div, mul, real, tanh
    >>> error_of_tangents(mul(tanh(div(SCORE, real(30.0))), real(30.0)))
    30.0
    """
    found: dict[Expr, Error] = {}
    for n in nodes(*roots):
        if isinstance(n.value, ParamDecl) and numbers and n.value.name in numbers:
            found[n] = Error(abs(numbers[n.value.name]), 0.0)
        else:
            found[n] = _error(n, [found[a] for a in n.args])
    return max(found[root].of_tangents for root in roots)


def _error(n: Expr, parts: list[Error]) -> Error:
    match n.op, parts:
        case Op.REAL, _ if isinstance(n.value, float):
            return Error(abs(n.value), 0.0)
        case Op.TANH, [x]:
            return Error(1.0, 1.0 + x.of_tangents)
        case Op.SIGMOID, [x]:
            return Error(1.0, x.of_tangents)
        case ((Op.REAL_NEG | Op.REAL_ABS), [x]):
            return x
        case ((Op.REAL_ADD | Op.REAL_SUB), [x, y]):
            return Error(x.size + y.size, x.of_tangents + y.of_tangents)
        case ((Op.REAL_MIN | Op.REAL_MAX), [x, y]):
            return Error(max(x.size, y.size), max(x.of_tangents, y.of_tangents))
        case Op.REAL_WHERE, [_, x, y]:
            return Error(max(x.size, y.size), max(x.of_tangents, y.of_tangents))
        case Op.REAL_MUL, [x, y]:
            return Error(_times(x.size, y.size), _times(x.of_tangents, y.size) + _times(y.of_tangents, x.size))
        case Op.REAL_DIV, [x, _] if isinstance(n.args[1].value, float) and n.args[1].value:
            return Error(x.size / abs(n.args[1].value), x.of_tangents / abs(n.args[1].value))
    return Error(math.inf, math.inf if any(x.of_tangents for x in parts) else 0.0)


def _times(a: float, b: float) -> float:
    """Their product, 0 where one is: of what has no error nothing is lost, however large the other is."""
    return a * b if a and b else 0.0
