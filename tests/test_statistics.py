"""Statistics of attention: golden values, each beside dense float64 on every backend, gradients, what is refused."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor

import attnir as an
from attnir.asked import Asked, Kind, Part, read_asked
from attnir.codegen.cache import CACHE
from attnir.dense_statistics import dense_statistics
from attnir.errors import (
    AttnirError,
    DeclarationError,
    DerivativeError,
    DeviceError,
    MissingBindingError,
    ShapeError,
    StatisticError,
    UnknownBindingError,
)
from attnir.requests import STANDARD, asked_for
from attnir.testing.case import Case
from attnir.testing.executor import Executor
from attnir.testing.statistics import FORMULAS, judge_statistics, measured
from attnir.testing.values import Normal, Values

BACKENDS = ["reference", "torch", "triton"]
DEVICE = {"reference": "cpu", "torch": "cpu", "triton": "cuda" if torch.cuda.is_available() else "cpu"}
S = 100

doc = an.field("doc", sorted=True)
label = an.field("label")
BOUND = {
    "doc": torch.arange(S) // 30,
    "label": torch.arange(S) * 7 % 5,
    "sink": Values(Normal((4,), 1), torch.float32),
    "seed": 7,
    "slopes": Values(Normal((4,), 0), torch.float32),
}
PATTERNS: dict[str, Any] = {
    "causal": an.causal(),
    "window": an.window(20, 10),
    "neighbourhood": an.neighborhood(an.grid(y=10, x=10), (5, 3)),
    "documents": an.causal() & an.mask(lambda q, k: doc(q) == doc(k)),
    "labels": an.mask(lambda q, k: label(q) == label(k)),
    "dead rows": an.mask(lambda q, k: (k < 40) & (q > 9)),
    "a learned sink, and dropout": an.pattern(
        an.mask(lambda q, k: (k <= q) & (q > 9)),
        normalize=an.softmax(sink=an.tensor("sink", "h")),
        factor=an.dropout(0.5),
    ),
    "one score for all": an.pattern(an.causal(), score=an.score(lambda s: 1.0)),
    "sigmoid": an.pattern(an.causal(), normalize=an.weights(lambda s, h: an.sigmoid(s + an.tensor("slopes", "h")[h]))),
    "squares of what is positive": an.pattern(an.window(20, 10), normalize=an.relu2),
    "divided": an.pattern(an.causal(), normalize=an.weights(lambda s: 1 + s + s * s / 2, divide=True)),
    "alibi and a cap": an.pattern(an.causal(), score=[an.alibi(), an.softcap(3.0)]),
}


def case(pattern: str, **more: Any) -> Case:
    declared = PATTERNS[pattern]
    bindings = {name: BOUND[name] for name in declared.signature.names}
    sizes = {"q_len": S, "heads": 4, "kv_heads": 2, "d": 16, "tile": (128, 128)}
    return Case(declared, **{**sizes, "bindings": bindings, **more})


def executor(backend: str) -> Executor:
    return Executor(backend, DEVICE[backend])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_statistic_and_its_gradients_are_those_of_dense_float64(pattern: str, backend: str) -> None:
    judge_statistics(case(pattern), executor(backend), measured(case(pattern)))


@pytest.mark.parametrize("backend", ["torch", "triton"])
@pytest.mark.parametrize("name", FORMULAS)
def test_each_alone(name: str, backend: str) -> None:
    judge_statistics(case("window", q_len=40, heads=2, kv_heads=1), executor(backend), [name])


@pytest.mark.parametrize("backend", ["torch", "triton"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_half_precision(dtype: torch.dtype, backend: str) -> None:
    judge_statistics(case("window", dtype=dtype), executor(backend), list(FORMULAS))


@pytest.mark.parametrize("backend", ["torch", "triton"])
@pytest.mark.parametrize(
    "more",
    [
        {"q_len": 30, "k_len": 70, "q_start": 25},
        {"q_len": 1, "k_len": 65, "kv_heads": 4},
        {"batch": 2, "heads": 3, "kv_heads": 1, "q_len": 33, "d": 24},
        {"q_len": 70, "tile": (16, 32), "heads": 2, "kv_heads": 1},
    ],
    ids=["few queries", "one query", "odd sizes", "small tiles"],
)
def test_in_calls_of_other_sizes(more: dict[str, Any], backend: str) -> None:
    judge_statistics(case("causal", **more), executor(backend), list(FORMULAS))


@pytest.mark.parametrize("backend", ["torch", "triton"])
@pytest.mark.parametrize("pattern", ["sigmoid", "divided"])
def test_masses_of_other_weights_in_half_precision(pattern: str, backend: str) -> None:
    one = case(pattern, dtype=torch.bfloat16, d=64)
    judge_statistics(one, executor(backend), measured(one))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_live_key_of_score_minus_infinity_adds_nothing(backend: str) -> None:
    """Its probability is 0, and 0 log 0 is 0, for results and gradients."""
    prior = an.tensor("prior", "k")
    attn = an.compile(an.causal(), score=an.score(lambda s, k: s + an.log(prior[k])), backend=backend)
    hidden = an.compile(an.causal() & an.mask(lambda k: k != 3), backend=backend)
    given = [t.to(DEVICE[backend]) for t in torch.randn(3, 1, 2, 20, 16, generator=torch.Generator().manual_seed(0))]
    values = torch.ones(20, device=given[0].device)
    values[3] = 0.0
    found = []
    for one, more in ((attn, {"prior": values}), (hidden, {})):
        leaves = [t.clone().requires_grad_() for t in given]
        results = one.statistics(*leaves, ["row-entropy", "row-max-prob", "received-mass", "row-collision"], **more)
        loss = torch.stack([t.sum() for t in results.values()]).sum()
        found.append([*results.values(), *torch.autograd.grad(loss, leaves[:2])])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_tensors_with_one_derivative_have_gradients_of_their_own() -> None:
    a, c = an.tensor("a", "b", "h", "k"), an.tensor("c", "b", "h", "k")
    mean = an.row_mean(lambda b, h, k: a[b, h, k] + c[b, h, k])
    q = torch.randn(2, 2, 20, 16)
    one, other = (torch.randn(2, 2, 20, requires_grad=True) for _ in range(2))
    found = an.compile(an.causal(), backend="torch").statistics(q, q, q, mean, a=one, c=other)
    of_one, of_other = torch.autograd.grad(found["row-mean"].sum(), (one, other))
    assert torch.equal(of_one, of_other) and of_one.data_ptr() != of_other.data_ptr()


def test_requests_that_are_nested_too_deep_or_no_requests_are_refused() -> None:
    q = torch.randn(1, 2, 20, 16)
    statistics = an.compile(an.causal(), backend="torch").statistics
    assert set(statistics(q, q, q, [("row-entropy", "received-mass")])) == {"row-entropy", "received-mass"}
    for wrong in ([(an.segment_mass(a=torch.ones(20)),)], torch.tensor(1), [None], 3):
        with pytest.raises(StatisticError, match="a statistic is a name"):
            statistics(q, q, q, wrong)
    for do in (None, "do"):
        with pytest.raises(StatisticError, match="takes dO, a tensor"):
            an.gradient_received(do)  # type: ignore[arg-type]  # a wrong type is tried
    with pytest.raises(StatisticError, match="dense real numbers"):
        statistics(q, q, q, an.gradient_received(torch.ones(1, 2, 20, 16).to_sparse()))
    with pytest.raises(StatisticError, match="the mask `a`: bool or real numbers in a dense tensor"):
        statistics(q, q, q, an.segment_mass(a=torch.ones(20).to_sparse()))
    with pytest.raises(UnknownBindingError, match="statistic_weight_0"):
        statistics(q, q, q, an.segment_mass(a=torch.ones(20)), statistic_weight_0=3)


def test_a_mean_on_a_grid_is_held_to_its_size() -> None:
    q = torch.randn(1, 2, 20, 16)
    attn = an.compile(an.causal(), backend="torch")

    def apart(grid: Any) -> Any:
        return an.row_mean(lambda q, k: abs(q.x - k.x) * 1.0, grid=grid)

    assert attn.statistics(q, q, q, apart(an.grid(y=4, x=5)))["row-mean"].shape == (1, 2, 20)
    with pytest.raises(ShapeError, match="there are 20 keys, but the pattern arranges 24"):
        attn.statistics(q, q, q, apart(an.grid(y=4, x=6)))
    with pytest.raises(DeclarationError, match="`row-mean` is on"):
        an.compile(an.neighborhood(an.grid(y=4, x=5), 3)).statistics(q, q, q, apart(an.grid(y=5, x=4)))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("queries", "keys"), [(0, 20), (20, 0), (0, 0)])
def test_no_tokens_give_no_numbers(queries: int, keys: int, backend: str) -> None:
    q, k = (torch.randn(1, 2, n, 16, device=DEVICE[backend]) for n in (queries, keys))
    rows, columns = ["value-norm-mass", "mean-distance"], ["received-mass", "pair-norm-received"]
    mask = torch.ones(keys, device=q.device)
    for how in (None, an.sigmoid):
        found = an.compile(an.full(), normalize=how, backend=backend).statistics(
            q, k, k, [*rows, *columns, an.segment_mass(a=mask)]
        )
        for name, t in found.items():
            assert t.shape == (1, 2, keys if name in columns else queries) and bool((t == 0).all()), name


def test_under_automatic_mixed_precision() -> None:
    q = torch.randn(1, 2, 20, 16)
    attn = an.compile(an.causal(), backend="torch")
    half = q.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = attn.statistics(q, half, half, "row-entropy")
    torch.testing.assert_close(found, attn.statistics(half, half, half, "row-entropy"))


@pytest.mark.parametrize("backend", BACKENDS)
def test_golden_masses_of_other_weights(backend: str) -> None:
    """Causal, 4 tokens, q = 0: every weight is a half, and no sum divides it."""
    halves = an.pattern(an.causal(), normalize=an.sigmoid)
    found = call(backend, ["received-mass", "mean-distance", "row-collision", "probabilities"], halves)
    assert found["received-mass"].tolist() == [[[2.0, 1.5, 1.0, 0.5]]]
    assert found["mean-distance"].tolist() == [[[0.0, 0.5, 1.5, 3.0]]]
    assert found["row-collision"].tolist() == [[[0.25, 0.5, 0.75, 1.0]]]
    assert torch.equal(found["probabilities"][0, 0], torch.full((4, 4), 0.5).tril())


def call(backend: str, requests: Any, pattern: Any = None, q: Tensor | None = None) -> dict[str, Tensor]:
    q = (torch.zeros(1, 1, 4, 8) if q is None else q).to(DEVICE[backend])
    attn = an.compile(an.causal() if pattern is None else pattern, backend=backend)
    return {name: t.cpu() for name, t in attn.statistics(q, q, q, requests).items()}


GOLDEN = {
    "row-entropy": [math.log(i + 1) for i in range(4)],
    "row-max-prob": [1, 1 / 2, 1 / 3, 1 / 4],
    "row-argmax": [0, 0, 0, 0],
    "row-collision": [1, 1 / 2, 1 / 3, 1 / 4],
    "received-mass": [25 / 12, 13 / 12, 7 / 12, 1 / 4],
    "mean-distance": [0, 0.5, 1, 1.5],
    "waad": [0, 0.5, 1, 1.25],
    "fai": [13 / 36, 7 / 24, 1 / 4, 0],
}


@pytest.mark.parametrize("backend", BACKENDS)
def test_golden_values(backend: str) -> None:
    """Causal, 4 tokens, q = 0: rows are uniform."""
    found = call(backend, [an.waad(2) if name == "waad" else name for name in GOLDEN])
    for name, expected in GOLDEN.items():
        torch.testing.assert_close(found[name][0, 0], torch.tensor(expected, dtype=found[name].dtype), msg=name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_of_equal_scores_the_first_key_wins_in_whatever_order_tiles_are_visited(backend: str) -> None:
    """The window's partial tiles come after its full ones, and its row 300 sees keys from 100 on."""
    q = torch.zeros(1, 1, 320, 16)
    found = call(backend, "row-argmax", an.causal() & an.window(200), q=q)["row-argmax"]
    assert found.dtype is torch.int64
    assert found[0, 0].tolist() == [max(0, i - 200) for i in range(320)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_dead_rows_give_zeros(backend: str) -> None:
    names = [name for name in STANDARD if name != "probabilities"]
    found = call(backend, names, an.mask(lambda q, k: (q > 1) & (k < 2)))
    rows = [name for name in names if found[name].shape == (1, 1, 4) and name.startswith(("row", "value", "mean"))]
    assert all(found[name][0, 0, :2].tolist() == ([-1, -1] if name == "row-argmax" else [0, 0]) for name in rows)
    assert found["received-mass"][0, 0].tolist() == [1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("pattern", ["window", "neighbourhood", "dead rows"])
def test_what_keys_receive_is_as_many_as_there_are_live_rows(pattern: str, backend: str) -> None:
    one = case(pattern)
    q, k, v, _, _ = one.tensors(DEVICE[backend])
    found = executor(backend).attention(one).statistics(q, k, v, "received-mass")["received-mass"].cpu()
    torch.testing.assert_close(found.sum(-1), one.live.any(-1).sum(-1).float(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_large_logits_keep_their_entropy(backend: str) -> None:
    """Scores near 3000 in float32: lse - mean would be off by 0.3."""
    g = torch.Generator().manual_seed(0)
    q = torch.zeros(1, 1, 64, 16)
    q[..., 0] = 3000.0
    k = torch.randn(1, 1, 64, 16, generator=g)
    k[..., 0] = 1.0 + torch.randint(-2, 3, (64,), generator=g) / 2048.0  # products are exact in float32
    attn = an.compile(an.full(), backend=backend)
    q, k = q.to(DEVICE[backend]), k.to(DEVICE[backend])
    found = attn.statistics(q, k, k, "row-entropy", scale=1.0)["row-entropy"].cpu()
    s = q.cpu().double() @ k.cpu().double().transpose(-1, -2)
    p = s.softmax(-1)
    torch.testing.assert_close(found.double(), -(p * p.log()).sum(-1), rtol=0, atol=4e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_requests_bring(backend: str) -> None:
    one = case("causal", batch=2)
    q, k, v, do, _ = one.tensors(DEVICE[backend])
    g = torch.Generator().manual_seed(3)
    drawn = {shape: torch.rand(shape, generator=g).to(q.device) for shape in [(S,), (2, S), (2, 4, S)]}
    table = an.tensor("table", "h", "k")
    requests = [
        an.segment_mass(sink=torch.arange(S, device=q.device) < 4, soft=drawn[2, S]),
        an.value_norm_mass(drawn[2, 4, S]),
        an.received_mass(drawn[S,]),
        an.waad(8),
        an.fai(2, 9),
        an.gradient_received(do),
        an.row_mean(lambda q, k, h: an.where(k % 2 == 0, table[h, k] * (q - k), 0.5), name="odd"),
        "probabilities",
    ]
    more = {"table": drawn[2, 4, S][0]}
    found = executor(backend).attention(one).statistics(q, k, v, requests, **more)
    found = {name: t.cpu().double() for name, t in found.items()}
    q, k, v, do = (t.cpu().double() for t in (q, k, v, do))
    k, v = (t.repeat_interleave(2, 1) for t in (k, v))
    live, i, j = one.live, torch.arange(S)[:, None], torch.arange(S)
    p = torch.where(live, q @ k.transpose(-1, -2) * one.factor, -torch.inf).softmax(-1)
    at = {shape: t.cpu().double() for shape, t in drawn.items()}
    inside = (j + 2 <= i) & (i <= j + 9) & live
    odd = torch.where(j % 2 == 0, at[2, 4, S][0][:, None] * (i - j), torch.tensor(0.5, dtype=torch.float64))
    expected = {
        "sink": p[..., :4].sum(-1),
        "soft": (p * at[2, S][:, None, None]).sum(-1),
        "value-norm-mass": (p * at[2, 4, S][:, :, None]).sum(-1),
        "received-mass": (p * at[S,][:, None]).sum(-2),
        "waad": (p * (i - j).abs().clamp(max=8)).sum(-1),
        "fai": (p * inside).sum(-2) / inside.sum(-2).clamp(min=1),
        "gradient-received": (p * (do @ v.transpose(-1, -2))).sum(-2),
        "odd": (p * odd).sum(-1),
        "probabilities": p,
    }
    assert found.keys() == expected.keys()
    for name, t in expected.items():
        torch.testing.assert_close(found[name], t, rtol=1e-5, atol=2e-5, msg=lambda m, name=name: f"{name}: {m}")


def test_the_tensors_that_requests_bring_get_their_gradients() -> None:
    one = case("causal", batch=2, q_len=30)
    q, k, v, _, _ = one.tensors()
    g = torch.Generator().manual_seed(3)
    shapes = {"mask": (30,), "norms": (2, 4, 30), "rows": (2, 30), "table": (4, 30)}
    leaves = {name: torch.rand(shape, generator=g, requires_grad=True) for name, shape in shapes.items()}
    table = an.tensor("table", "h", "k")
    requests = [
        an.segment_mass(soft=leaves["mask"]),
        an.value_norm_mass(leaves["norms"]),
        an.received_mass(leaves["rows"]),
        an.row_mean(lambda q, k, h: table[h, k] * (q - k)),
        "probabilities",
    ]
    each = []
    for backend in ("torch", "reference"):
        attn = an.compile(one.pattern, backend=backend)
        found = attn.statistics(q, k, v, requests, table=leaves["table"])
        each.append(torch.autograd.grad(sum(t.square().sum() for t in found.values()), list(leaves.values())))
    for name, a, b in zip(leaves, *each, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5, msg=name)
    p = torch.where(one.live, q @ k.repeat_interleave(2, 1).transpose(-1, -2) * one.factor, -torch.inf).softmax(-1)
    soft = (p * leaves["mask"]).sum(-1)
    (expected,) = torch.autograd.grad(soft.square().sum(), leaves["mask"])
    torch.testing.assert_close(each[0][0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [k for k in Kind if k not in (Kind.ARGMAX, Kind.COUNT, Kind.PULLED)])
def test_the_dense_meaning_has_the_derivative_that_differences_show(kind: Kind) -> None:
    g = torch.Generator().manual_seed(1)
    q, k = (torch.randn(1, 2, 6, 4, generator=g, dtype=torch.float64).requires_grad_() for _ in range(2))
    slopes = torch.rand(2, generator=g, dtype=torch.float64).requires_grad_()
    declared = an.pattern(an.causal() & an.window(3), score=[an.alibi(), an.softcap(3.0)])
    asked = Asked(declared, (Part(kind),))

    def measure(q: Tensor, k: Tensor, slopes: Tensor) -> Tensor:
        bound = declared.signature.bind({"slopes": slopes}, batch=1, heads=2, q_len=6)
        return dense_statistics(asked, bound, q, k, (), 0.5)[0]

    torch.autograd.gradcheck(measure, [q, k, slopes])


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_the_same_from_run_to_run_and_in_any_company(backend: str) -> None:
    one = case("window", q_len=60)
    q, k, v, _, _ = one.tensors(DEVICE[backend])
    attn = executor(backend).attention(one)
    together = attn.statistics(q, k, v, ["row-entropy", "received-mass", "fai"])
    for name in together:
        assert torch.equal(attn.statistics(q, k, v, name)[name], together[name])


def test_other_values_generate_nothing() -> None:
    q = torch.randn(1, 2, 40, 16, device=DEVICE["triton"])
    attn = an.compile(an.causal(), backend="triton")
    keys = torch.arange(40, device=q.device)
    attn.statistics(q, q, q, an.segment_mass(a=keys < 3))
    before = CACHE.info().generated
    attn.statistics(q[:, :, :17], q[:, :, :30], q[:, :, :30], an.segment_mass(b=(keys < 9)[:30]))
    assert CACHE.info().generated == before


def test_through_compile() -> None:
    attn = an.compile(an.causal(), score=[an.alibi(), an.softcap(an.param("cap", dtype=float))])
    q, slopes = torch.randn(1, 2, 20, 16), torch.ones(2, requires_grad=True)
    own = an.row_mean(lambda q, k: an.where(label(q) == label(k), 1.0, 0.0))
    more = {"label": torch.arange(20) % 3, "cap": 4.0}

    def measured(q: Tensor, slopes: Tensor, mask: Tensor) -> Tensor:
        by_name = ["row-entropy", "row-max-prob", "fai", "pair-norm-received"]
        requests = [*by_name, an.segment_mass(x=mask), an.waad(5), own]
        found = attn.statistics(q, q, q, requests, slopes=slopes, **more)
        return torch.stack(list(found.values()))

    compiled = torch.compile(measured, backend="aot_eager", fullgraph=True)
    mask = torch.rand(20)
    torch.testing.assert_close(compiled(q, slopes, mask), measured(q, slopes, mask))
    (found,) = torch.autograd.grad(compiled(q, slopes, mask).square().sum(), slopes)
    (expected,) = torch.autograd.grad(measured(q, slopes, mask).square().sum(), slopes)
    torch.testing.assert_close(found, expected)


def test_what_is_empty() -> None:
    q, k = torch.zeros(1, 1, 3, 8), torch.zeros(1, 1, 0, 8)
    found = an.compile(an.full()).statistics(q, k, k, ["row-entropy", "row-argmax", "received-mass"])
    assert {name: t.tolist() for name, t in found.items()} == {
        "row-entropy": [[[0.0] * 3]],
        "row-argmax": [[[-1] * 3]],
        "received-mass": [[[]]],
    }


def test_parts_read_back() -> None:
    requests = [an.waad(8), "fai", "row-entropy", an.row_mean(lambda q, k: label(q) + 0.5)]
    text = "\n".join(part for s in asked_for(requests) for part in s.parts)
    asked = read_asked(text, an.pattern(an.causal()))
    assert read_asked(asked.text(), asked.pattern) == asked and [f.name for f in asked.fields] == ["label"]


unsorted = an.field("doc")
mean = an.row_mean(lambda q, k: label(q) + 0.0)
table = an.tensor("table", "distance")
WRONG: list[tuple[type[AttnirError], str, Any, dict[str, Any]]] = [
    (StatisticError, "no statistic 'row-entopy'; did you mean row-entropy", "row-entopy", {}),
    (StatisticError, "`row-entropy` is asked for twice", ["row-entropy", "row-entropy"], {}),
    (StatisticError, "`waad` has to be told more: an.waad(width)", "waad", {}),
    (StatisticError, "no statistic is named; take some of row-entropy", [], {}),
    (StatisticError, "not 7", [7], {}),
    (StatisticError, "not <function", [an.waad], {}),
    (StatisticError, "the mask `x`: shape [20] or [1, 20], not [19]", an.segment_mass(x=torch.ones(19)), {}),
    (
        StatisticError,
        "the mask `x`: bool or real numbers in a dense tensor, not torch.int64",
        an.segment_mass(x=torch.arange(20)),
        {},
    ),
    (
        StatisticError,
        "norms: real numbers in a dense tensor, not torch.bool",
        an.value_norm_mass(torch.ones(20) > 0),
        {},
    ),
    (StatisticError, "rows: a tensor of shape [20] or [1, 20] or [1, 2, 20], not list", an.received_mass([1.0]), {}),
    (
        StatisticError,
        "real numbers [1, 2, 20, 16], not torch.float32 [3]",
        an.gradient_received(torch.ones(3)),
        {},
    ),
    (DeviceError, "the mask `x` is on meta", an.segment_mass(x=torch.ones(20, device="meta")), {}),
    (MissingBindingError, "the pattern reads `label`", mean, {}),
    (UnknownBindingError, "`label` given", "row-entropy", {"label": torch.zeros(20, dtype=torch.int32)}),
    (
        DeclarationError,
        "`doc` is one thing in the pattern",
        an.row_mean(lambda q: unsorted(q) + 0.5),
        {"doc": 1},
    ),
]


@pytest.mark.parametrize(("kind", "words", "requests", "given"), WRONG)
def test_what_does_not_fit_is_refused(
    kind: type[AttnirError], words: str, requests: Any, given: dict[str, Any]
) -> None:
    q = torch.randn(1, 2, 20, 16)
    attn = an.compile(PATTERNS["documents"] if "doc" in given else an.causal())
    with pytest.raises(kind, match=re.escape(words)):
        attn.statistics(q, q, q, requests, **given)


def test_what_cannot_be_made_is_refused() -> None:
    for wrong, words in [
        (lambda: an.waad(0), "width is an integer from 1"),
        (lambda: an.fai(3, 2), "high is an integer from 3"),
        (lambda: an.segment_mass(), "has no mask"),
    ]:
        with pytest.raises(StatisticError, match=re.escape(words)):
            wrong()
    with pytest.raises(DeclarationError, match="a weight is a real number over tokens"):
        an.row_mean(lambda q, k: k <= q)


def test_other_weights_than_those_of_softmax_are_refused() -> None:
    q = torch.randn(1, 2, 20, 16)
    for name in ("row-entropy", "row-mean-logit", "row-max-prob", "row-argmax"):
        with pytest.raises(
            StatisticError, match=re.escape(f"`{name}` is of softmax's probabilities; of weights = sig")
        ):
            an.compile(an.causal(), normalize=an.sigmoid).statistics(q, q, q, name)


def test_a_large_matrix_is_refused() -> None:
    q = torch.zeros(1, 1, 4097, 1)
    with pytest.raises(StatisticError, match=re.escape("[1, 1, 4097, 4097] have more than 2**24 entries")):
        an.compile(an.causal()).statistics(q, q, q, "probabilities")


def test_a_gradient_that_no_sum_gives_is_refused() -> None:
    q, given = torch.randn(1, 1, 8, 8), torch.ones(9, requires_grad=True)
    found = an.compile(an.causal()).statistics(q, q, q, an.row_mean(lambda q, k: table[q - k]), table=given)
    with pytest.raises(DerivativeError, match=re.escape("by the tensor `table`, which it reads at `table[q - k]`")):
        found["row-mean"].sum().backward()


def test_there_is_no_second_derivative() -> None:
    q = torch.randn(1, 1, 8, 8, requires_grad=True)
    found = an.compile(an.causal()).statistics(q, q.detach(), q.detach(), "row-entropy")["row-entropy"]
    (slope,) = torch.autograd.grad(found.sum(), q, create_graph=True)
    with pytest.raises(DerivativeError, match="first derivatives only"):
        slope.sum().backward()
