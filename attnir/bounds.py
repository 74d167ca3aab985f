"""What is known of an expression before its call is: bounds and verdicts that hold in every call that is possible.

Positions stay below 2**28 and parameters within their ranges; a field can be anything.
"""

from __future__ import annotations

from collections.abc import Mapping

from attnir import expr as ex
from attnir.bounder import Bounder, Leaf
from attnir.expr import Expr
from attnir.interval import UNKNOWN, Integers, Interval
from attnir.ops import (
    COPIES_LIMIT,
    LISTED_LIMIT,
    PARAM_LIMIT,
    POSITION_LIMIT,
    Coordinate,
    FieldDecl,
    ParamDecl,
    SelectionDecl,
    TensorDecl,
)

_SYMBOLS: Mapping[Expr, Interval[int]] = {
    **dict.fromkeys((*ex.SIDES, ex.Q_START), Interval(0, POSITION_LIMIT - 1)),
    **dict.fromkeys((ex.Q_LEN, ex.K_LEN), Interval(0, POSITION_LIMIT)),
    **dict.fromkeys((ex.B, ex.H), Interval(0, COPIES_LIMIT)),
}


def any_call(leaf: Expr) -> Interval[int]:
    """The bounds of a leaf over every call that is possible."""
    match leaf.value:
        case Coordinate(size=size):
            most = size.high if isinstance(size, ParamDecl) else size
            return Interval(0, min(most or POSITION_LIMIT, POSITION_LIMIT) - 1)
        case ParamDecl(low=low, high=high):
            return Interval(low, high)
        case FieldDecl(limit=int() as limit):
            return Interval(0, limit - 1)
        case FieldDecl() | TensorDecl():
            return UNKNOWN
        case SelectionDecl():
            return Interval(0, LISTED_LIMIT)
        case str():
            return _SYMBOLS.get(leaf, Interval(-PARAM_LIMIT, PARAM_LIMIT))
    return Interval(0, POSITION_LIMIT)  # a row table holds positions


def bounds(e: Expr, leaf: Leaf[int] = any_call) -> Interval[int]:
    """The bounds of an integer expression, by default over every call that is possible.

    >>> bounds(ex.maximum(ex.Q - 4, 0)).low
    0
    """
    return Bounder(Integers(), leaf).integer(e)


def decide(e: Expr, leaf: Leaf[int] = any_call) -> bool | None:
    """True or False when a condition is proved, by default for every call, else None.

    >>> decide(ex.Q >= 0), decide(ex.Q < 0), decide(ex.Q < 9)
    (True, False, None)
    """
    can, cannot = Bounder(Integers(), leaf).condition(e)
    return None if can and cannot else bool(can)
