"""Biases of low rank: the sum of products is the bias, and as short as it can be; what has none is left as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import attnir as an
from attnir import real
from attnir.evaluate import dense_score
from attnir.expr import Expr, H, K, Q
from attnir.real import SCORE
from attnir.separate import bias_of, described, evaluated, operations, separate
from attnir.testing.case import Case
from attnir.testing.judge import judge, run
from attnir.testing.values import Normal, Values
from attnir.traverse import reads

N = 6
OF_Q, OF_K = an.tensor("a", "b", "h", "q", "row"), an.tensor("c", "b", "h", "k", "row")
FREE, TABLE, RATE, IMAGE = (
    an.tensor("free", "h"),
    an.tensor("table", "h", "row"),
    an.tensor("rate", "h"),
    an.grid(y=2, x=3),
)
G = torch.Generator().manual_seed(0)
SHAPES = {"a": (1, 2, N, 4), "c": (1, 2, N, 4), "free": (2,), "rate": (2,), "slopes": (2,), "table": (2, 9)}
GIVEN = {name: torch.randn(shape, generator=G) for name, shape in SHAPES.items()}


def dense(score: Expr) -> torch.Tensor:
    """What a score adds, float64 [2, N, N]."""
    pattern = an.Pattern(an.full(), score)
    call = pattern.signature.bind({n: GIVEN[n] for n in pattern.signature.names}, batch=1, heads=2, q_len=N, k_len=N)
    return dense_score(score, call)(torch.zeros(1, 2, N, N, dtype=torch.float64))[0]


def added(bias: Expr) -> Expr:
    return real.add(SCORE, bias)


def same(score: Expr) -> None:
    """The separation of a score is it: as a matrix, with sides apart, and of least rank."""
    found = separate(score)
    assert found is not None
    for f, g in found.terms:
        assert "k" not in reads(f) and "q" not in reads(g)
    expected, ours = dense(score), dense(added(found.bias))
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9 * (1 + float(expected.abs().max())))
    ranks = torch.linalg.matrix_rank(expected, rtol=1e-9)
    assert found.rank >= int(ranks.max())


def score_of(function: Callable[..., Any], **more: Any) -> Expr:
    return an.score(function, **more).value


SEPARABLE: dict[str, tuple[Expr, int]] = {
    "a distance": (score_of(lambda s, q, k: s + 0.5 * (q - k)), 2),
    "alibi": (an.alibi().value, 2),
    "a square": (score_of(lambda s, q, k: s - (q - k) ** 2), 3),
    "a product": (score_of(lambda s, q, k: s + q * k), 1),
    "of keys alone": (score_of(lambda s, k: s + an.log(k + 1)), 1),
    "constants": (score_of(lambda s, b, h, k: s + FREE[h] * OF_K[b, h, k, 0] + RATE[h] * OF_K[b, h, k, 1]), 1),
    "a product that is written out": (
        score_of(
            lambda s, b, h, q, k: (
                s
                + OF_Q[b, h, q, 0] * OF_K[b, h, k, 0]
                + OF_Q[b, h, q, 0] * OF_K[b, h, k, 1]
                - 2.0 * OF_Q[b, h, q, 1] * OF_K[b, h, k, 0]
                - 2.0 * OF_Q[b, h, q, 1] * OF_K[b, h, k, 1]
            )
        ),
        1,
    ),
    "functions of a token": (score_of(lambda s, q, k: s + an.exp(-0.1 * q) * an.sqrt(k + 1)), 1),
    "a quotient": (score_of(lambda s, q, k: s + q / (k + 1.0) + 3.0), 2),
    "a choice by one": (score_of(lambda s, q, k: s + an.where(q % 2 == 0, 1.0, 2.0) * k), 1),
    "coordinates": (score_of(lambda s, q, k, h: s + RATE[h] * ((q.y - k.y) ** 2 + (q.x - k.x) ** 2), grid=IMAGE), 4),
    "what cancels": (score_of(lambda s, q, k: s + (q + k) * (q - k) - q * q + k * k), 0),
}
NOT: dict[str, Expr] = {
    "abs": score_of(lambda s, q, k: s - abs(q - k)),
    "clip": score_of(lambda s, q, k: s + an.clip(q - k, 0, 3)),
    "a choice by both": score_of(lambda s, q, k: s + an.where(q < k, 1.0, 2.0)),
    "a table": score_of(lambda s, q, k, h: s + TABLE[h, q - k]),
    "a rest": score_of(lambda s, q, k: s + (q - k) % 3),
    "exp of both": score_of(lambda s, q, k: s + an.exp(0.1 * (q - k))),
}


@pytest.mark.parametrize("name", SEPARABLE)
def test_a_separable_bias_has_its_least_rank(name: str) -> None:
    score, rank = SEPARABLE[name]
    found = separate(score)
    assert found is not None and found.rank == rank, str(found)
    same(score)


@pytest.mark.parametrize("name", NOT)
def test_what_is_not_separable_is_refused(name: str) -> None:
    assert separate(NOT[name]) is None and evaluated(NOT[name]) is NOT[name]
    assert "no sum of f(q) g(k) is found" in str(described(NOT[name]))


@pytest.mark.parametrize(
    "score",
    [SCORE, an.softcap(2.0).value, score_of(lambda s, q: s * q), score_of(lambda q, k: 0.5 * (q - k))],
    ids=["none", "softcap", "a factor", "no score before"],
)
def test_scores_that_are_no_sums_have_no_bias(score: Expr) -> None:
    assert bias_of(score) is None and separate(score) is None and described(score) is None


_of_q = st.sampled_from([real.of_integer(Q), real.of_integer(Q // 2), real.log(Q + 1), score_of(lambda q: q % 3 + 0.5)])
_of_k = st.sampled_from(
    [real.of_integer(K), real.of_integer(K % 2), real.sqrt(real.of_integer(K)), real.exp(real.real(0.5))]
)
_numbers = st.sampled_from([real.real(x) for x in (-2.0, 0.1, 1.0, 3.0)]) | st.just(real.of_integer(H))
_products = st.builds(lambda c, f, g: real.mul(c, real.mul(f, g)), _numbers, _of_q | _numbers, _of_k | _numbers)
_biases = st.recursive(
    _products,
    lambda inner: (
        st.builds(real.add, inner, inner) | st.builds(real.sub, inner, inner) | st.builds(real.mul, inner, _numbers)
    ),
    max_leaves=8,
)


@settings(max_examples=150)
@given(_biases)
def test_sums_of_products_are_separated_exactly(bias: Expr) -> None:
    score = added(bias)
    if bias_of(score) is not None:
        same(score)
        torch.testing.assert_close(dense(evaluated(score)), dense(score), rtol=1e-9, atol=1e-9)


def test_a_sum_is_multiplied_out_by_nobody() -> None:
    for name in ("alibi", "a square", "coordinates"):
        score, _ = SEPARABLE[name]
        assert evaluated(score) is score, name
    assert "computed as written" in str(described(an.alibi().value))


WRITTEN_OUT, _ = SEPARABLE["a product that is written out"]


def test_factors_that_repeat_are_computed_once() -> None:
    found = bias_of(evaluated(WRITTEN_OUT))
    before = bias_of(WRITTEN_OUT)
    assert found is not None and before is not None
    assert operations(found) == 1 and operations(before) == 4
    explained = str(an.compile(an.Pattern(an.full(), WRITTEN_OUT)).explain(64, heads=1))
    assert "\nbias          rank 1: " in explained and "computed so, 1 operation a pair" in explained
    source = an.compile(an.Pattern(an.full(), WRITTEN_OUT)).source()
    assert source.count("[:, None] * score_column") == 2, "once in each loop"


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_kernels_of_the_sum_are_as_exact(backend: str) -> None:
    bindings = {n: Values(Normal((1, 2, 70, 4), i), torch.float32) for i, n in enumerate(("a", "c"))}
    one = Case(an.Pattern(an.causal(), WRITTEN_OUT), q_len=70, heads=2, kv_heads=2, d=16, bindings=bindings)
    judge(run(an.compile(one.pattern, backend=backend), one), one)
