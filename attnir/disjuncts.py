"""A predicate as a union of conjunctions, each a tuple of conditions without connectives."""

from __future__ import annotations

from attnir import expr as ex
from attnir.expr import Expr
from attnir.ops import NEGATED, Op

MOST_TERMS = 16


def disjuncts(predicate: Expr) -> list[tuple[Expr, ...]]:
    """The predicate as a union of conjunctions; itself alone where these are too many."""
    found = _disjuncts(predicate, True)
    return [(predicate,)] if len(found) > MOST_TERMS else found


def _disjuncts(e: Expr, wanted: bool) -> list[tuple[Expr, ...]]:
    match e.op:
        case Op.NOT:
            return _disjuncts(e.args[0], not wanted)
        case Op.AND | Op.OR:
            a, b = (_disjuncts(x, wanted) for x in e.args)
            if (e.op is Op.OR) == wanted:
                return [*a, *b]
            if len(a) * len(b) > 4 * MOST_TERMS:
                return [(e,)] * (MOST_TERMS + 1)
            return [(*x, *y) for x in a for y in b]
        case Op.BOOL:
            return [()] if bool(e.value) == wanted else []
    return [(e if wanted else ex.compare(NEGATED[e.op], *e.args),)]
