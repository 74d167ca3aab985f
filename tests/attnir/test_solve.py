"""Solving: the union of the bands is the predicate, pair by pair, for keys by queries and for queries by keys."""

from __future__ import annotations

from functools import reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnir import expr as ex
from attnir.call import Call
from attnir.expr import B, Expr, H, K, Q
from attnir.ops import FieldDecl, Op, ParamDecl
from attnir.solve import MOST_BANDS, Band, solve
from attnir.testing import expressions as some
from attnir.testing.meaning import matrix, meaning, pairs
from attnir.traverse import contains
from tests.patterns import PATTERNS, call_of

DOC, KIND = FieldDecl("doc", sorted=True), FieldDecl("kind")
W, LEFT = ex.param(ParamDecl("w")), ex.param(ParamDecl("left", low=0))
N = ex.param(ParamDecl("n", low=1))


def in_band(band: Band, column: str, tokens: dict[str, int], call: Call) -> bool:
    at = tokens[column]
    return (
        all(meaning(e, tokens, call) <= at for e in band.lower)
        and all(at < meaning(e, tokens, call) for e in band.upper)
        and all(meaning(e, tokens, call) for e in (*band.guards, *band.residual))
    )


def check_union(p: Expr, call: Call) -> None:
    live = matrix(p, call).flatten().tolist()
    for column, row in ((K, Q), (Q, K)):
        bands = solve(p, column, row)
        for tokens, expected in zip(pairs(call), live, strict=True):
            assert any(in_band(b, str(column), tokens, call) for b in bands) == expected


@given(st.data())
@settings(max_examples=200)
def test_the_union_of_the_bands_is_the_predicate(data: st.DataObject) -> None:
    p = data.draw(some.predicates)
    check_union(p, data.draw(some.calls(p, longest=6, heads=1)))


@pytest.mark.parametrize("name", PATTERNS)
def test_named_patterns(name: str) -> None:
    named = PATTERNS[name]
    check_union(named.mask(1).predicate, call_of(named, 1, 9, 11, batch=2, heads=2))


@given(some.predicates)
@settings(max_examples=200)
def test_bands_are_well_formed(p: Expr) -> None:
    for column, row in ((K, Q), (Q, K)):
        for band in solve(p, column, row):
            assert not any(contains(e, column) for e in (*band.lower, *band.upper, *band.guards))
            assert all(e.is_bool for e in (*band.guards, *band.residual))
            assert all(contains(e, column) for e in band.residual)
            assert not band.empty


def texts(p: Expr) -> list[str]:
    """Each band as `lower <= k < upper if guards and residual`."""
    found = []
    for b in solve(p, K, Q):
        text = f"{', '.join(map(str, b.lower))} <= k < {', '.join(map(str, b.upper))}"
        conditions = " and ".join(map(str, (*b.guards, *b.residual)))
        found.append(f"{text} if {conditions}" if conditions else text)
    return found


