"""Predicates that know a pair by its distance alone, so that one evaluation serves every place along the diagonal."""

from __future__ import annotations

from functools import lru_cache

from attnir.expr import ZERO, Expr, K, Q, compare, sub, sym
from attnir.linear import linear
from attnir.ops import COMPARISONS, Op
from attnir.traverse import contains, rebuild, substitute

_LINEAR = (Op.ADD, Op.SUB, Op.NEG, Op.MUL)


@lru_cache(maxsize=1024)
def by_distance(predicate: Expr) -> bool:
    """Whether positions enter a predicate only by q - k, for each sample and head.

    >>> from attnir.expr import K, Q
    >>> by_distance((K <= Q) & (Q - K <= 255)), by_distance((Q - K) % 3 < 1), by_distance(K < 4)
    (True, True, False)
    """
    moved = substitute(predicate, {K: sub(Q, sym("distance"))})
    return not contains(rebuild(moved, _collected), Q)


def _collected(e: Expr) -> Expr | None:
    """Linear parts with equal terms taken together, over both sides of a comparison."""
    if e.op in COMPARISONS and not e.args[0].is_bool:
        return compare(e.op, linear(e.args[0]).plus(linear(e.args[1]), -1).expr(), ZERO)
    return linear(e).expr() if e.op in _LINEAR else None
