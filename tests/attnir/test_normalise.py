"""The normalise pass keeps the meaning and says nothing twice."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnir import expr as ex
from attnir.evaluate import dense_mask
from attnir.expr import FALSE, TRUE, Expr, K, Q
from attnir.normalise import normalise
from attnir.testing import expressions as some

A, B, C = K <= Q, Q - K < 9, K < 4


@given(st.data())
@settings(max_examples=150)
def test_the_dense_matrix_is_the_same_before_and_after(data: st.DataObject) -> None:
    p = data.draw(some.predicates)
    again = data.draw(some.predicates)
    p = data.draw(st.sampled_from([p, p & (again | p), p | (again & p), (p & again) | (again & p), p & ~p, ~(p | p)]))
    call = data.draw(some.calls(p))
    before, after = (dense_mask(e, call).expand(call.batch, call.heads, -1, -1) for e in (p, normalise(p)))
    assert torch.equal(before, after)


@pytest.mark.parametrize(
    "p, expected",
    [
        (A & (B & A), A & B),
        ((A & B) & (B & A), A & B),
        (A | (B | A), A | B),
        (A & ~A, FALSE),
        (A | ~A, TRUE),
        (A & (B & ~A), FALSE),
        ((K <= Q) & (K > Q), FALSE),
        ((K <= Q) | (C | (K > Q)), TRUE),
        (A & (B | C), A & (B | C)),
        (~(A & (B & A)), ~(A & B)),
    ],
    ids=str,
)
def test_what_is_dropped(p: Expr, expected: Expr) -> None:
    assert normalise(p) is expected


@given(some.predicates)
def test_a_second_time_changes_nothing(p: Expr) -> None:
    assert normalise(normalise(p)) is normalise(p)


def test_integers_inside_comparisons_stay_as_declared() -> None:
    p = ex.where(A, Q, K) + 0 * Q + (Q - Q) < K - K + 7
    assert normalise(p) is p
