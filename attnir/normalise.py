"""The normalise pass: an equal predicate without what it says twice.

Nested `&` and `|` are taken as one list of operands each; an operand that stands there already is dropped, and an
operand with its negation decides the whole. The meaning is the same for every pair.

>>> from attnir.expr import K, Q
>>> print(normalise((K <= Q) & ((Q - K < 9) & (K <= Q))))
(k <= q) & (q - k < 9)
"""

from __future__ import annotations

from functools import reduce

from attnir import expr as ex
from attnir.expr import Expr
from attnir.ops import NEGATED, Op


def normalise(predicate: Expr) -> Expr:
    """The predicate with repeated operands dropped, at every level."""
    if predicate.op is Op.NOT:
        return ex.not_(normalise(predicate.args[0]))
    if predicate.op not in (Op.AND, Op.OR):
        return predicate
    join = ex.and_ if predicate.op is Op.AND else ex.or_
    operands = dict.fromkeys(normalise(e) for e in _operands(predicate, predicate.op))
    if any(_negation(e) in operands for e in operands):
        return ex.boolean(predicate.op is Op.OR)
    return reduce(join, operands)


def _operands(e: Expr, op: Op) -> list[Expr]:
    if e.op is not op:
        return [e]
    return [*_operands(e.args[0], op), *_operands(e.args[1], op)]


def _negation(e: Expr) -> Expr:
    return ex.compare(NEGATED[e.op], *e.args) if e.op in NEGATED else ex.not_(e)