@pytest.mark.parametrize(
    "p, expected",
    [
        (K <= Q, [" <= k < q + 1"]),
        (Q < K, ["q + 1 <= k < "]),
        (~(K <= Q), ["q + 1 <= k < "]),
        (Q - K <= 9, ["q - 9 <= k < "]),
        (ex.absolute(Q - K) <= W, ["q - w <= k < w + q + 1"]),
        (ex.absolute(Q - K) > 3, [" <= k < q - 3", "q + 4 <= k < "]),
        ((K <= Q) & ((Q - K < 8) | (K < 4)), ["q - 7 <= k < q + 1", " <= k < q + 1, 4"]),
        ((K <= Q) & (Q - K < 8) & (Q - K < 5), ["q - 4 <= k < q + 1"]),  # the tighter window only
        ((K <= Q) | (K <= Q - 4), [" <= k < q + 1"]),  # one band inside the other
        ((K < Q) & (K > Q), []),
        (ex.eq(K, Q), ["q <= k < q + 1"]),
        (3 * K <= Q, [" <= k < q // 3 + 1"]),
        (Q < 3 * K, ["q // 3 + 1 <= k < "]),
        (-K <= -Q, ["q <= k < "]),
        (K // 4 <= Q // 4, [" <= k < 4 * (q // 4) + 4"]),
        (ex.eq(K // N, Q // N), ["n * (q // n) <= k < n * (q // n) + n"]),
        ((Q - K) * (Q - K) <= 30, ["q - 5 <= k < q + 6"]),
        ((Q - K) * (Q - K) < 0, []),
        (ex.minimum(K, 9) <= Q, [" <= k < where(-q + 9 <= 0, 268435456, q + 1)"]),
        (ex.maximum(K, 9) <= Q, [" <= k < q + 1 if -q + 9 <= 0"]),
        (ex.where(H < 2, K, 9) <= Q, [" <= k < q + 1 if h < 2", " <= k <  if h >= 2 and -q + 9 <= 0"]),
        (H < B, [" <= k <  if h < b"]),
        (H >= 0, [" <= k < "]),
        (
            ex.eq(ex.field(DOC, Q), ex.field(DOC, K)),
            ["lower_bound(doc(k), doc(q), q) <= k < upper_bound(doc(k), doc(q), q)"],
        ),
        (ex.field(DOC, K) > 5, ["lower_bound(doc(k), 6, q) <= k < "]),
        (ex.eq(ex.field(KIND, Q), ex.field(KIND, K)), [" <= k <  if kind(q) == kind(k)"]),
        (ex.eq(ex.field(KIND, Q), 3) & (K <= Q), [" <= k < q + 1 if kind(q) == 3"]),
        (ex.eq(K % 4, 0) & (K <= Q), [" <= k < q + 1 if k % 4 == 0"]),
        (-Q <= K // -4, [" <= k <  if -q <= k // (-4)"]),
        (-1 <= K % 4, [" <= k < "]),
        (K % 4 < 0, []),
        (K * K <= Q, [" <= k <  if k * k <= q"]),
    ],
    ids=str,
)
def test_what_is_isolated(p: Expr, expected: list[str]) -> None:
    assert texts(p) == expected


def test_too_many_bands_leave_the_predicate_whole() -> None:
    p = ex.eq(K, 0)
    for i in range(1, MOST_BANDS + 5):
        p = p | ex.eq(K, 3 * i)
    assert solve(p, K, Q) == (Band(residual=(p,)),)


def test_conjunctions_that_multiply_stay_bounded() -> None:
    p: Expr = ex.TRUE
    for i in range(12):  # 2 ** 12 conjunctions
        p = p & ((K <= Q + 7 * i * (-1) ** i) | (K > 3 * Q + i))
    assert len(solve(p, K, Q)) <= MOST_BANDS


def test_a_sum_of_many_cases_leaves_the_predicate_whole() -> None:
    p = reduce(ex.add, [ex.absolute(Q - K - i) for i in range(40)]) <= 5000
    assert solve(p, K, Q) == (Band(residual=(p,)),)


def test_a_bound_that_would_leave_64_bits_is_not_isolated() -> None:
    wide = ex.param(ParamDecl("wide"))
    p = K // N <= Q * wide  # k < n * (q * wide) + n could reach 2 ** 88
    assert solve(p, K, Q) == (Band(residual=(p,)),)


@pytest.mark.parametrize("start, stop, empty", [(-3, 5, False), (3, 4, False), (3, 3, True), (3, -5, True)])
def test_bands_proved_empty(start: int, stop: int, empty: bool) -> None:
    assert Band((Q + start,), (Q + stop,)).empty is empty
    assert Band((Q - 2, Q + start), (Q + stop, Q + 9)).empty is empty
    assert Band((Q + start,), (W,)).empty is False


def test_bands_inside_one_another() -> None:
    narrow, wide = Band((Q - 3,), (Q + 1,)), Band((Q - 5,), (Q + 1,))
    assert narrow.inside(wide)
    assert not wide.inside(narrow)
    assert wide.inside(Band())
    assert not narrow.inside(Band((Q - 5,), (Q + 1,), guards=(H < 2,)))


def test_squares_at_their_limits() -> None:
    gap = Q - K
    for limit in range(-2, 30):
        p = gap * gap >= limit
        call_pairs = [{"q": 12, "k": k, "b": 0, "h": 0} for k in range(25)]
        bands = solve(p, K, Q)
        for tokens in call_pairs:
            live = any(
                all(meaning(e, tokens) <= tokens["k"] for e in b.lower)
                and all(tokens["k"] < meaning(e, tokens) for e in b.upper)
                for b in bands
            )
            assert live == ((12 - tokens["k"]) ** 2 >= limit)
    assert Op.MUL not in {e.op for b in solve(gap * gap >= 9, K, Q) for e in (*b.lower, *b.upper)}
