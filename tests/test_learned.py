"""Tensors that scores read: their gradients on every backend, run-time numbers, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import attnir as an
from attnir.codegen.cache import CACHE
from attnir.codegen.triton.launch import launches_of
from attnir.codegen.triton.learned import LearnedSums
from attnir.codegen.triton.metadata import metadata
from attnir.errors import DeviceError, MissingBindingError, ParamError, TensorError
from attnir.testing.case import Case
from attnir.testing.judge import judge, run
from attnir.testing.values import Normal, Values

BACKENDS = ["torch", "triton"]
DEVICE = {"torch": "cpu", "triton": "cuda" if torch.cuda.is_available() else "cpu"}
S, HEADS = 150, 4

SLOPES, GATE, TABLE = an.tensor("slopes", "h"), an.tensor("gate"), an.tensor("table", "h", "distance")
BIAS, TIME, ROWS = an.tensor("bias", "b", "h", "q", "k"), an.tensor("time", "b", "k"), an.tensor("rows", "b", "h", "q")

# What is read, by what its index depends on; and twice, in one score and in two.
READS: dict[str, tuple[Any, dict[str, tuple[int, ...]]]] = {
    "a head": (an.score(lambda s, q, k, h: s - SLOPES[h] * (q - k)), {"slopes": (HEADS,)}),
    "nothing": (an.score(lambda s: s * GATE[()]), {"gate": ()}),
    "a row": (an.score(lambda s, b, h, q: s * ROWS[b, h, q]), {"rows": (2, HEADS, S)}),
    "a column": (an.score(lambda s, b, k: s + TIME[b, k]), {"time": (2, S)}),
    "a clipped distance": (an.score(lambda s, q, k, h: s + TABLE[h, an.clip(q - k, 0, 40)]), {"table": (HEADS, 41)}),
    "a distance, where there is one": (an.score(lambda s, q, k, h: s + TABLE[h, q - k]), {"table": (HEADS, 20)}),
    "a pair": (an.score(lambda s, b, h, q, k: s + BIAS[b, h, q, k]), {"bias": (2, HEADS, S, S)}),
    "a pair, for all samples": (an.score(lambda s, b, h, q, k: s + BIAS[b, h, q, k]), {"bias": (1, 1, S, S)}),
    "a row and a column": (an.score(lambda s, b, q, k: s - abs(TIME[b, q] - TIME[b, k])), {"time": (1, S)}),
    "a head, behind a cap": (
        [an.score(lambda s, q, k, h: s - SLOPES[h] * (q - k)), an.softcap(3.0)],
        {"slopes": (HEADS,)},
    ),
    "a divisor": (an.score(lambda s, h: s / (0.5 + an.exp(SLOPES[h]))), {"slopes": (HEADS,)}),
    "two places": (
        an.score(lambda s, q, k, h: s * an.sigmoid(TABLE[h, 0]) + TABLE[h, an.clip(q - k, 0, 9)]),
        {"table": (HEADS, 10)},
    ),
}
MASKS = {
    "causal window": an.causal() & an.window(70, 0),
    "neighbourhood": an.neighborhood(an.grid(y=10, x=15), (5, 7)),
    "dead rows": an.mask(lambda q, k: (k < 40) & (q > 9)),
}


def case(reads: str, mask: str, **more: Any) -> Case:
    score, shapes = READS[reads]
    bindings = {name: Values(Normal(shape, i), torch.float32) for i, (name, shape) in enumerate(shapes.items())}
    sizes = {"q_len": S, "batch": 2, "heads": HEADS, "kv_heads": 2, "d": 16, "tile": (128, 128)}
    return Case(an.pattern(MASKS[mask], score=score), **{**sizes, "bindings": bindings, **more})


def results(backend: str, one: Case) -> dict[str, Tensor]:
    return run(an.compile(one.pattern, backend=backend), one, DEVICE[backend])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reads", READS)
def test_gradients_are_those_of_the_reference(reads: str, backend: str) -> None:
    one = case(reads, "causal window")
    judge(results(backend, one), one)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mask", ["neighbourhood", "dead rows"])
@pytest.mark.parametrize("reads", ["a head", "a column", "a pair, for all samples", "two places"])
def test_under_other_masks_and_layouts(reads: str, mask: str, backend: str) -> None:
    one = case(reads, mask)
    judge(results(backend, one), one)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_half_precision(dtype: torch.dtype, backend: str) -> None:
    one = case("a head, behind a cap", "causal window", dtype=dtype)
    judge(results(backend, one), one, stored=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reads", ["a head", "a clipped distance", "a divisor"])
def test_gradients_are_the_same_from_run_to_run(reads: str, backend: str) -> None:
    one = case(reads, "causal window", batch=1)
    first, second = (results(backend, one) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_sums_do_not_depend_on_the_tiles() -> None:
    """What a GPU does in any order: the sums of whole units are the same."""
    one = case("a clipped distance", "causal window", batch=1)
    found = []
    for tile in ((128, 128), (64, 128)):
        attention = an.compile(one.pattern, backend="triton", config=dict.fromkeys(["dq"], an.Config(*tile, 4, 1)))
        found.append(run(attention, one, DEVICE["triton"])["d table"])
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("reads", READS)
def test_the_reference_has_the_derivative_that_differences_show(reads: str) -> None:
    score, shapes = READS[reads]
    g = torch.Generator().manual_seed(1)
    sizes = {S: 9}
    tensors = [
        torch.randn([sizes.get(n, n) for n in shape], generator=g, dtype=torch.float64) for shape in shapes.values()
    ]
    q, k, v = (torch.randn(2, HEADS, 9, 4, generator=g, dtype=torch.float64) for _ in range(3))
    dense = an.reference(an.causal() & an.window(5, 0), score=score)

    def attend(*given: Tensor) -> Tensor:
        q, k, v, *rest = given
        o, lse = dense(q, k, v, return_lse=True, **dict(zip(shapes, rest, strict=True)))
        return o + lse[..., None]

    torch.autograd.gradcheck(attend, [t.requires_grad_() for t in (q, k, v, *tensors)])


@pytest.mark.parametrize("backend", BACKENDS)
def test_other_values_generate_nothing(backend: str) -> None:
    cap = an.param("cap", dtype=float)
    attn = an.compile(an.causal(), score=[an.alibi(), an.softcap(cap)], backend=backend)
    q = torch.randn(1, 2, 40, 16, device=DEVICE[backend])
    slopes = torch.ones(2, device=q.device)
    first = attn(q, q, q, slopes=slopes, cap=2.0)
    before = CACHE.info().generated
    second = attn(q, q, q, slopes=slopes * 3, cap=20.0)
    assert CACHE.info().generated == before
    assert not torch.equal(first, second)
    dense = an.reference(attn.pattern)(q, q, q, slopes=slopes * 3, cap=20.0)
    torch.testing.assert_close(second.double(), dense, rtol=1e-5, atol=1e-5)


def test_a_tensor_without_a_gradient_gets_none() -> None:
    attn = an.compile(an.causal(), score=an.alibi())
    q, slopes = torch.randn(1, 2, 20, 16, requires_grad=True), torch.ones(2)
    attn(q, q, q, slopes=slopes).sum().backward()
    assert slopes.grad is None and q.grad is not None


def test_a_learned_tensor_alone() -> None:
    attn = an.compile(an.causal(), score=an.alibi())
    q, slopes = torch.randn(1, 2, 20, 16), torch.ones(2, requires_grad=True)
    attn(q, q, q, slopes=slopes).square().sum().backward()
    assert slopes.grad is not None and bool((slopes.grad != 0).all())


def test_it_trains() -> None:
    """A table learns that the key before the query is the one that counts."""
    torch.manual_seed(0)
    attn = an.compile(an.causal(), score=an.relative_bias(15, causal=True))
    bias = torch.zeros(1, 16, requires_grad=True)
    optimizer = torch.optim.Adam([bias], lr=0.3)
    for _ in range(40):
        v = torch.randn(2, 1, 64, 8)
        q = torch.zeros(2, 1, 64, 8)
        loss = (attn(q, q, v, bias=bias)[:, :, 1:] - v[:, :, :-1]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert int(bias.argmax()) == 1 and float((bias[0, 1] - bias[0, 2]).detach()) > 2.0


def test_through_compile_and_export() -> None:
    attn = an.compile(an.causal(), score=[an.alibi(), an.softcap(an.param("cap", dtype=float))])
    q, slopes = torch.randn(1, 2, 20, 16), torch.ones(2, requires_grad=True)

    def call(q: Tensor, slopes: Tensor) -> Tensor:
        return attn(q, q, q, slopes=slopes, cap=4.0)

    compiled = torch.compile(call, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(q, slopes), call(q, slopes))
    (found,) = torch.autograd.grad(compiled(q, slopes).square().sum(), slopes)
    (expected,) = torch.autograd.grad(call(q, slopes).square().sum(), slopes)
    torch.testing.assert_close(found, expected)


WRONG: list[tuple[type[Exception], str, dict[str, object]]] = [
    (MissingBindingError, "reads `slopes`", {}),
    (TensorError, "has 3 query heads along its axis `h`; there are 2", {"slopes": torch.ones(3)}),
    (TensorError, "has axes [h], but shape [2, 1]", {"slopes": torch.ones(2, 1)}),
    (TensorError, "real numbers in a score, not torch.int64", {"slopes": torch.ones(2, dtype=torch.int64)}),
    (TensorError, "not torch.complex64", {"slopes": torch.ones(2, dtype=torch.complex64)}),
    (TensorError, "not list", {"slopes": [1.0, 1.0]}),
    (TensorError, "torch.sparse_coo", {"slopes": torch.ones(2).to_sparse()}),
    (DeviceError, "is on meta", {"slopes": torch.ones(2, device="meta")}),
]


@pytest.mark.parametrize(("kind", "words", "given"), WRONG)
def test_tensors_that_do_not_fit_are_refused(kind: type[Exception], words: str, given: dict[str, object]) -> None:
    q = torch.randn(1, 2, 20, 16)
    with pytest.raises(kind, match=re.escape(words)):
        an.compile(an.causal(), score=an.alibi())(q, q, q, **given)


@pytest.mark.parametrize(
    "value",
    [True, "3", None, float("nan"), float("inf"), 1e300, pytest.param(-(10**400), id="no float"), torch.tensor(3.0)],
)
def test_numbers_that_are_none_are_refused(value: object) -> None:
    q = torch.randn(1, 2, 20, 16)
    with pytest.raises(ParamError, match="finite real number of at most 1e12"):
        an.compile(an.causal(), score=an.softcap(an.param("cap", dtype=float)))(q, q, q, cap=value)


def test_an_empty_axis_is_refused() -> None:
    q = torch.randn(1, 2, 20, 16)
    with pytest.raises(TensorError, match="empty along its axis `distance`"):
        an.compile(an.causal(), score=an.relative_bias(3))(q, q, q, bias=torch.ones(2, 0))


def test_what_an_index_leaves_is_zero() -> None:
    t = an.tensor("t", "n")
    pattern = an.pattern(an.full(), score=an.score(lambda s, q, k: 0.0 * s + t[q - k]))
    q = torch.zeros(1, 1, 4, 16)
    for backend in ("torch", "reference"):
        found = an.compile(pattern, backend=backend)(q, q, torch.eye(4).view(1, 1, 4, 4), t=torch.tensor([5.0, 3.0]))
        scores = torch.tensor([[5.0, 0, 0, 0], [3, 5, 0, 0], [0, 3, 5, 0], [0, 0, 3, 5]])
        torch.testing.assert_close(found[0, 0], scores.softmax(-1))


@pytest.mark.parametrize("backend", [*BACKENDS, "reference"])
def test_an_axis_of_one_is_as_long_as_the_others_would_be(backend: str) -> None:
    """Where an index leaves what the call says there is, there is nothing, whether the tensor repeats itself or not."""
    t = an.tensor("t", "b", "h", "k")
    attn = an.compile(an.full(), score=an.score(lambda s, b, h, q, k: s + t[b, h, k - q]), backend=backend)
    q = torch.randn(2, 2, 9, 16, device=DEVICE.get(backend, "cpu"))
    one, every = torch.full((1, 1, 1), 2.0, device=q.device), torch.full((2, 2, 9), 2.0, device=q.device)
    torch.testing.assert_close(attn(q, q, q, t=one), attn(q, q, q, t=every))


def test_what_is_read_often_has_room_for_all_of_it() -> None:
    call = an.causal().signature.bind({}, batch=1, heads=1, q_len=4, k_len=4)
    call = replace(call, reals={"gate": torch.zeros(())})
    lse = torch.zeros(1, 1, 4)
    score = an.pattern(an.causal(), score=an.score(lambda s: s * GATE[()])).score
    factor = an.pattern(an.causal(), factor=an.factor(lambda: GATE[()])).weights.factor
    once, often = (
        LearnedSums.measured(call, ["gate"], roots, lse, lambda sums: sums.units["gate"].fill_(3.0))
        for roots in ((score,), (score, factor, factor, factor, factor))
    )
    assert 4 * float(often.units["gate"]) <= float(once.units["gate"])


def test_a_long_stride_of_one_entry_is_none() -> None:
    """Slices keep the strides of what they are taken from, which may leave 32 bits."""
    table = torch.zeros(1, 8).as_strided((1, 8), (2**31, 1))
    bias = an.tensor("bias", "part", "k")
    attn = an.compile(an.causal(), score=an.score(lambda s, k: s + bias[0, k]), backend="triton")
    call = attn.signature.bind({"bias": table}, batch=1, heads=1, q_len=8, k_len=8)
    values = metadata(launches_of(attn.plan, "forward", an.Config(16, 16, 4, 1))[0], call)
    assert (values["real_bias_0"], values["real_bias_1"]) == (0, 1)
    x = torch.randn(1, 1, 8, 16)
    torch.testing.assert_close(attn(x, x, x, bias=table), an.compile(an.causal())(x, x, x))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_score_may_be_random(backend: str) -> None:
    declared = an.pattern(an.causal(), score=an.score(lambda s, q, k, h: s + GATE[()] * an.random(3, h, q, k)))
    case = Case(declared, q_len=40, d=16, bindings={"gate": torch.tensor(0.5)})
    judge(run(an.compile(declared, backend=backend), case), case)
