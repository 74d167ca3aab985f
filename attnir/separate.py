"""Biases of low rank: what is added to a score, as a sum of products of a function of the query and one of the key.

`separate` finds such a sum with the fewest products. It is exact: the bias is read as a polynomial in what belongs to
one token alone, its coefficients stay rational, and the rank is that of their matrix. Samples, heads, parameters and
numbers are constants, and may go to either side. A bias that is no such polynomial, one of `abs(q - k)`, a table read
at a distance, a choice by both tokens, has no sum that is found here.

>>> from attnir.expr import H, K, Q
>>> found = separate(real.sub(SCORE, real.mul(real.of_integer(H), real.of_integer(Q - K))))
>>> found.rank, str(found)
(2, '-(float(h) * float(q)) + float(h) * float(k)')

Kernels are given what `evaluated` returns. That is the sum where it takes fewer operations a pair and rounds no worse:
where the bias is written as a sum of products already, whose factors repeat. Nothing is multiplied out, `(q - k) ** 2`
above all: its terms are larger than what they add up to, and float32 would keep the difference of their roundings.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, reduce
from typing import Any

from attnir import real
from attnir.expr import Expr
from attnir.ops import Op
from attnir.real import ONE, SCORE, ZERO
from attnir.traverse import contains, nodes, reads

MOST_NODES = 400  # of a bias that is looked at
MOST_TERMS = 256  # of its polynomial
LOAD = 12  # operations that reading a tensor for every pair is worth: its address, its bounds, the load
Term = tuple[Expr, Expr]  # a function of the query, and one of the key


@dataclass(frozen=True, slots=True)
class Separation:
    """A bias as the sum of f * g over its terms (f, g); f has no key, and g no query."""

    terms: tuple[Term, ...]

    @property
    def rank(self) -> int:
        return len(self.terms)

    @property
    def bias(self) -> Expr:
        return reduce(real.add, (real.mul(f, g) for f, g in self.terms), ZERO)

    def __str__(self) -> str:
        return str(self.bias)


class _NotSeparable(Exception):
    """The bias is no polynomial of what belongs to one token."""


def bias_of(score: Expr) -> Expr | None:
    """What a score adds to the one before it, free of it; None for other scores."""
    decides = any(n.is_bool and contains(n, SCORE) for n in nodes(score))  # has no slope, and changes the score
    if score is SCORE or decides or real.slope(score) is not ONE:
        return None
    return real.after(score, ZERO)


@lru_cache(maxsize=256)
def separate(score: Expr) -> Separation | None:
    """The bias of a score as a sum of the fewest products that are found; None where there is none, or no bias."""
    bias = bias_of(score)
    if bias is None or sum(1 for _ in nodes(bias)) > MOST_NODES:
        return None
    leaves = dict.fromkeys(leaf for leaf in _leaves(bias))
    try:
        both = [_separated(bias, list(leaves), constants) for constants in ("q", "k")]
    except _NotSeparable:
        return None
    return min(both, key=lambda s: (s.rank, operations(s.bias)))


def evaluated(score: Expr) -> Expr:
    """The form of a score in which kernels compute it."""
    found = separate(score)
    bias = bias_of(score)
    if found is None or bias is None or not _is_sum_of_products(bias):
        return score
    return real.add(SCORE, found.bias) if operations(found.bias) < operations(bias) else score


def operations(bias: Expr) -> int:
    """The operations for each pair of adding a bias to its score; a product that is added to something takes none."""
    score = real.add(SCORE, bias)
    fused = {a for n in nodes(score) if n.op in (Op.REAL_ADD, Op.REAL_SUB) for a in n.args if a.op is Op.REAL_MUL}
    pairs = [n for n in nodes(score) if (len(_tokens(n)) == 2 or n is score) and n not in fused]
    return sum(LOAD if n.op is Op.READ else 1 for n in pairs)


def described(score: Expr) -> str | None:
    """What `explain` says of the bias of a score; None for scores that are no bias, or depend on one token alone."""
    bias = bias_of(score)
    if bias is None or len(_tokens(bias)) < 2:
        return None
    written = _counted(operations(bias))
    found = separate(score)
    if found is None:
        return f"no sum of f(q) g(k) is found; computed as written, {written}"
    start = f"rank {found.rank}: {found}"
    if evaluated(score) is not score:
        return f"{start}; computed so, {_counted(operations(found.bias))}, as written {written}"
    if operations(found.bias) < operations(bias):
        return f"{start}; computed as written, {written}, since multiplied out it would round more"
    return f"{start}; computed as written, {written}"


def _counted(n: int) -> str:
    return f"{n} operation{'s' * (n != 1)} a pair"


def _tokens(e: Expr) -> frozenset[str]:
    """Which of the two tokens an expression depends on."""
    return reads(e) & {"q", "k"}


_SUMS = {Op.ADD, Op.SUB, Op.NEG, Op.REAL_ADD, Op.REAL_SUB, Op.REAL_NEG, Op.FLOAT}
_POLYNOMIAL = _SUMS | {Op.MUL, Op.REAL_MUL}


def _is_sum_of_products(e: Expr) -> bool:
    """Whether nothing has to be multiplied out: products are of what belongs to one token."""
    if len(_tokens(e)) < 2:
        return True
    if e.op is Op.REAL_MUL:
        return all(len(_tokens(a)) < 2 for a in e.args)
    return e.op in (Op.REAL_ADD, Op.REAL_SUB, Op.REAL_NEG) and all(map(_is_sum_of_products, e.args))


def _leaves(e: Expr) -> Iterable[Expr]:
    """What the polynomial is one of, in order."""
    if e.op in _POLYNOMIAL:
        for a in e.args:
            yield from _leaves(a)
    elif e.op is Op.REAL_DIV:
        yield from _leaves(e.args[0])
        yield _inverse(e.args[1])
    elif e.op not in (Op.CONST, Op.REAL):
        yield e


def _inverse(e: Expr) -> Expr:
    return real.div(ONE, e)


def _separated(bias: Expr, leaves: list[Expr], constants: str) -> Separation:
    """The sum, with constants on the side of the query or on that of the key."""
    from sympy import QQ, ring

    if any(len(_tokens(leaf)) == 2 for leaf in leaves):
        raise _NotSeparable
    whole, *symbols = ring([f"x{i}" for i in range(len(leaves))] or ["none"], QQ)
    symbols = symbols[: len(leaves)]
    polynomial = whole(0) + _polynomial(bias, dict(zip(leaves, symbols, strict=True)), QQ)
    sides = [next(iter(_tokens(leaf)), constants) for leaf in leaves]
    rows: dict[tuple[int, ...], int] = {}
    columns: dict[tuple[int, ...], int] = {}
    entries: dict[tuple[int, int], Any] = {}
    for powers, coefficient in polynomial.terms():
        at = [tuple(n if side == one else 0 for n, side in zip(powers, sides, strict=False)) for one in ("q", "k")]
        place = rows.setdefault(at[0], len(rows)), columns.setdefault(at[1], len(columns))
        entries[place] = coefficient
    return Separation(tuple(_terms(entries, list(rows), list(columns), leaves)))


def _polynomial(e: Expr, symbols: dict[Expr, Any], domain: Any) -> Any:
    """The expression as a polynomial of its leaves."""
    if e.op in (Op.CONST, Op.REAL):
        exact = Fraction(e.const if e.op is Op.CONST else float(str(e.value)))
        return domain(exact.numerator, exact.denominator)
    if e.op is Op.REAL_DIV:
        return _bounded(_polynomial(e.args[0], symbols, domain) * symbols[_inverse(e.args[1])])
    if e.op not in _POLYNOMIAL:
        return symbols[e]
    parts = [_polynomial(a, symbols, domain) for a in e.args]
    match e.op:
        case Op.FLOAT:
            return parts[0]
        case Op.NEG | Op.REAL_NEG:
            return -parts[0]
        case Op.ADD | Op.REAL_ADD:
            return _bounded(parts[0] + parts[1])
        case Op.SUB | Op.REAL_SUB:
            return _bounded(parts[0] - parts[1])
    if _size(parts[0]) * _size(parts[1]) > MOST_TERMS:
        raise _NotSeparable
    return parts[0] * parts[1]


def _size(polynomial: Any) -> int:
    """How many terms there are; numbers are none."""
    return len(polynomial) if hasattr(polynomial, "terms") else 1


def _bounded(polynomial: Any) -> Any:
    if _size(polynomial) > MOST_TERMS:
        raise _NotSeparable
    return polynomial


def _terms(
    entries: dict[tuple[int, int], Any], rows: list[tuple[int, ...]], columns: list[tuple[int, ...]], leaves: list[Expr]
) -> Iterable[Term]:
    """The matrix of coefficients as its pivot columns times its reduced rows, with monomials put back."""
    from sympy import QQ
    from sympy.polys.matrices import DomainMatrix

    shape = len(rows), len(columns)
    dense = [[entries.get((i, j), QQ(0)) for j in range(shape[1])] for i in range(shape[0])]
    reduced, pivots = DomainMatrix(dense, shape, QQ).rref()
    kept = reduced.to_Matrix()
    for r, pivot in enumerate(pivots):
        f = _combined([dense[i][pivot] for i in range(shape[0])], rows, leaves)
        g = _combined([kept[r, j] for j in range(shape[1])], columns, leaves)
        yield f, g


def _combined(coefficients: list[Any], monomials: list[tuple[int, ...]], leaves: list[Expr]) -> Expr:
    """The sum of monomials times their coefficients."""
    total = ZERO
    for c, powers in zip(coefficients, monomials, strict=True):
        if not c:
            continue
        factors = [real.of_integer(leaf) for leaf, n in zip(leaves, powers, strict=True) for _ in range(n)]
        product = reduce(real.mul, factors) if factors else ONE
        value = float(Fraction(int(c.numerator), int(c.denominator)))
        if value == -1:
            total = real.neg(product) if total is ZERO else real.sub(total, product)
        else:
            total = real.add(total, real.mul(real.real(value), product))
    return total
