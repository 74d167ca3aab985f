"""Residue classes: a predicate as a union of conjunctions, and the class of columns that a conjunction asks for."""

from __future__ import annotations

from functools import reduce

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import attnir as an
from attnir import expr as ex
from attnir.classes import moduli_of, residue
from attnir.disjuncts import MOST_TERMS, disjuncts
from attnir.expr import FALSE, TRUE, Expr, H, K, Q, const
from attnir.ops import Coordinate, Of, ParamDecl, Side
from attnir.testing import expressions as some
from attnir.testing.meaning import meaning

R = ex.coordinate(Coordinate(Side.QUERIES, "residue", Of.FIRST, 8))
SLOT = ex.coordinate(Coordinate(Side.QUERIES, "slot"))
W = ex.param(ParamDecl("w", 0, 40))


@given(some.predicates, some.every_call)
@settings(max_examples=200)
def test_the_disjuncts_are_the_predicate(p: Expr, tokens: dict[str, int]) -> None:
    small = {name: value % 41 if name in ("q", "k", "b", "h") else value for name, value in tokens.items()}
    joined = reduce(ex.or_, (reduce(ex.and_, conjunction, TRUE) for conjunction in disjuncts(p)), FALSE)
    assert meaning(joined, small) == meaning(p, small)


def test_disjuncts_of_literal_predicates() -> None:
    a, b, c = Q < K, Q < 3, K < 7
    assert disjuncts(a | b & c) == [(a,), (b, c)]
    assert disjuncts((a | b) & c) == [(a, c), (b, c)]
    assert disjuncts(~(a & b)) == [(Q >= K,), (Q >= 3,)]
    assert disjuncts(TRUE) == [()]
    assert disjuncts(FALSE) == []


def test_too_many_disjuncts_are_one() -> None:
    many = reduce(ex.or_, (ex.eq(K, n) for n in range(MOST_TERMS + 1)))
    assert disjuncts(many) == [(many,)]
    product = reduce(ex.and_, (ex.eq(Q, n) | ex.eq(K, n) for n in range(8)))
    assert disjuncts(product) == [(product,)]


def test_moduli_are_those_of_equalities_that_read_the_token() -> None:
    p = ex.eq((Q - K) % 8, 0) & ex.eq(K % 3, 1) & (K % 5 < 2) & ex.eq(Q % 7, 0) & ex.eq(K % (W + 1), 0)
    assert moduli_of(p, K) == [8, 3]
    assert moduli_of(p, Q) == [8, 7]
    assert moduli_of((K <= Q) & ex.eq(K % 1, 0), K) == []
    assert moduli_of(~ex.eq(K % 6, 2), K) == [6]


KNOWN = frozenset({R, H})


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (ex.eq((R + 8 * SLOT - K) % 8, 0), R),
        (ex.eq((K - (R + 8 * SLOT)) % 8, 0), R),
        (ex.eq((R + 8 * SLOT) % 8, K % 8), R),
        (ex.eq(K % 8, 3), const(3)),
        (ex.eq((K + 1) % 8, 0), const(7)),
        (ex.eq((R - K) % 8, 3), (R + 5) % 8),
        (ex.eq((H - K) % 8, 0), H % 8),
        (ex.eq((Q - K) % 8, 0), None),  # of the row, which is not known for a tile
        (ex.eq((R - K) % 4, 0), None),
        (ex.eq((R - 2 * K) % 8, 0), None),
        (ex.eq((R - K) % 8 * 2, 0), None),
        (ex.compare(ex.Op.NE, K % 8, const(3)), None),
        ((R - K) % 8 <= 0, None),
        (K <= R, None),
    ],
)
def test_the_class_that_a_condition_asks_for(condition: Expr, expected: Expr | None) -> None:
    assert residue((K <= 100, condition), K, 8, KNOWN) is expected


sums = st.tuples(st.sampled_from([-1, 1]), st.integers(-20, 20), st.integers(-3, 3), st.integers(-9, 9))


@given(sums, st.integers(2, 9), st.integers(0, 30), st.integers(0, 7), st.integers(0, 5))
@settings(max_examples=300)
def test_every_column_that_is_asked_for_lies_in_the_class(
    parts: tuple[int, int, int, int], modulus: int, k: int, r: int, h: int
) -> None:
    sign, constant, of_row, wanted = parts
    condition = ex.eq((sign * K + of_row * R + constant) % modulus, const(wanted) % modulus)
    found = residue((condition,), K, modulus, KNOWN)
    assert found is not None
    values = {"k": k, "h": h, str(R): r}
    assert meaning(condition, values) == (k % modulus == meaning(found, values))


def test_lists_say_no_class_of_tokens() -> None:
    """A rank is known in a call alone: rows are not laid out by it."""
    picks = an.selection("picks")
    mask = an.mask(lambda q, k: (q % 8 == picks(0, 0)) | (k < 4))
    x = torch.randn(1, 1, 50, 16)
    lists = torch.tensor([[1, 0]])
    torch.testing.assert_close(
        an.compile(mask)(x, x, x, picks=lists), an.reference(mask)(x, x, x, picks=lists).float(), atol=1e-5, rtol=1e-5
    )
