"""The normalise pass drops repetitions and keeps the meaning."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from attnir.call import Call
from attnir.evaluate import dense_mask
from attnir.expr import FALSE, TRUE, Expr, K, Q
from attnir.normalise import normalise

ATOMS = [K <= Q, Q - K < 5, K < 3, ~(K < 3), (Q - K) % 2 < 1]
conditions = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda p: p[0] & p[1]),
        st.tuples(inner, inner).map(lambda p: p[0] | p[1]),
        inner.map(lambda e: ~e),
    ),
    max_leaves=12,
)


@given(conditions)
def test_the_meaning_stays(e: Expr) -> None:
    call = Call(1, 1, 9, 9, 0, {}, {}, torch.device("cpu"))
    assert torch.equal(dense_mask(e, call), dense_mask(normalise(e), call))


def test_repetitions_and_contradictions_go() -> None:
    a, b = K <= Q, Q - K < 5
    assert normalise(a & (b & a)) is (a & b)
    assert normalise(a | (b | (a | b))) is (a | b)
    assert normalise(a & (b & (K > Q))) is FALSE
    assert normalise(a | (b | ~a)) is TRUE
