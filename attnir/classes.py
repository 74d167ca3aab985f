"""Residue classes: which class of keys a condition such as `(q - k) % 8 == 0` leaves to a query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attnir import expr as ex
from attnir.digits import carried
from attnir.expr import Expr, const
from attnir.linear import Linear, linear
from attnir.ops import Op
from attnir.traverse import contains, nodes

MOST_CLASSES = 4096  # of one modulus


def moduli_of(predicate: Expr, token: Expr) -> list[int]:
    """The moduli by which a token enters equalities, largest first, but those so large that classes hold little."""
    found = {
        m.args[1].const
        for n in nodes(predicate)
        if n.op in (Op.EQ, Op.NE)
        for m in nodes(n)
        if m.op is Op.MOD and m.args[1].op is Op.CONST and 1 < m.args[1].const <= MOST_CLASSES
        if contains(m.args[0], token)
    }
    return sorted(found, reverse=True)


def residue(conjunction: Sequence[Expr], token: Expr, modulus: int, known: frozenset[Expr]) -> Expr | None:
    """The residue of `token` that a conjunction asks for, from `known` scalars; None if it asks for none."""
    for e in conjunction:
        if e.op is Op.EQ:
            for form in _multiples(e, modulus):
                c = form.coefficient(token)
                rest = form.without(token)
                if c in (1, -1) and not any(contains(a, token) for a in rest.atoms):
                    found = carried(ex.mod(rest.times(-c).expr(), const(modulus)))
                    if _reads(found) <= known:
                        return found
    return None


def _multiples(e: Expr, modulus: int) -> Iterator[Linear]:
    """What an equality says to be a multiple of the modulus."""
    gap = linear(ex.sub(*e.args))
    parts = [(a, c) for a, c in gap.terms if a.op is Op.MOD and ex.is_int(a.args[1], modulus)]
    if not parts or any(c not in (1, -1) for _, c in parts):
        return
    whole = gap
    for a, c in parts:  # x % m is x, up to multiples of m
        whole = whole.without(a).plus(linear(a.args[0]), c)
    yield whole


def _reads(e: Expr) -> set[Expr]:
    """The symbols, fields, parameters and lists that an expression reads."""
    return {n for n in nodes(e) if n.op in (Op.SYM, Op.FIELD, Op.PARAM, Op.ENTRY, Op.RANK)}
