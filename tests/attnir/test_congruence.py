"""Congruences: what they claim holds for every value of the tokens."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from attnir import expr as ex
from attnir.congruence import congruence
from attnir.expr import Expr, K, Q
from attnir.testing import expressions as some
from attnir.testing.meaning import meaning


@given(some.integers, some.every_call)
@settings(max_examples=300)
def test_every_value_is_congruent(e: Expr, tokens: dict[str, int]) -> None:
    modulus, remainder = congruence(e)
    value = meaning(e, tokens)
    assert (value - remainder) % modulus == 0 if modulus else value == remainder


@pytest.mark.parametrize(
    "e, expected",
    [
        (Q * 4 + 6, (4, 2)),
        (Q * 4 + K * 6 + 1, (2, 1)),
        (ex.where(Q < K, Q * 4 + 1, K * 6 + 3), (2, 1)),
        (ex.minimum(Q * 9, 3), (3, 0)),
        ((Q * 6 + 1) % 4, (2, 1)),
        ((Q * 6 + 1) % -4, (2, 1)),
        ((Q * 2) * (K * 3), (6, 0)),
        ((Q * 4 + 2) * (K * 4 + 2), (8, 4)),
        (Q * 4 - Q * 4 + 5, (0, 5)),
        (Q + K, (1, 0)),
    ],
)
def test_congruences(e: Expr, expected: tuple[int, int]) -> None:
    assert congruence(e) == expected
