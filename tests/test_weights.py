"""Normalisers, sinks and factors: results and every gradient on each backend, their laws, and what is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor

import attnir as an
from attnir.codegen.cache import CACHE
from attnir.errors import DeclarationError, MissingBindingError, NoLseError, TensorError, TextError
from attnir.philox import two_words
from attnir.testing.case import Case
from attnir.testing.judge import judge, run
from attnir.testing.values import Normal, Values

BACKENDS = ["torch", "triton"]
DEVICE = {"torch": "cpu", "triton": "cuda" if torch.cuda.is_available() else "cpu"}
S, HEADS = 150, 4

SINK, ROWS, LEVEL = an.tensor("sink", "h"), an.tensor("rows", "b", "h", "q"), an.tensor("level", "h")
GAIN, KEEP = an.tensor("gain", "h"), an.tensor("keep", "b", "h", "q", "k")

NORMALIZERS: dict[str, tuple[Any, dict[str, tuple[int, ...]]]] = {
    "softmax": (None, {}),
    "a sink by head": (an.softmax(sink=SINK), {"sink": (HEADS,)}),
    "a sink by row": (an.softmax(sink=ROWS), {"rows": (2, HEADS, S)}),
    "a sink that is computed": (an.softmax(sink=lambda h, q: SINK[h] - 0.01 * q), {"sink": (HEADS,)}),
    "landmarks": (an.softmax(landmarks=64), {}),
    "landmarks and a sink": (an.softmax(sink=SINK, landmarks=32), {"sink": (HEADS,)}),
    "sigmoid": (an.weights(lambda s, h: an.sigmoid(s + LEVEL[h])), {"level": (HEADS,)}),
    "relu2": (an.relu2, {}),
    "linear": (an.weights(lambda s: s), {}),
    "fast": (an.weights(lambda s: 1 + s + s * s / 2, divide=True), {}),
    "exp by hand": (an.weights(lambda s: an.exp(s), divide=True), {}),
    "relu2, divided": (an.weights(lambda s: an.relu2(s), divide=True), {}),
}
FACTORS: dict[str, tuple[Any, dict[str, tuple[int, ...]]]] = {
    "none": ((), {}),
    "dropout": (an.dropout(0.3), {}),
    "heads": (an.factor(lambda k, h: an.where(k < 9, GAIN[h], 1.0)), {"gain": (HEADS,)}),
    "pairs": (an.factor(lambda b, h, q, k: an.sigmoid(KEEP[b, h, q, k])), {"keep": (2, 1, S, S)}),
    "infinite where dead": (an.factor(lambda q, k: 1.0 / (q - k)), {}),
}
SCORES = {"plain": (), "changed": [an.score(lambda s, q, k: s * 0.7 - 0.01 * (q - k)), an.softcap(3.0)]}
MASKS = {
    "causal window": an.causal() & an.window(70, 0),
    "neighbourhood": an.neighborhood(an.grid(y=10, x=15), (5, 7)),
    "documents": an.causal() & an.mask(lambda q, k: an.field("doc", sorted=True)(q) == an.field("doc", sorted=True)(k)),
    "clusters": an.mask(lambda q, k: an.field("cluster")(q) == an.field("cluster")(k)),
    "dead rows": an.mask(lambda q, k: (k < 40) & (q > 9)),
    "the past": an.mask(lambda q, k: k < q),
}


def case(normalize: str, factor: str = "none", mask: str = "causal window", score: str = "plain", **more: Any) -> Case:
    (how, shapes), (times, others) = NORMALIZERS[normalize], FACTORS[factor]
    bindings: dict[str, object] = {
        name: Values(Normal(shape, i), torch.float32) for i, (name, shape) in enumerate({**shapes, **others}.items())
    }
    if factor == "dropout":
        bindings["seed"] = 11
    if mask == "documents":
        bindings["doc"] = torch.arange(S) // 41
    if mask == "clusters":
        bindings["cluster"] = torch.arange(S) * 7 % 4
    declared = an.pattern(MASKS[mask], score=SCORES[score], normalize=how, factor=times)
    tile = (128, declared.weights.landmarks or 128)
    sizes = {"q_len": S, "batch": 2, "heads": HEADS, "kv_heads": 2, "d": 16, "tile": tile}
    return Case(declared, **{**sizes, "bindings": bindings, **more})


def results(backend: str, one: Case) -> dict[str, Tensor]:
    return run(an.compile(one.pattern, backend=backend), one, DEVICE[backend])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("normalize", NORMALIZERS)
def test_results_and_gradients_are_those_of_the_reference(normalize: str, score: str, backend: str) -> None:
    one = case(normalize, score=score)
    judge(results(backend, one), one)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("normalize", ["softmax", "a sink by head", "landmarks", "sigmoid", "fast"])
@pytest.mark.parametrize("factor", ["dropout", "heads", "pairs"])
def test_factors_count_with_values_alone(factor: str, normalize: str, backend: str) -> None:
    one = case(normalize, factor)
    judge(results(backend, one), one)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mask", ["neighbourhood", "documents", "clusters", "dead rows"])
@pytest.mark.parametrize(
    ("normalize", "factor"),
    [
        ("a sink by row", "dropout"),
        ("a sink that is computed", "none"),
        ("landmarks", "heads"),
        ("sigmoid", "heads"),
        ("fast", "dropout"),
    ],
)
def test_under_other_masks_and_layouts(normalize: str, factor: str, mask: str, backend: str) -> None:
    one = case(normalize, factor, mask)
    judge(results(backend, one), one)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("normalize", ["softmax", "landmarks", "relu2", "fast"])
def test_what_is_infinite_on_dead_pairs_does_no_harm(normalize: str, backend: str) -> None:
    one = case(normalize, "infinite where dead", "the past")
    judge(results(backend, one), one)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("normalize", ["a sink by head", "landmarks", "sigmoid", "fast"])
def test_in_half_precision(normalize: str, dtype: torch.dtype, backend: str) -> None:
    one = case(normalize, "heads", dtype=dtype)
    judge(results(backend, one), one, stored=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("normalize", "factor"), [("a sink by head", "heads"), ("sigmoid", "pairs")])
def test_gradients_are_the_same_from_run_to_run(normalize: str, factor: str, backend: str) -> None:
    one = case(normalize, factor)
    first, second = (results(backend, one) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("normalize", NORMALIZERS)
@pytest.mark.parametrize("factor", ["none", "dropout", "heads"])
def test_the_reference_has_the_derivative_that_differences_show(normalize: str, factor: str) -> None:
    (how, shapes), (times, others) = NORMALIZERS[normalize], FACTORS[factor]
    g = torch.Generator().manual_seed(1)
    shapes = {**shapes, **others}
    tensors = [
        torch.randn([{S: 9}.get(n, n) for n in shape], generator=g, dtype=torch.float64) for shape in shapes.values()
    ]
    q, k, v = (torch.randn(2, HEADS, 9, 4, generator=g, dtype=torch.float64) for _ in range(3))
    dense = an.reference(an.causal() & an.window(5, 0), normalize=how, factor=times)
    fixed = {"seed": 3} if factor == "dropout" else {}
    with_lse = an.pattern(an.full(), normalize=how).weights.divided

    def attend(*given: Tensor) -> Tensor:
        q, k, v, *rest = given
        bindings = {**dict(zip(shapes, rest, strict=True)), **fixed}
        if not with_lse:
            return dense(q, k, v, **bindings)
        o, lse = dense(q, k, v, return_lse=True, **bindings)
        return o + torch.where(lse > -torch.inf, lse, 0.0)[..., None]

    torch.autograd.gradcheck(attend, [t.requires_grad_() for t in (q, k, v, *tensors)])


@pytest.mark.parametrize("normalize", NORMALIZERS)
def test_the_dense_backend_has_the_references_gradients(normalize: str) -> None:
    one = case(normalize, "heads", "dead rows", "changed")
    judge(run(an.compile(one.pattern, backend="reference"), one), one)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sink_is_one_more_key_without_a_value(backend: str) -> None:
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 2, 40, 16, generator=g).to(DEVICE[backend]) for _ in range(3))
    sink = torch.tensor([0.5, -torch.inf], device=q.device)
    o, lse = an.compile(an.causal(), normalize=an.softmax(sink=SINK), backend=backend)(
        q, k, v, sink=sink, return_lse=True
    )
    plain, without = an.compile(an.causal(), backend=backend)(q, k, v, return_lse=True)
    torch.testing.assert_close(lse, torch.logaddexp(without, sink[:, None]))
    torch.testing.assert_close(o, plain * torch.sigmoid(without - sink[:, None])[..., None])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_sink_of_minus_infinity_is_no_sink(dtype: torch.dtype, backend: str) -> None:
    """On dead rows as well: nothing gives them an output, or an lse."""
    mask, plain = an.mask(lambda q, k: (k < q) & (q != 20)), Case(an.full(), q_len=40, d=16, dtype=dtype)
    q, k, v, do, _ = plain.tensors(DEVICE[backend])
    sink = torch.full((2,), -torch.inf, device=q.device)
    found = []
    for how, more in ((an.softmax(sink=SINK), {"sink": sink}), (None, {})):
        given = [t.clone().requires_grad_() for t in (q, k, v)]
        o, lse = an.compile(mask, normalize=how, backend=backend)(*given, **more, return_lse=True)
        found.append([o, lse, *torch.autograd.grad(o, given, do)])
    for with_sink, without in zip(*found, strict=True):
        torch.testing.assert_close(with_sink, without, rtol=1e-5, atol=1e-6)
    assert bool((found[0][0][:, :, [0, 20]] == 0).all()) and bool((found[0][1][:, :, [0, 20]] == -torch.inf).all())


@pytest.mark.parametrize("backend", [*BACKENDS, "reference"])
@pytest.mark.parametrize("keys", [0, 20])
def test_a_row_without_a_live_key_has_the_sink_for_its_lse(keys: int, backend: str) -> None:
    q = torch.randn(1, 2, 20, 16, device=DEVICE.get(backend, "cpu"))
    k = q[:, :, :keys]
    sink = torch.tensor([1.5, -0.5], device=q.device, requires_grad=True)
    attn = an.compile(an.mask(lambda q, k: k < 0), normalize=an.softmax(sink=SINK), backend=backend)
    o, lse = attn(q, k, k, sink=sink, return_lse=True)
    assert bool((o == 0).all())
    assert torch.equal(lse, sink.detach()[None, :, None].expand(1, 2, 20))
    (found,) = torch.autograd.grad(lse.sum(), sink)
    assert found.tolist() == [20.0, 20.0]


@pytest.mark.parametrize("backend", [*BACKENDS, "reference"])
def test_weights_that_sum_up_to_nothing_make_a_dead_row(backend: str) -> None:
    attn = an.compile(an.causal(), normalize=an.weights(lambda s: an.relu2(s), divide=True), backend=backend)
    q = torch.ones(1, 1, 8, 16, device=DEVICE.get(backend, "cpu"), requires_grad=True)
    o, lse = attn(q, -q, q, return_lse=True)
    assert bool((o == 0).all()) and bool((lse == -torch.inf).all())
    (found,) = torch.autograd.grad(o.sum(), q)
    assert bool((found == 0).all())


def test_a_divided_exp_is_softmax() -> None:
    q, k, v = torch.randn(3, 1, 2, 50, 16)
    by_hand = an.compile(an.causal(), normalize=an.weights(lambda s: an.exp(s), divide=True))
    for found, expected in zip(
        by_hand(q, k, v, return_lse=True), an.compile(an.causal())(q, k, v, return_lse=True), strict=True
    ):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_dropout_drops_the_same_whatever_the_tiles_and_keeps_the_mean(backend: str) -> None:
    q = torch.zeros(2, 2, 300, 16, device=DEVICE[backend])
    v = torch.eye(300, device=q.device)[None, None, :, :128].expand(2, 2, -1, -1).contiguous()
    declared = an.pattern(an.full(), factor=an.dropout(0.25))
    found = []
    for tile in ((128, 128), (64, 128)) if backend == "triton" else ((64, 64),):
        config = dict.fromkeys(["forward"], an.Config(*tile, 4, 1))
        attn = an.compile(declared, backend=backend, config=config)
        found.append(attn(q, q, v, seed=3) * 300)
    kept = an.reference(declared)(q, q, v, seed=3).float() * 300
    for one in found:
        torch.testing.assert_close(one, kept)
    share = float((kept > 0).float().mean())
    assert abs(share - 0.75) < 0.005
    assert not torch.equal(kept[0], kept[1]) and not torch.equal(kept[:, 0], kept[:, 1])
    assert not torch.equal(kept, an.reference(declared)(q, q, v, seed=4).float() * 300)


def test_several_factors_multiply() -> None:
    q, k, v = torch.randn(3, 1, 2, 20, 16)
    double, first = an.factor(lambda q: 2.0), an.factor(lambda k: an.where(k < 5, 1.0, 0.0))
    both = an.compile(an.pattern(an.causal(), factor=double), factor=first)(q, k, v)
    few = v * (torch.arange(20) < 5)[:, None]
    torch.testing.assert_close(both, 2.0 * an.compile(an.causal())(q, k, few))
    torch.testing.assert_close(both, an.compile(an.causal(), factor=[first, double])(q, k, v))


def test_random_words_are_those_of_the_paper() -> None:
    """Known answers of its authors, for keys and counters of zeros, of ones, and of the digits of pi."""
    pi = 0x13198A2E, 0x243F6A88, 0x85A308D3
    for given, words in (
        ((0, 0, 0), (0xFF1DAE59, 0x6CD10DF2)),
        ((0xFFFFFFFF,) * 3, (0x2C3F628B, 0xAB4FD7AD)),
        (pi, (0xDD7CE038, 0xF62A4C12)),
    ):
        assert tuple(map(int, two_words(*map(torch.tensor, given)))) == words


@pytest.mark.parametrize("backend", BACKENDS)
def test_other_values_generate_nothing(backend: str) -> None:
    rate = an.param("rate", dtype=float)
    attn = an.compile(an.causal(), normalize=an.softmax(sink=SINK), factor=an.dropout(rate), backend=backend)
    q = torch.randn(1, 2, 40, 16, device=DEVICE[backend])
    sink = torch.ones(2, device=q.device)
    first = attn(q, q, q, sink=sink, rate=0.5, seed=1)
    before = CACHE.info().generated
    second = attn(q, q, q, sink=sink * 2, rate=0.25, seed=2)
    assert CACHE.info().generated == before
    assert not torch.equal(first, second)
    dense = an.reference(attn.pattern)(q, q, q, sink=sink * 2, rate=0.25, seed=2)
    torch.testing.assert_close(second.double(), dense, rtol=1e-5, atol=1e-5)


def test_through_compile() -> None:
    sunk = an.compile(an.causal(), normalize=an.softmax(sink=SINK), factor=an.dropout(0.5))
    gated = an.compile(an.causal(), normalize=an.sigmoid)
    q, sink = torch.randn(1, 2, 20, 16), torch.ones(2, requires_grad=True)

    def call(q: Tensor, sink: Tensor) -> Tensor:
        return sunk(q, q, q, sink=sink, seed=7) + gated(q, q, q)

    compiled = torch.compile(call, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(q, sink), call(q, sink))
    (found,) = torch.autograd.grad(compiled(q, sink).square().sum(), sink)
    (expected,) = torch.autograd.grad(call(q, sink).square().sum(), sink)
    torch.testing.assert_close(found, expected)


def test_kernels_hold_only_what_they_use() -> None:
    plain, sunk = (an.compile(an.causal(), normalize=n) for n in (None, an.softmax(sink=SINK)))
    for kind in ("dq", "dkv"):
        assert plain.source(kind) == sunk.source(kind), "lse holds all that a backward has to know of a sink"
    gated = an.compile(an.causal(), normalize=an.sigmoid)
    assert not re.search(r"\blse\b|\bm\b|rescale|tl\.max\(", gated.source("forward"))
    assert not re.search(r"\blse\b|delta", gated.source("dq") + gated.source("dkv"))
    assert not re.search(r"random|counted|sink", "".join(map(plain.source, ("forward", "dq", "dkv"))))


TEXTS = [
    "sink = tensor(h, dtype=float); k <= q; weights = softmax(sink[h])",
    "k <= q; weights = softmax(float(q) * 0.5)",
    "k <= q; weights = sigmoid(s)",
    "k <= q; score = s * 2.0; weights = normalized(1.0 + s * s)",
    "seed = param(); k <= q; factor = where(random(seed, b, h, q, k) >= 0.5, 2.0, 0.0)",
    "k <= q; score = s * 2.0; weights = max(s, 0.0); factor = float(k)",
    "weights = field(); weights(k) == 0; weights = s",
]


@pytest.mark.parametrize("text", TEXTS)
def test_texts_read_back(text: str) -> None:
    assert str(an.parse(text)) == text


def test_what_stands_behind_the_predicate_has_no_order() -> None:
    text = "k <= q; factor = float(k); score = s * 2.0; weights = sigmoid(s)"
    assert str(an.parse(text)) == "k <= q; score = s * 2.0; weights = sigmoid(s); factor = float(k)"


def test_a_text_may_draw_with_fewer_counters() -> None:
    assert an.parse("True; factor = random(3, k)") == an.parse("True; factor = random(3, k, 0, 0, 0)")


SAID: list[tuple[str, str]] = [
    ("k <= q; weights = softmax(float(k))", "a sink is a number for each row"),
    ("k <= q; weights = softmax(s)", "a sink is a number for each row"),
    ("k <= q; factor = s * 2.0", "a factor is a number over tokens"),
    ("k <= q; weights = k < q", "a weight is a number"),
    ("k <= q; factor = 1.0; factor = 2.0", "before the last `;`"),
]


@pytest.mark.parametrize(("text", "words"), SAID)
def test_texts_that_say_no_weights_are_refused(text: str, words: str) -> None:
    with pytest.raises(TextError, match=re.escape(words)):
        an.parse(text)


def test_wrong_declarations_are_refused() -> None:
    for words, declare in (
        ("give normalize= once", lambda: an.pattern(an.pattern(an.causal(), normalize=an.relu2), normalize=an.relu2)),
        ("not 'softmax'", lambda: an.compile(an.causal(), normalize="softmax")),  # type: ignore[arg-type]  # a wrong type is tried
        ("a weight is a real number over s and tokens", lambda: an.weights(lambda s: s > 0)),
        ("are among b, h and q", lambda: an.softmax(sink=an.tensor("z", "k"))),
        ("a sink is a number for each row", lambda: an.softmax(sink=lambda k: 1.0 * k)),
        ("a rate of dropout", lambda: an.dropout(1.0)),
        ("a rate of dropout", lambda: an.dropout(-0.1)),
        ("factors are what an.factor", lambda: an.pattern(an.causal(), factor=0.5)),  # type: ignore[arg-type]  # a wrong type is tried
        ("at most 4 counters", lambda: an.factor(lambda q: an.random(0, q, q, q, q, q))),
    ):
        with pytest.raises(DeclarationError, match=re.escape(words)):
            declare()


def test_weights_without_a_sum_have_no_lse() -> None:
    q = torch.randn(1, 1, 8, 16)
    for call in (an.compile(an.causal(), normalize=an.sigmoid), an.reference(an.causal(), normalize=an.sigmoid)):
        with pytest.raises(NoLseError, match="have no lse"):
            call(q, q, q, return_lse=True)


def test_a_sink_that_does_not_fit_is_refused() -> None:
    q = torch.randn(1, 2, 8, 16)
    attn = an.compile(an.causal(), normalize=an.softmax(sink=SINK))
    with pytest.raises(MissingBindingError, match="reads `sink`"):
        attn(q, q, q)
    with pytest.raises(TensorError, match="there are 2"):
        attn(q, q, q, sink=torch.ones(3))
