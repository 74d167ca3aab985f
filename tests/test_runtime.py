"""The runtime: the operator under torch's own checks, compile, mixed precision, checkpointing; keys and counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch.library import opcheck
from torch.utils.checkpoint import checkpoint

import attnir as an
from attnir.codegen import dispatch
from attnir.codegen.cache import CACHE
from attnir.codegen.gradients import Wanted
from attnir.codegen.operator import attend, attend_backward
from attnir.codegen.plan import read_plan
from attnir.errors import ConfigError, DerivativeError
from attnir.testing.case import Case
from attnir.testing.judge import run

DOC = an.field("doc", sorted=True)
PACKED = an.causal() & an.mask(lambda q, k: DOC(q) == DOC(k)) & an.window(an.param("w"), 0)
BACKENDS = ["torch", "triton", "reference"]


def case(length: int = 70, w: int = 20, **options: object) -> Case:
    ids = torch.arange(length) // 23
    return Case(PACKED, q_len=length, d=16, bindings={"doc": ids, "w": w}, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_operator_passes_opcheck(backend: str) -> None:
    capped = [an.alibi(), an.softcap(an.param("cap", dtype=float))]
    q, k, v, do, dlse = case(length=40).tensors()
    ids, slopes = (torch.arange(40) // 23)[None], an.alibi_slopes(q.shape[1])
    for score, reals, numbers in (((), [], []), (capped, [slopes], [3.0])):
        text = an.compile(PACKED, score=score, backend=backend).text
        rest = ([ids, ids.clone()], [7], numbers, text, 0.25, 0)
        leaves = [t.clone().requires_grad_() for t in (q, k, v)]
        learned = [t.clone().requires_grad_() for t in reals]
        assert set(opcheck(attend, (*leaves, learned, *rest)).values()) == {"SUCCESS"}
        o, lse = attend(q, k, v, reals, *rest)
        tests = ("test_schema", "test_faketensor")
        asked = [True] * len(reals)
        opcheck(attend_backward, (do, dlse, q, k, v, o, lse, reals, *rest, True, True, asked), test_utils=tests)
        opcheck(attend_backward, (do, None, q, k, v, o, lse, reals, *rest, False, True, asked), test_utils=tests)


def test_fullgraph_compile_equals_eager_for_new_lengths_and_parameters() -> None:
    attention = an.compile(PACKED, backend="torch")

    @torch.compile(fullgraph=True, backend="aot_eager")
    def twice(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, ids: torch.Tensor, w: int) -> torch.Tensor:
        o, lse = attention(q, k, v, doc=ids, w=w, return_lse=True)
        o2 = attention(o[:, :1].expand_as(q).contiguous(), k, v, doc=ids, w=w + 1)  # several attentions in one graph
        return o2 + lse[..., None]

    for length, w in ((40, 7), (64, 9), (33, 30)):
        q, k, v, do, _ = case(length=length).tensors()
        ids = torch.arange(length) // 23
        grads = []
        for f in (twice, twice._torchdynamo_orig_callable):
            leaves = [t.detach().requires_grad_() for t in (q, k, v)]
            grads.append(torch.autograd.grad(f(*leaves, ids, w), leaves, do))
        for a, b in zip(*grads, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2), (1, 2)])
def test_only_the_gradients_that_are_needed(backend: str, wanted: tuple[int, ...], monkeypatch: Any) -> None:
    """They equal those of all three; what nobody needs is not computed."""
    attention = an.compile(PACKED, backend=backend)
    q, k, v, do, _ = case(length=40).tensors()
    bindings = {"doc": torch.arange(40) // 23, "w": 7}
    leaves = [t.requires_grad_() for t in (q, k, v)]
    everything = torch.autograd.grad(attention(*leaves, **bindings), leaves, do)
    asked: list[Wanted] = []
    plain = dispatch.backward

    def noted(*args: Any) -> Any:
        asked.append(args[-1])
        return plain(*args)

    monkeypatch.setattr(dispatch, "backward", noted)
    some = [t.detach().requires_grad_(i in wanted) for i, t in enumerate(leaves)]
    found = torch.autograd.grad(attention(*some, **bindings), [some[i] for i in wanted], do)
    for i, g in zip(wanted, found, strict=True):
        assert torch.equal(g, everything[i])
    assert asked == [Wanted(0 in wanted, 1 in wanted or 2 in wanted)]


def test_a_second_derivative_is_an_error_that_says_what_to_do() -> None:
    q, k, v, do, _ = case(length=40).tensors()
    o = an.compile(an.causal())(q.requires_grad_(), k, v)
    (dq,) = torch.autograd.grad(o, q, do, create_graph=True)
    with pytest.raises(DerivativeError, match=r"an\.reference"):
        torch.autograd.grad(dq.sum(), q)


IMAGE, H, W = an.grid(y=7, x=8), an.param("H", low=3), an.param("W", low=3)
PAGE = an.concat(text=6, image=an.grid(y=5, x=9))
POOLED = an.grid(y=8, x=6), an.grid(v=4, u=3)
LENGTHS, TEXT = an.tensor("lengths", "b"), an.mask(lambda q, k: k.in_("text"), grid=PAGE)
ON_SPACES: dict[str, tuple[an.Mask, tuple[int, int], dict[str, object]]] = {
    "a grid": (an.neighborhood(IMAGE, 3), (56, 56), {}),
    "regions": (TEXT | an.neighborhood(PAGE, (3, 5)), (51, 51), {}),
    "some of the queries": (TEXT | an.neighborhood(PAGE, 3), (9, 51), {"q_start": 20}),
    "sizes at run time": (an.neighborhood(an.grid(y=H, x=W), 3), (56, 56), {"H": 7, "W": 8}),
    "numbers at run time": (
        an.neighborhood(IMAGE, an.param("w", low=1), stride=an.param("n", low=1)),
        (56, 56),
        {"w": 3, "n": 2},
    ),
    "two grids": (an.mask(lambda q, k: (q.y // 2 == k.v) | (q.x // 2 == k.u), grid=POOLED), (48, 12), {}),
    "heads and samples": (
        an.per_head([(0, an.neighborhood(IMAGE, 3)), (1, an.causal())]) & an.mask(lambda k, b: k < LENGTHS[b]),
        (56, 56),
        {"lengths": torch.tensor([40])},
    ),
}


@pytest.mark.parametrize("name", ON_SPACES)
def test_fullgraph_compile_on_spaces_equals_eager(name: str) -> None:
    pattern, (q_len, k_len), given = ON_SPACES[name]
    attention = an.compile(pattern, backend="torch")
    whole = torch.compile(lambda q, k, v: attention(q, k, v, **given), fullgraph=True, backend="aot_eager")
    leaves = [t.requires_grad_() for t in Case(pattern, q_len=q_len, k_len=k_len, d=16).tensors()[:3]]
    results = [(o, *torch.autograd.grad(o.sum(), leaves)) for o in (whole(*leaves), attention(*leaves, **given))]
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


def test_one_graph_serves_every_size_of_a_grid() -> None:
    attention = an.compile(an.neighborhood(an.grid(y=H, x=W), 3), backend="torch")
    step = torch.compile(lambda q, h, w: attention(q, q, q, H=h, W=w), fullgraph=True, backend="eager")
    for h, w in ((3, 5), (4, 7), *((5 + i, 6 + 2 * i) for i in range(9))):
        q = torch.randn(1, 2, h * w, 16)
        assert torch.equal(step(q, h, w), attention(q, q, q, H=h, W=w))


def test_one_graph_serves_every_position_and_parameter() -> None:
    """Chunked decoding: more values than torch would compile graphs for."""
    attention = an.compile(an.window(an.param("w"), 0), backend="torch")
    k = torch.randn(1, 2, 300, 16)
    step = torch.compile(lambda q, s, w: attention(q, k, k, q_start=s, w=w), fullgraph=True, backend="eager")
    for s in range(12):
        q = torch.randn(1, 2, 4, 16)
        assert torch.equal(step(q, 7 * s, s + 2), attention(q, k, k, q_start=7 * s, w=s + 2))


def test_one_graph_serves_every_scale_real_parameter_and_width() -> None:
    cap = an.param("cap", dtype=float)
    attention = an.compile(an.causal(), score=an.score(lambda s, q, k: cap * an.tanh(s / cap)), backend="torch")
    counter = CompileCounter()
    step = torch.compile(lambda x, s, c: attention(x, x, x, scale=s, cap=c), fullgraph=True, backend=counter)
    plain = torch.compile(lambda x: attention(x, x, x, cap=2.0), fullgraph=True, backend=counter)
    for i in range(6):
        x = torch.randn(1, 2, 40, 8 + 4 * i)
        given = {"scale": 0.3 + 0.125 * i, "cap": 3.0 + 1.5 * i}
        assert torch.equal(step(x, *given.values()), attention(x, x, x, **given))
        assert torch.equal(plain(x), attention(x, x, x, cap=2.0))
    assert counter.frame_count == 4  # of each, one of the first call and one for all others


def test_a_plan_from_elsewhere_is_checked() -> None:
    text = an.compile(an.causal(), config={"forward": an.Config(64, 64, 4, 2)}).text
    assert read_plan(text).config("forward") == an.Config(64, 64, 4, 2)
    with pytest.raises(ConfigError, match="num_warps"):
        read_plan(text.replace('"num_warps": 4', '"num_warps": "4"'))


def test_mixed_precision_runs_in_the_low_dtype_and_returns_gradients_in_the_leaves_dtype() -> None:
    q, k, v, do, _ = case().tensors()
    leaves = [t.requires_grad_() for t in (q, k, v)]
    with torch.autocast("cpu", torch.bfloat16):
        o = an.compile(PACKED)(*leaves, **case().options())
    assert o.dtype is torch.bfloat16
    grads = torch.autograd.grad(o, leaves, do.bfloat16())
    assert {g.dtype for g in grads} == {torch.float32}


def test_checkpointing_gives_the_same_gradients() -> None:
    attention, c = an.compile(PACKED), case()
    q, k, v, do, _ = c.tensors()
    results = []
    for call in (
        lambda *x: attention(*x, **c.options()),
        lambda *x: checkpoint(attention, *x, use_reentrant=False, **c.options()),
    ):
        leaves = [t.detach().requires_grad_() for t in (q, k, v)]
        results.append(torch.autograd.grad(call(*leaves), leaves, do))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_equal_patterns_are_one_attention() -> None:
    a, b = (an.compile(an.causal() & an.mask(lambda q, k: q - k < 5)) for _ in range(2))
    assert a == b and hash(a) == hash(b)
    assert a != an.compile(an.causal()) and a != an.compile(
        an.causal() & an.mask(lambda q, k: q - k < 5), backend="torch"
    )


def test_one_kernel_serves_all_lengths_windows_and_documents() -> None:
    """Must show 3: 20 lengths, windows as a parameter, new documents; forward and backward generate four sources."""
    attention = an.compile(PACKED & an.mask(lambda q, k: q - k < 1000), backend="triton")
    CACHE.clear()
    before = an.cache_info()
    assert before == (0, 0, 0)
    first = None
    for i in range(20):
        length = 17 + 5 * i
        ids = torch.randint(0, 2, (length,), generator=torch.Generator().manual_seed(i)).cumsum(0)
        c = Case(attention.pattern, q_len=length, heads=1, d=16, bindings={"doc": ids, "w": 3 + i})
        got, ref = run(attention, c), run(an.compile(attention.pattern, backend="reference"), c)
        for name in got:
            torch.testing.assert_close(got[name], ref[name], rtol=1e-4, atol=1e-5)
        first = first or an.cache_info()
    info = an.cache_info()
    print(f"after 1 length: {first}; after 20: {info}")
    assert first is not None and info.generated + info.loaded == first.generated + first.loaded == 4
    assert info.reused == 19 * 4


def test_results_are_deterministic() -> None:
    for backend in ("torch", "triton"):
        results = [run(an.compile(PACKED, backend=backend), case()) for _ in range(2)]
        assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_the_gradient_of_lse_alone_and_of_o_alone() -> None:
    c = case()
    for backend in ("torch", "triton"):
        q, k, v, do, dlse = c.tensors()
        for pick in (0, 1):
            grads = []
            for f in (an.compile(PACKED, backend=backend), an.reference(PACKED)):
                leaves = [t.detach().requires_grad_() for t in (q, k, v)]
                out = f(*leaves, return_lse=True, **c.options())[pick]
                found = torch.autograd.grad(out, leaves, (do, dlse)[pick].to(out.dtype), allow_unused=True)
                grads.append([torch.zeros_like(t) if g is None else g for g, t in zip(found, leaves, strict=True)])
            for a, b in zip(*grads, strict=True):
                torch.testing.assert_close(a, b.to(a.dtype), rtol=1e-4, atol=1e-5)


def test_empty_tensors_give_empty_or_dead_results() -> None:
    attention = an.compile(an.causal(), backend="torch")
    k = v = torch.randn(1, 1, 0, 8, requires_grad=True)
    q = torch.randn(1, 2, 3, 8, requires_grad=True)
    o, lse = attention(q, k, v, return_lse=True)
    assert o.eq(0).all() and lse.eq(-torch.inf).all()
    o.sum().backward()
    assert q.grad is not None and q.grad.eq(0).all()
    assert attention(q[:, :, :0], q[:, :1], q[:, :1]).shape == (1, 2, 0, 8)
