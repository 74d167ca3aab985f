"""Scores on every executor: numbers, laws that need no tolerance, and what the kernels leave out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import attnir as an
from attnir.codegen.plan import CONFIGURED
from attnir.expr import Expr
from attnir.ops import Op
from attnir.scores import Score
from attnir.testing.case import Case
from attnir.testing.expressions import scores
from attnir.testing.judge import run
from attnir.traverse import nodes
from tests.checks import check
from tests.layouts import every
from tests.test_axes import BACKENDS, DEVICE

SMALL = dict.fromkeys(CONFIGURED, an.Config(32, 32, 4, 1))
DOC, N, ERASED, W = an.field("doc"), an.field("n"), an.field("erased"), an.param("w")
START, LEN = an.field("start", sorted=True), an.tensor("len", "b", dtype=int)
IMAGE = an.grid(y=9, x=12)

SCORES: dict[str, Score | list[Score]] = {
    "penalty": an.score(lambda s, q, k: an.where(DOC(q) == DOC(k), s, s - 4.0)),
    "zero logit": an.score(lambda s, k: an.where(ERASED(k) == 1, 0.0, s)),
    "counts of keys": an.multiplicity(lambda k: N(k)),
    "counts of conditions": an.multiplicity(
        lambda q, k: an.where(START(q) == START(k), 1, 0) + an.where(k - START(k) < 3, 1, 0)
    ),
    "of heads": an.score(lambda s, q, k, h: s * (h + 1) - 0.01 * (q - k) * W),
    "of samples": an.score(lambda s, k, b: an.where(k < LEN[b], s, -2.0)),
    "three in a row": [
        an.multiplicity(lambda k: N(k)),
        an.score(lambda s, q, k: an.where(DOC(q) == DOC(k), s, s - 4.0)),
        an.score(lambda s, k: an.where(ERASED(k) == 1, 0.0, s)),
    ],
    "squares": an.score(lambda s: s * s * 0.5),
    "no score at all": an.score(lambda s, q, k: 0.125 * (q - k)),
    "an integer": an.score(lambda s, q, k: (q - k) % 3),
    "a constant": an.score(lambda s: 2.0),
    "one": an.score(lambda s: 1.0),
    "of queries": an.score(lambda q: q % 3),
    "of keys": an.score(lambda k: k % 5 - 2),
    "real, of queries": an.score(lambda q: 0.1 * (q % 7)),
    "chosen by queries": an.score(lambda q: an.where(q % 2 == 0, 1.0, 2.0)),
    "log of keys": an.score(lambda k: an.log(k)),
    "times queries": an.score(lambda s, q: s * (q % 3)),
    "times keys": an.score(lambda s, k: s * (k % 3)),
    "negative": an.score(lambda s: -s),
    "less an integer": an.score(lambda s, k: s - k % 4),
    "or an integer": an.score(lambda s, q, k: an.where((q + k) % 3 == 0, k % 5, s)),
    "times an integer of pairs": an.score(
        lambda s, q, k: 0.4 * s * an.where(DOC(q) == DOC(k), 2, 1) + an.where(k == q, 2, 0)
    ),
    "steeper below": an.score(lambda s: an.where(s < 0.0, s - 10.0, s)),
    "one of two above": an.score(lambda s, h: s + an.where(s > 0.0, 0.5 * h, -1.0)),
}
MASKS: dict[str, an.Mask] = {
    "full": an.full(),
    "causal": an.causal(),
    "dilated": an.causal() & an.window(60, 0) & every(4),
    "window or every 16th": an.causal() & (an.window(20, 0) | an.mask(lambda q, k: k % 16 == 0)),
    "image": an.neighborhood(IMAGE, (3, 5)),
    "documents": an.mask(lambda q, k: START(q) == START(k)),
}
S = 108
BOUND: dict[str, object] = {
    "doc": torch.arange(S) // 17,
    "start": torch.arange(S) // 23 * 23,
    "n": torch.randint(0, 4, (2, S), generator=torch.Generator().manual_seed(0)),
    "erased": torch.arange(S) % 3 // 2,
    "w": 3,
    "len": torch.tensor([40, 7]),
}


def case(mask: str, score: str, **more: object) -> Case:
    pattern = an.pattern(MASKS[mask], score=SCORES[score])
    read = {d.name for d in (*pattern.fields, *pattern.params, *pattern.tensors)}
    bindings = {name: value for name, value in BOUND.items() if name in read}
    return replace(Case(pattern, q_len=S, batch=2, heads=2, d=16, bindings=bindings), **more)


def checked(backend: str, c: Case) -> None:
    check(backend, c, DEVICE, SMALL if backend == "triton" else None)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("score", SCORES)
def test_every_score_on_a_causal_mask(score: str, backend: str) -> None:
    checked(backend, case("causal", score))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("score", ["three in a row", "of heads", "counts of conditions"])
def test_scores_on_every_kind_of_mask(score: str, mask: str, backend: str) -> None:
    checked(backend, case(mask, score))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("score", SCORES)
def test_half_precision(score: str, backend: str) -> None:
    """There softmax takes powers of two: every term of a score has to be in that unit."""
    checked(backend, case("causal", score, dtype=torch.bfloat16))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("score", ["penalty", "counts of conditions", "of heads"])
def test_the_other_half_precision(score: str, backend: str) -> None:
    checked(backend, case("causal", score, dtype=torch.float16))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("score", ["of heads", "three in a row"])
def test_grouped_heads_a_negative_scale_and_other_widths(score: str, backend: str) -> None:
    checked(backend, case("causal", score, heads=6, kv_heads=2, d=24, dv=40, scale=-0.3, layout="padded"))


CAP = an.param("cap", dtype=float)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("cap", [1e4, 1e8])
def test_a_cap_that_is_never_reached_changes_nothing(cap: float, dtype: torch.dtype, backend: str) -> None:
    """The cheap tangents err by roundings of 1, which such a cap makes as large as scores."""
    c = case("causal", "of heads", dtype=dtype)
    for score, bindings in ((an.softcap(cap), {}), (an.softcap(CAP), {"cap": cap})):
        checked(backend, replace(c, pattern=an.pattern(an.causal(), score=score), bindings=bindings))


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_reference_backend_agrees(backend: str) -> None:
    c = case("image", "three in a row")
    dense = run(an.compile(c.pattern, backend="reference"), c)
    tiles = run(an.compile(c.pattern, backend=backend, config=SMALL if backend == "triton" else None), c, DEVICE)
    for name, found in tiles.items():
        torch.testing.assert_close(found.cpu(), dense[name], rtol=1e-4, atol=1e-5)


drawn_scores = scores.filter(lambda e: sum(n.op is Op.REAL_MUL for n in nodes(e)) < 3)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=20)
@given(st.data())
def test_random_scores(backend: str, data: st.DataObject) -> None:
    score: Expr = data.draw(drawn_scores)
    mask = data.draw(st.sampled_from(["full", "causal", "dilated"]))
    pattern = an.Pattern(MASKS[mask], score)
    sizes = {"doc": torch.arange(S) // 5, "start": torch.arange(S) // 9, "kind": torch.arange(S) % 5}
    given = {"w": 7, "shift": -3, "stop": 4, "wide": 1000, "seed": 5, **sizes}
    long = {"b": 1, "h": 2, "q": S, "k": S}
    g = torch.Generator().manual_seed(data.draw(st.integers(0, 9)))
    given |= {t.name: torch.randn([long.get(a, 7) for a in t.axes], generator=g) for t in pattern.reals}
    given |= {p.name: 1.5 for p in pattern.numbers}
    read = set(pattern.signature.names)
    c = Case(pattern, q_len=S, heads=2, d=16, bindings={n: v for n, v in given.items() if n in read})
    largest = float(c.changed(torch.randn(1, 2, S, S) * 3).abs().max())
    if largest < 1e3:  # else rounding of the score itself decides which key weighs how much
        checked(backend, c)


@pytest.mark.parametrize("backend", BACKENDS)
def test_counted_keys_are_repeated_keys(backend: str) -> None:
    """With q = 0 the sums are of integers: lse is the log of the number of keys, o times that number is exact."""
    c = case("causal", "counts of keys")
    n = torch.as_tensor(c.bindings["n"])[:, None, None].to(DEVICE)
    q, k, _, do, _ = c.tensors(DEVICE)
    v = torch.randint(-4, 5, k.shape, generator=torch.Generator().manual_seed(1)).float().to(DEVICE).requires_grad_()
    attention = an.compile(c.pattern, backend=backend, config=SMALL if backend == "triton" else None)
    o, lse = attention(torch.zeros_like(q), k, v, return_lse=True, **c.options(DEVICE))
    weights = torch.ones(S, S, device=DEVICE).tril() * n
    total = weights.sum(-1)
    torch.testing.assert_close(lse, total.log().expand_as(lse), rtol=0, atol=2e-6)
    assert torch.equal((o * total[..., None]).round(), (weights @ v.detach()).expand_as(o))
    (dv,) = torch.autograd.grad(o, v, total[..., None].expand_as(o) * do.sign())
    assert torch.equal(dv.round(), (weights.transpose(-1, -2) @ do.sign()).sum(1, keepdim=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_constant_score_gives_no_gradient_to_q_and_k(backend: str) -> None:
    found = run(an.compile(case("causal", "a constant").pattern, backend=backend), case("causal", "a constant"), DEVICE)
    assert not found["dq"].any() and not found["dk"].any() and found["dv"].any()


@pytest.mark.parametrize("kind", CONFIGURED)
def test_kernels_without_a_score_have_none_of_its_code(kind: str) -> None:
    plain = an.compile(an.causal()).source(kind)
    scored = an.compile(an.causal(), score=SCORES["penalty"]).source(kind)
    assert "score" not in plain.split('"""')[2] and "field" not in plain
    assert "score = tl.where(" in scored and ("ds = ds * " in scored) is False
    assert "ds = ds * (" in an.compile(an.causal(), score=SCORES["zero logit"]).source("dq")


def test_what_depends_on_keys_alone_is_computed_once_a_tile() -> None:
    source = an.compile(an.causal(), score=SCORES["counts of keys"]).source()
    full = source.split("# Full tiles")[1].split("# Partial tiles")[0]
    assert "score_column_1 = tl.log(tl.maximum(score_column_0, 1.0)) * LOG2E" in full
    assert "score = s * (scale * LOG2E) + score_column_1[None, :]" in full


def test_equal_scores_share_their_kernels() -> None:
    first, second = (an.compile(an.causal(), score=an.score(lambda s, q, k: s - 0.5 * (q - k))) for _ in range(2))
    assert first == second and first != an.compile(an.causal()) and hash(first) == hash(second)
    assert first.source() == second.source()


def test_compiled_graphs_hold_scores() -> None:
    c = case("causal", "three in a row")
    attention = an.compile(c.pattern, backend="torch")
    q, k, v, *_ = c.tensors()
    traced = torch.compile(lambda *t: attention(*t, **c.options()), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(traced(q, k, v), attention(q, k, v, **c.options()))
