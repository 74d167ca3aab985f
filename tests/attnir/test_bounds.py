"""Intervals, congruences and order: whatever they claim holds for every value of the tokens."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings

from attnir import expr as ex
from attnir.bounds import bounds, decide
from attnir.expr import Expr, H, K, Q
from attnir.interval import INFINITE, UNKNOWN, Interval
from attnir.ops import ParamDecl
from attnir.testing import expressions as some
from attnir.testing.meaning import meaning

WIDE = ex.param(some.WIDE)
W = ex.param(ParamDecl("w"))
LEFT = ex.param(ParamDecl("left", low=0))
DOC_Q, DOC_K = ex.field(some.DOC, Q), ex.field(some.DOC, K)


def inside(value: int, found: Interval[int]) -> bool:
    """Whether the value lies in the interval, whose ends at +-INFINITE stand for all beyond."""
    low, high = int(found.low), int(found.high)
    return (low <= value or low <= -INFINITE) and (value <= high or high >= INFINITE)


@given(some.integers, some.every_call)
@settings(max_examples=400)
@example(DOC_Q // 2, {"doc(q)": 2**62})
@example((Q * Q * Q) % 7, {"q": 2**27 + 1})
@example((Q * Q * Q * K * K) // (Q + 1), {"q": 2**28 - 1, "k": 2**28 - 1})
@example(DOC_Q % 7, {"doc(q)": -(2**63)})
@example(DOC_Q % (ex.absolute(DOC_K) + 1), {"doc(q)": 2**61, "doc(k)": 2**61})
@example(ex.where(Q < K, DOC_Q, Q) - DOC_K, {"q": 1, "k": 2, "doc(q)": 2**63 - 1, "doc(k)": -(2**63)})
def test_every_value_lies_within_the_bounds(e: Expr, tokens: dict[str, int]) -> None:
    assert inside(meaning(e, tokens), bounds(e))


@given(some.predicates, some.every_call)
@settings(max_examples=300)
def test_what_is_decided_holds_in_every_call(p: Expr, tokens: dict[str, int]) -> None:
    assert decide(p) in (None, meaning(p, tokens))


@pytest.mark.parametrize(
    "p, expected",
    [
        (Q - Q + K >= 0, True),
        (K - (K - Q) >= 0, True),
        (ex.eq(Q * 4 + 1, K * 2), False),
        (ex.ne(Q * 4 + 1, K * 2), True),
        (ex.eq(Q * 4 + 2, K * 2), None),
        (ex.absolute(Q - K) >= 0, True),
        ((Q - K) * (Q - K) >= 0, True),
        (Q % 5 < 5, True),
        (Q % -5 <= 0, True),
        (Q % -5 > -5, True),
        (Q - K <= 2**28, True),
        (Q // (H + 1) >= 0, True),
        (W <= 2**30, True),
        (LEFT >= 0, True),
        (LEFT > 0, None),
        (DOC_Q < DOC_K, None),
        (DOC_Q // 2 < 2**60 + 5, None),
        (~(K >= 0) | (Q > K), None),
        ((K >= 0) & ~(Q < 0), True),
    ],
)
def test_what_can_be_decided_without_a_call(p: Expr, expected: bool | None) -> None:
    assert decide(p) is expected


def test_an_endless_interval_stays_endless() -> None:
    assert bounds(DOC_Q) == UNKNOWN
    assert bounds(DOC_Q + 5) == UNKNOWN
    assert bounds(DOC_Q // 2) == UNKNOWN
    assert bounds(DOC_Q * -3) == UNKNOWN
    assert bounds(ex.absolute(DOC_Q)) == Interval(0, INFINITE)
    assert bounds(ex.minimum(DOC_Q, 7)) == Interval(-INFINITE, 7)
