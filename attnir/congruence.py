"""Congruences: what an integer expression leaves by division, whatever its tokens are."""

from __future__ import annotations

import math

from attnir.expr import Expr
from attnir.linear import linear
from attnir.ops import Op


def congruence(e: Expr) -> tuple[int, int]:
    """(m, r) with value = r modulo m, whatever the tokens are; m = 0 says that the value is r, m = 1 nothing.

    >>> from attnir.expr import Q
    >>> congruence(Q * 4 + 6)
    (4, 2)
    """
    form = linear(e)
    modulus, remainder = 0, form.constant
    for atom, c in form.terms:
        m, r = _of_atom(atom)
        modulus, remainder = math.gcd(modulus, m * c), remainder + r * c
    return modulus, remainder % modulus if modulus else remainder


def _of_atom(atom: Expr) -> tuple[int, int]:
    match atom.op:
        case Op.MOD if atom.args[1].op is Op.CONST:
            m, r = congruence(atom.args[0])
            g = math.gcd(m, atom.args[1].const)
            return (g, r % g) if g else (0, r)
        case Op.MUL:
            (m, r), (n, s) = congruence(atom.args[0]), congruence(atom.args[1])
            g = math.gcd(m * n, m * s, n * r)
            return (g, r * s % g) if g else (0, r * s)
        case Op.MIN | Op.MAX | Op.WHERE:
            (m, r), (n, s) = congruence(atom.args[-2]), congruence(atom.args[-1])
            g = math.gcd(m, n, r - s)
            return (g, r % g) if g else (0, r)
    return 1, 0
