"""What an expression of the row token is over a tile of rows: its direction, its smallest and its largest value.

An expression that only grows (or only falls) along the rows takes its extremes at the tile's end rows, so a scalar
there replaces a reduction over the rows. Whatever has no proved direction is reduced, as ROWMIN or ROWMAX.
"""

from __future__ import annotations

from attnir import expr as ex
from attnir.axes import SEQUENCES, Layout
from attnir.bounds import bounds
from attnir.expr import Expr
from attnir.ops import TABLES, FieldDecl, Op
from attnir.order import at_most
from attnir.traverse import at_position, contains, nodes


def direction(e: Expr, row: Expr) -> int | None:
    """1 when `e` never falls as `row` grows, -1 when it never grows, 0 when it does not depend on it; else None.

    >>> direction(ex.maximum(ex.Q - 4, 0) // 64, ex.Q)
    1
    """
    if e is row:
        return 1
    if not contains(e, row):
        return 0
    match e.op:
        case Op.ADD | Op.MIN | Op.MAX:
            return _together(direction(e.args[0], row), direction(e.args[1], row))
        case Op.SUB:
            return _together(direction(e.args[0], row), _flipped(direction(e.args[1], row)))
        case Op.NEG:
            return _flipped(direction(e.args[0], row))
        case Op.MUL | Op.FLOORDIV:
            return _scaled(e, row)
        case Op.FIELD:
            assert isinstance(e.value, FieldDecl)
            return 1 if e.value.sorted and e.args[0] is row else None
        case Op.WHERE:
            return _chosen(e, row)
    if e.op in TABLES:
        return direction(e.args[0], row) if e.args[1] is row else None
    return None


def _chosen(e: Expr, row: Expr) -> int | None:
    """A choice that goes from the smaller value to the larger one as the row grows, or the other way."""
    condition, a, b = e.args
    if condition.op not in (Op.LE, Op.LT, Op.GE, Op.GT):
        return None
    x, y = condition.args if condition.op in (Op.GE, Op.GT) else condition.args[::-1]
    turns, own = direction(x - y, row), _together(direction(a, row), direction(b, row))  # 1: it becomes true
    if turns is None or own is None or (turns and not at_most(*((b, a) if turns * (own or 1) > 0 else (a, b)))):
        return None
    return (own or 1) if turns else own


def _flipped(d: int | None) -> int | None:
    return None if d is None else -d


def _together(a: int | None, b: int | None) -> int | None:
    if a is None or b is None or a * b < 0:
        return None
    return a or b


def _scaled(e: Expr, row: Expr) -> int | None:
    """A product with, or a quotient by, something of known sign that does not depend on the row."""
    moving, factor = e.args
    if e.op is Op.MUL and contains(factor, row):
        moving, factor = factor, moving
    if contains(factor, row):
        return None
    sign = bounds(factor)
    d = direction(moving, row)
    return d if sign.low >= 0 else (_flipped(d) if sign.high <= 0 else None)


def varies(e: Expr, rows: Layout) -> bool:
    """Whether an expression may differ from row to row of a tile."""
    tokens = {SEQUENCES[rows.side].token, *(a.token for a in rows.moving)}
    return any(n in tokens for n in nodes(e, definitions=False))


def lowest(e: Expr, rows: Layout) -> Expr:
    """The smallest value of `e` over the rows of a tile."""
    return _extreme(Op.ROWMIN, e, rows)


def highest(e: Expr, rows: Layout) -> Expr:
    """The largest value of `e` over the rows of a tile."""
    return _extreme(Op.ROWMAX, e, rows)


def _extreme(op: Op, e: Expr, rows: Layout) -> Expr:
    for axis in rows.moving:
        d = direction(e, axis.token)
        if d is not None:
            e = at_position(e, axis.token, axis.first if (d < 0) == (op is Op.ROWMAX) else axis.last)
    if not varies(e, rows):
        return e
    if e.op is (Op.MIN if op is Op.ROWMIN else Op.MAX):
        return ex.build(e.op, (_extreme(op, e.args[0], rows), _extreme(op, e.args[1], rows)))
    if e.op is Op.WHERE and not varies(e.args[0], rows):
        return ex.where(e.args[0], _extreme(op, e.args[1], rows), _extreme(op, e.args[2], rows))
    return ex.build(op, (e,))
