"""Bad input at the call: each kind an error of its own, that says what was given, what was expected, what to do."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.autograd import forward_ad

import attnir as an
from attnir import errors

DOC = an.field("doc", sorted=True)
PACKED = an.compile(an.causal() & an.mask(lambda q, k: DOC(q) == DOC(k)) & an.window(an.param("w", low=0), 0))
CAUSAL = an.compile(an.causal())
BIAS = an.tensor("bias", "k")
BIASED = an.compile(an.causal(), score=an.score(lambda s, k: s + BIAS[k]))


def wrong(value: Any) -> Any:
    """A value of a type that a type checker would not let through."""
    return value


def t(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.zeros(*shape, dtype=dtype)


Q, K = t(1, 2, 8, 16), t(1, 1, 8, 16)
IDS = torch.arange(8)
with warnings.catch_warnings(action="ignore"):  # torch says of nested tensors that they may change
    NESTED = torch.nested.nested_tensor([t(2, 5, 16), t(2, 7, 16)])


def forward_mode(attention: Callable[..., torch.Tensor]) -> torch.Tensor:
    with forward_ad.dual_level():
        return attention(forward_ad.make_dual(Q, Q), K, K)


def in_batches(attention: Callable[..., torch.Tensor]) -> object:
    q = Q.clone().requires_grad_()
    o = attention(q, K, K)
    return torch.autograd.grad(o, q, torch.ones(2, *o.shape), is_grads_batched=True)


def entropy(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return CAUSAL.statistics(q, k, v, ["row-entropy"])["row-entropy"]


def moved_bias(bias: torch.Tensor) -> torch.Tensor:
    return BIASED(Q, K, K, bias=bias).sum()


def forward_mode_of_a_bias(statistics: bool) -> object:
    with forward_ad.dual_level():
        bias = forward_ad.make_dual(torch.zeros(8), torch.ones(8))
        return BIASED.statistics(Q, K, K, ["row-entropy"], bias=bias) if statistics else BIASED(Q, K, K, bias=bias)


CASES: dict[str, tuple[type[Exception], list[str], Callable[[], object]]] = {
    "rank": (errors.ShapeError, ["q has 3 axes", "[2, 8, 16]", "[B, Hq, Sq, D]"], lambda: CAUSAL(t(2, 8, 16), K, K)),
    "not a tensor": (errors.DtypeError, ["v is a tensor", "list"], lambda: CAUSAL(Q, K, wrong([1.0]))),
    "nested": (
        errors.DtypeError,
        ["q is a dense tensor", "nested", "a field"],
        lambda: CAUSAL(NESTED, K, K),
    ),
    "sparse": (
        errors.DtypeError,
        ["k is a dense tensor", "sparse_coo", "to_dense()"],
        lambda: CAUSAL(Q, K.to_sparse(), K),
    ),
    "lists of arrays": (
        errors.DtypeError,
        ["q is a tensor", "ndarray"],
        lambda: an.route.topk_blocks(block=4, k=2).lists(wrong(Q.numpy()), wrong(K.numpy())),
    ),
    "batches": (errors.ShapeError, ["q has 2", "k 1"], lambda: CAUSAL(t(2, 2, 8, 16), K, K)),
    "lengths": (errors.ShapeError, ["k [1, 1, 8, 16]", "v [1, 1, 9, 16]"], lambda: CAUSAL(Q, K, t(1, 1, 9, 16))),
    "widths": (errors.ShapeError, ["q is 16", "k 8"], lambda: CAUSAL(Q, t(1, 1, 8, 8), K)),
    "heads": (
        errors.HeadsError,
        ["3 query heads", "2 key heads"],
        lambda: CAUSAL(t(1, 3, 8, 16), t(1, 2, 8, 16), t(1, 2, 8, 16)),
    ),
    "wide": (errors.WidthError, ["D = 577", "1 to 576"], lambda: CAUSAL(t(1, 1, 8, 577), t(1, 1, 8, 577), K)),
    "dtype": (errors.DtypeError, ["q is torch.float64", "float16"], lambda: CAUSAL(Q.double(), K.double(), K.double())),
    "integers": (errors.DtypeError, ["q is torch.int64"], lambda: CAUSAL(Q.long(), K.long(), K.long())),
    "dtypes": (errors.DtypeError, ["k is torch.float16", "q is torch.float32"], lambda: CAUSAL(Q, K.half(), K)),
    "devices": (errors.DeviceError, ["k is on meta", "q is on cpu"], lambda: CAUSAL(Q, K.to("meta"), K)),
    "stride": (
        errors.StrideError,
        ["last axis of v", ".contiguous()"],
        lambda: CAUSAL(Q, K, t(1, 1, 16, 8).transpose(2, 3)),
    ),
    "q_start": (errors.ShapeError, ["q_start=-1"], lambda: CAUSAL(Q, K, K, q_start=-1)),
    "q_start bool": (errors.ShapeError, ["an integer", "True"], lambda: CAUSAL(Q, K, K, q_start=True)),
    "far": (errors.ShapeError, ["2**28"], lambda: CAUSAL(Q, K, K, q_start=2**28)),
    "scale text": (errors.ScaleError, ["'x'"], lambda: CAUSAL(Q, K, K, scale=wrong("x"))),
    "scale tensor": (errors.ScaleError, ["q * scale"], lambda: CAUSAL(Q, K, K, scale=wrong(torch.ones(())))),
    "scale NaN": (errors.ScaleError, ["nan"], lambda: CAUSAL(Q, K, K, scale=float("nan"))),
    "scale huge": (errors.ScaleError, ["1e+30"], lambda: CAUSAL(Q, K, K, scale=1e30)),
    "scale beyond floats": (errors.ScaleError, ["1e+12"], lambda: CAUSAL(Q, K, K, scale=10**400)),
    "jvp": (errors.DerivativeError, ["jvp", "torch.autograd.grad"], lambda: forward_mode(CAUSAL)),
    "torch.func": (errors.DerivativeError, ["torch.func"], lambda: torch.func.grad(lambda x: CAUSAL(x, K, K).sum())(Q)),
    "vmap": (errors.DerivativeError, ["vmap"], lambda: torch.func.vmap(CAUSAL)(Q[None], K[None], K[None])),
    "jvp of a tensor": (errors.DerivativeError, ["jvp"], lambda: forward_mode_of_a_bias(False)),
    "jvp of statistics": (errors.DerivativeError, ["jvp"], lambda: forward_mode_of_a_bias(True)),
    "torch.func of a tensor": (
        errors.DerivativeError,
        ["torch.func"],
        lambda: torch.func.grad(moved_bias)(torch.zeros(8)),
    ),
    "vmap of a field": (
        errors.DerivativeError,
        ["vmap"],
        lambda: torch.func.vmap(lambda doc: PACKED(Q, K, K, doc=doc, w=1))(IDS[None]),
    ),
    "gradients in batches": (errors.DerivativeError, ["in batches"], lambda: in_batches(CAUSAL)),
    "gradients of statistics in batches": (errors.DerivativeError, ["in batches"], lambda: in_batches(entropy)),
    "missing field": (errors.MissingBindingError, ["`doc`", "doc=..."], lambda: PACKED(Q, K, K, w=3)),
    "missing parameter": (errors.MissingBindingError, ["`w`"], lambda: PACKED(Q, K, K, doc=IDS)),
    "misspelt": (errors.UnknownBindingError, ["`docs`", "`doc`, `w`"], lambda: PACKED(Q, K, K, docs=IDS, doc=IDS, w=1)),
    "none expected": (errors.UnknownBindingError, ["no field and no parameter"], lambda: CAUSAL(Q, K, K, doc=IDS)),
    "field length": (errors.FieldError, ["[9]", "[8]", "`doc`"], lambda: PACKED(Q, K, K, doc=torch.arange(9), w=1)),
    "field dtype": (errors.FieldError, ["`doc`", "float32"], lambda: PACKED(Q, K, K, doc=IDS.float(), w=1)),
    "field list": (errors.FieldError, ["`doc`", "list"], lambda: PACKED(Q, K, K, doc=[0] * 8, w=1)),
    "field device": (errors.DeviceError, ["`doc`", "meta"], lambda: PACKED(Q, K, K, doc=IDS.to("meta"), w=1)),
    "field past keys": (errors.FieldError, ["pair"], lambda: PACKED(Q, K, K, doc=IDS, w=1, q_start=4)),
    "parameter float": (errors.ParamError, ["`w`", "1.5"], lambda: PACKED(Q, K, K, doc=IDS, w=1.5)),
    "parameter range": (errors.ParamError, ["`w` = -1", "[0,"], lambda: PACKED(Q, K, K, doc=IDS, w=-1)),
    "not sorted": (
        errors.NotSortedError,
        ["`doc`", "index 1"],
        lambda: an.compile(PACKED.pattern, check=True)(Q, K, K, doc=IDS.flip(0), w=1),
    ),
    "not sorted, on a CPU": (errors.NotSortedError, ["`doc`"], lambda: PACKED(Q, K, K, doc=IDS.flip(0), w=1)),
    "field not read": (
        errors.DeclarationError,
        ["`doc`", "doc(q)"],
        lambda: an.mask(lambda q, k: (k <= q) & (DOC != 0)),
    ),
    "backend": (
        errors.BackendError,
        ["'cuda'", "triton, torch, reference"],
        lambda: an.compile(an.causal(), backend="cuda"),
    ),
    "config": (errors.ConfigError, ["'fwd'"], lambda: an.compile(an.causal(), config={"fwd": an.Config(64, 64, 4, 2)})),
    "one config": (
        errors.ConfigError,
        ["forward, dq, dkv", "not Config(block_q=64"],
        lambda: an.compile(an.causal(), config=wrong(an.Config(64, 64, 4, 2))),
    ),
    "configs in a list": (
        errors.ConfigError,
        ["not [3]"],
        lambda: an.compile(an.causal(), config=wrong([3])),
    ),
    "config of a list": (
        errors.ConfigError,
        ["'dq' to ['forward']"],
        lambda: an.compile(an.causal(), config=wrong({"dq": ["forward"]})),
    ),
    "no mask": (errors.DeclarationError, ["lambda"], lambda: an.compile(wrong(lambda q, k: q >= k))),
    "kernel name": (errors.ConfigError, ["'fwd'", "forward"], lambda: CAUSAL.source("fwd")),
    "tile": (errors.ConfigError, ["tile", "64"], lambda: CAUSAL.explain(128, tile=wrong(64))),
    "length": (errors.ShapeError, ["q_len", "-3"], lambda: CAUSAL.explain(-3)),
    "length float": (errors.ShapeError, ["q_len", "64.0"], lambda: CAUSAL.explain(wrong(64.0))),
    "length bool": (errors.ShapeError, ["q_len", "True"], lambda: CAUSAL.explain(True)),
    "heads negative": (errors.ShapeError, ["heads", "-2"], lambda: CAUSAL.explain(64, heads=-2)),
    "explained backend": (errors.BackendError, ["'foo'"], lambda: CAUSAL.explain(64, backend="foo")),
    "explained width": (errors.WidthError, ["D = 0"], lambda: CAUSAL.explain(64, d=0)),
    "explained dtype": (errors.DtypeError, ["float64"], lambda: CAUSAL.explain(64, dtype=torch.float64)),
    "source width": (errors.WidthError, ["D = 640"], lambda: CAUSAL.source(d=640)),
    "source dtype": (errors.DtypeError, ["bf16"], lambda: CAUSAL.source(dtype=wrong("bf16"))),
    "tile of 100": (errors.ConfigError, ["block_q = 100", "power of two"], lambda: an.Config(100, 64, 4, 2)),
    "picture of a head": (errors.ShapeError, ["head 3 of 2"], lambda: CAUSAL.plot(64, "x.png", head=3, heads=2)),
    "picture of nothing": (errors.ShapeError, ["0 by 0"], lambda: CAUSAL.plot(0, "x.png")),
    "target": (errors.ConfigError, ["'sm_1'"], lambda: CAUSAL.explain(128, target="sm_1")),
}


@pytest.mark.parametrize("name", CASES)
def test_each_error_names_what_was_given_and_what_to_do(name: str) -> None:
    kind, words, call = CASES[name]
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind, "an error of its own class"
    missing = [w for w in words if w not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"


def test_nothing_is_computed_from_bad_input() -> None:
    """A failing call leaves the counts of kernels as they are."""
    before = an.cache_info()
    for _, _, call in CASES.values():
        with pytest.raises((an.AttnirError, TypeError)):
            call()
    assert an.cache_info() == before


def test_a_parameter_is_a_sink_and_a_count() -> None:
    """It has every operation of Python, a call too, and is no function all the same."""
    q = torch.randn(1, 2, 9, 16)
    sink = an.compile(an.causal(), normalize=an.softmax(sink=an.param("c", dtype=float)))
    fixed = an.compile(an.causal(), normalize=an.softmax(sink=0.5))
    torch.testing.assert_close(sink(q, q, q, c=0.5), fixed(q, q, q))
    counted = an.pattern(an.causal(), score=an.multiplicity(an.param("n", low=1)))
    assert str(counted) == str(an.pattern(an.causal(), score=an.multiplicity(lambda: an.param("n", low=1))))


def test_a_reference_takes_what_a_compiled_attention_takes() -> None:
    q = torch.randn(1, 2, 9, 16)
    for scale in (float("nan"), 1e13, torch.tensor(1.0)):
        for attn in (an.compile(an.causal()), an.reference(an.causal())):
            with pytest.raises(errors.ScaleError):
                attn(q, q, q, scale=scale)
    graph = an.graph(lambda q, k, v: an.attend(an.causal(), q, k, v))
    for said in ({"score": an.softcap(5.0)}, {"normalize": an.sigmoid}, {"heads": an.Heads(k=(0, 0))}):
        for make in (an.compile, an.reference):
            with pytest.raises(errors.GraphError, match=f"{next(iter(said))} stands there"):
                make(graph, **said)
    with pytest.raises(errors.GraphError, match="configurations that the compiler chooses"):
        an.compile(graph, config={"forward": an.Config(64, 64, 4, 1)})
    torch.testing.assert_close(an.compile(graph, score=[], config={})(q, q, q), an.compile(an.causal())(q, q, q))


def test_there_may_be_no_query_heads() -> None:
    q, k = t(1, 0, 8, 16), t(1, 2, 8, 16)
    assert an.reference(an.causal())(q, k, k).shape == CAUSAL(q, k, k).shape == (1, 0, 8, 16)
    for heads in ("each", "group", "all"):
        route = an.route.topk_blocks(block=4, k=1, heads=heads)
        assert an.compile(an.causal(), route=route)(q, k, k).shape == (1, 0, 8, 16)


def test_an_explanation_is_of_a_call_that_can_be_made() -> None:
    attn = an.compile(an.causal(), heads=an.Heads(k=(0, 0, 1, 1)))
    with pytest.raises(errors.HeadsError, match="for 4 query heads, not 8"):
        attn.explain(64, heads=8)
    assert an.compile(an.causal()).explain(64, tile=[16, 16]).tile == (16, 16)


def test_a_pattern_stands_before_a_mask() -> None:
    with pytest.raises(errors.DeclarationError, match="`pattern & mask`"):
        an.causal() & an.pattern(an.causal(), score=an.softcap(5.0))
