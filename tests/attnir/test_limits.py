"""Limits: within the field limit nothing that a predicate computes leaves 64 bits, and beyond it a call is refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import attnir as an
from attnir import expr as ex
from attnir.errors import FieldError
from attnir.expr import Expr, K, Q
from attnir.limits import field_limit
from attnir.ops import Op
from attnir.testing import expressions as some
from attnir.testing.meaning import meaning
from attnir.traverse import nodes

X = an.field("x")
DISC = an.mask(lambda q, k: (X(q) - X(k)) ** 2 <= 64)
SAME = an.mask(lambda q, k: X(q) == X(k))
X_Q, X_K = ex.field(X.decl, Q), ex.field(X.decl, K)


@given(some.predicates, some.every_call, st.data())
@settings(max_examples=200)
def test_nothing_leaves_64_bits_within_the_limit(p: Expr, tokens: dict[str, int], data: st.DataObject) -> None:
    limit = field_limit(p)
    tokens |= {name: data.draw(some.either(-limit, limit)) for name in some.FIELDS}
    for n in nodes(p):
        if not n.is_bool and n.op is not Op.SYM:
            assert abs(meaning(n, tokens)) < 2**63


@pytest.mark.parametrize(
    "predicate, bits",
    [
        (K <= Q, 60),
        (ex.eq(X_Q, X_K), 59),
        (X_Q < 3, 60),
        (X_Q * X_K < 3, 30),
        ((X_Q - X_K) * (X_Q - X_K) < 64, 29),
        (X_Q * 2**40 < K, 20),
        (X_Q % 7 < K, 60),
    ],
)
def test_the_limit_follows_from_what_is_computed(predicate: Expr, bits: int) -> None:
    assert field_limit(predicate) == 2**bits


@pytest.mark.parametrize("value", [2**62, -(2**63), 2**63 - 1, 2**30])
@pytest.mark.parametrize("backend", ["torch", "reference", None])
def test_a_value_beyond_the_limit_is_refused(value: int, backend: str | None) -> None:
    ids = torch.arange(8)
    ids[3] = value
    q = torch.zeros(1, 1, 8, 16)
    attend = an.reference(DISC) if backend is None else an.compile(DISC, backend=backend)
    with pytest.raises(FieldError, match=rf"`x` holds {value} for the queries; .* \+-2\*\*29 .* number its values"):
        attend(q, q, q, x=ids)
    with pytest.raises(FieldError, match="for the keys"):
        attend(q, q, q, x=(ids - ids, ids))


def test_checked_and_explained_calls_test_it_too() -> None:
    ids = torch.full((8,), 2**30)
    q = torch.zeros(1, 1, 8, 16)
    with pytest.raises(FieldError, match="2\\*\\*29"):
        an.compile(DISC, check=True)(q, q, q, x=ids)
    with pytest.raises(FieldError, match="2\\*\\*29"):
        an.compile(DISC).explain(8, x=ids)


def test_values_up_to_the_limit_are_taken() -> None:
    q = torch.zeros(1, 1, 4, 16)
    for pattern, most in ((DISC, 2**29), (SAME, 2**59)):
        ids = torch.tensor([-most, most, 0, most])
        _, lse = an.compile(pattern)(q, q, q, x=ids, return_lse=True)
        assert lse.exp().round().tolist() == [[[1, 2, 1, 2]]]
