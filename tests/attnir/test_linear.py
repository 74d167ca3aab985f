"""Linear forms: collected terms, of the same value."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnir import expr as ex
from attnir.expr import Expr, H, K, Q
from attnir.linear import Linear, linear, simplify
from attnir.ops import Op
from attnir.testing import expressions as some
from attnir.testing.meaning import meaning

tokens = st.fixed_dictionaries(
    {name: st.integers(0, 40) for name in ("q", "k", "b", "h", "w")}
    | {"shift": st.integers(-20, 20), "stop": st.integers(1, 9)}
)


@given(some.bare, tokens)
@settings(max_examples=200)
def test_forms_and_simplified_expressions_keep_the_value(e: Expr, at: dict[str, int]) -> None:
    assert meaning(linear(e).expr(), at) == meaning(e, at)
    assert meaning(simplify(e), at) == meaning(e, at)


@given(some.bare)
def test_no_coefficient_is_zero_and_no_atom_is_linear(e: Expr) -> None:
    form = linear(e)
    assert all(c != 0 for _, c in form.terms)
    assert not {a.op for a, _ in form.terms} & {Op.CONST, Op.ADD, Op.SUB, Op.NEG}
    assert len(dict(form.terms)) == len(form.terms)


@given(some.bare, some.bare, st.integers(-3, 3), tokens)
def test_sums_and_multiples_of_forms(a: Expr, b: Expr, factor: int, at: dict[str, int]) -> None:
    total = linear(a).plus(linear(b), factor)
    assert meaning(total.expr(), at) == meaning(a, at) + factor * meaning(b, at)
    assert meaning(linear(a).times(factor).expr(), at) == factor * meaning(a, at)


@pytest.mark.parametrize(
    "e, text",
    [
        (Q - (Q - K), "k"),
        (2 * (Q - K) + K + 3, "2 * q - k + 3"),
        (-(Q - K) - Q, "k - 2 * q"),
        (-Q - K, "-q - k"),
        ((Q + 1) * 4 - 4, "4 * q"),
        (Q * K - K * Q + Q * K, "2 * (q * k) - k * q"),
        ((Q + K - Q) // 4 - ((K - 8) // 4), "k // 4 - (k - 8) // 4"),
        (ex.absolute(K - Q + Q) - H, "abs(k) - h"),
    ],
)
def test_simplified_texts(e: Expr, text: str) -> None:
    assert str(simplify(e)) == text


def test_the_parts_of_a_form() -> None:
    form = linear(3 * Q - K + 5)
    assert (form.coefficient(Q), form.coefficient(K), form.coefficient(H), form.constant) == (3, -1, 0, 5)
    assert form.without(Q) == Linear(((K, -1),), 5)
