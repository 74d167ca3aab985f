"""Conditions that repeat along an axis: those that a token enters only as a remainder by constants."""

from __future__ import annotations

from attnir.expr import Expr
from attnir.linear import linear
from attnir.ops import Op
from attnir.traverse import contains


def moduli(e: Expr, token: Expr) -> frozenset[int] | None:
    """The divisors by which `token` enters `e` as a remainder, none if it does not; None if it enters otherwise.

    >>> from attnir.expr import K, Q
    >>> sorted(moduli(((Q - K) % 3 < 1) & ((K + 2) % 4 < Q), K)), moduli((Q - K) % 3 < K, K)
    ([3, 4], None)
    """
    if not contains(e, token):
        return frozenset()
    if e.op is Op.MOD and e.args[1].op is Op.CONST:
        form = linear(e.args[0])
        others = any(contains(atom, token) for atom, _ in form.terms if atom is not token)
        return None if others else frozenset({abs(e.args[1].const)})
    found: frozenset[int] = frozenset()
    for a in e.args:
        more = moduli(a, token)
        if more is None:
            return None
        found |= more
    return found if e.args else None  # the token itself enters otherwise
