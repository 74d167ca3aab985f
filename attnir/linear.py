"""Linear forms: an integer expression as a sum of atoms with integer coefficients.

>>> from attnir.expr import Q, K
>>> print(linear(2 * (Q - K) + K + 3).expr())
2 * q - k + 3
"""

from __future__ import annotations

from dataclasses import dataclass

from attnir import expr as ex
from attnir.expr import ZERO, Expr, const
from attnir.ops import Op
from attnir.traverse import rebuild


@dataclass(frozen=True, slots=True)
class Linear:
    """sum of coefficient * atom, plus a constant. No coefficient is zero; no atom is linear itself."""

    terms: tuple[tuple[Expr, int], ...]
    constant: int

    @property
    def atoms(self) -> tuple[Expr, ...]:
        return tuple(atom for atom, _ in self.terms)

    def plus(self, other: Linear, factor: int = 1) -> Linear:
        total = dict(self.terms)
        for atom, c in other.terms:
            total[atom] = total.get(atom, 0) + factor * c
        return Linear(tuple((a, c) for a, c in total.items() if c), self.constant + factor * other.constant)

    def times(self, factor: int) -> Linear:
        return Linear(tuple((a, c * factor) for a, c in self.terms if factor), self.constant * factor)

    def coefficient(self, atom: Expr) -> int:
        return dict(self.terms).get(atom, 0)

    def without(self, atom: Expr) -> Linear:
        return Linear(tuple((a, c) for a, c in self.terms if a is not atom), self.constant)

    def expr(self) -> Expr:
        """The form as an expression: positive terms first, then negative ones, then the constant."""
        total = ZERO
        for atom, c in sorted(self.terms, key=lambda term: term[1] < 0):
            size = ex.mul(const(abs(c)), atom)
            total = ex.add(total, size) if c > 0 else (ex.sub(total, size) if total is not ZERO else ex.neg(size))
        return ex.add(total, const(self.constant))


def linear(e: Expr) -> Linear:
    """The linear form of an integer expression; what is not linear is an atom."""
    match e.op:
        case Op.CONST:
            return Linear((), e.const)
        case Op.ADD:
            return linear(e.args[0]).plus(linear(e.args[1]))
        case Op.SUB:
            return linear(e.args[0]).plus(linear(e.args[1]), -1)
        case Op.NEG:
            return linear(e.args[0]).times(-1)
        case Op.MUL:
            a, b = linear(e.args[0]), linear(e.args[1])
            if not a.terms:
                return b.times(a.constant)
            if not b.terms:
                return a.times(b.constant)
    return Linear(((e, 1),), 0)


def simplify(e: Expr) -> Expr:
    """An equal integer expression with its linear parts collected, inside out."""
    return rebuild(e, lambda n: linear(n).expr() if n.op in (Op.ADD, Op.SUB, Op.NEG, Op.MUL) else None)
