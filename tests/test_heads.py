"""Head maps: keys and values that query heads share in different groups, results and gradients on each backend."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import attnir as an
from attnir.codegen.plan import Plan, read_plan
from attnir.errors import HeadsError
from attnir.testing.case import Case
from attnir.testing.judge import judge, run
from attnir.testing.values import Normal, Values

BACKENDS = ["torch", "triton"]
DEVICE = {"torch": "cpu", "triton": "cuda" if torch.cuda.is_available() else "cpu"}
S = 90

DOC = an.field("doc", sorted=True)
TABLE = an.tensor("table", "h", "q", "k")

MAPS = {
    "different groups": (an.Heads(k=(0, 0, 1, 1), v=(0, 0, 0, 0)), 2, 1),
    "across": (an.Heads(k=(0, 0, 1, 1), v=(0, 1, 0, 1)), 2, 2),
    "repeated and permuted": (an.Heads(k=(2, 0, 0, 1), v=(1, 1, 0, 1)), 3, 2),
    "unused": (an.Heads(k=(3, 3, 1, 1), v=(0, 2, 2, 0)), 5, 4),
}
PATTERNS: dict[str, tuple[an.Pattern, dict[str, object]]] = {
    "causal": (an.pattern(an.causal()), {}),
    "documents": (
        an.pattern(an.causal() & an.mask(lambda q, k: DOC(q) == DOC(k))),
        {"doc": torch.arange(S) // 25},
    ),
    "grid": (an.pattern(an.neighborhood(an.grid(y=9, x=10), (3, 5))), {}),
    "table": (
        an.pattern(an.causal(), score=an.score(lambda s, h, q, k: s + TABLE[h, q, k])),
        {"table": Values(Normal((4, S, S), 0), torch.float32)},
    ),
}


def case(maps: str = "repeated and permuted", pattern: str = "causal", **more: Any) -> Case:
    (given, k_heads, v_heads), (declared, bindings) = MAPS[maps], PATTERNS[pattern]
    sizes = {"q_len": S, "heads": 4, "kv_heads": k_heads, "v_heads": v_heads, "maps": given}
    return Case(declared, **{**sizes, "d": 16, "dv": 32, "tile": (64, 64), "bindings": bindings, **more})


def results(backend: str, one: Case) -> dict[str, Tensor]:
    return run(an.compile(one.pattern, backend=backend, heads=one.maps), one, DEVICE[backend])


@pytest.mark.parametrize("backend", [*BACKENDS, "reference"])
@pytest.mark.parametrize("maps", MAPS)
def test_results_and_gradients_are_those_of_the_reference(maps: str, backend: str) -> None:
    one = case(maps)
    judge(run(an.compile(one.pattern, backend=backend, heads=one.maps), one, DEVICE.get(backend, "cpu")), one)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("pattern", [name for name in PATTERNS if name != "causal"])
def test_under_other_masks_and_scores(pattern: str, backend: str) -> None:
    one = case(pattern=pattern)
    judge(results(backend, one), one)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_half_precision(dtype: torch.dtype, backend: str) -> None:
    one = case(dtype=dtype)
    judge(results(backend, one), one, stored=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layout", ["bshd", "padded"])
def test_however_they_lie_in_memory(layout: str, backend: str) -> None:
    one = case("unused", batch=2, layout=layout, d=12, q_len=40, k_len=61)
    judge(results(backend, one), one)


@pytest.mark.parametrize("backend", BACKENDS)
def test_groups_of_two_sizes_need_no_maps(backend: str) -> None:
    one = replace(case("different groups"), maps=None)
    found = results(backend, one)
    judge(found, one)
    said = results(backend, case("different groups"))
    assert all(torch.equal(found[name], said[name]) for name in found)


@pytest.mark.parametrize("backend", BACKENDS)
def test_maps_that_say_contiguous_groups_are_those(backend: str) -> None:
    one = replace(case("across"), maps=an.Heads.groups(4, 2, 2))
    found, plain = results(backend, one), results(backend, replace(one, maps=None))
    assert all(torch.equal(found[name], plain[name]) for name in found)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_no_query_head_has_gets_no_gradient_and_is_not_read(backend: str) -> None:
    one = case("unused")
    q, k, v, *_ = one.tensors(DEVICE[backend])
    k[:, [0, 2, 4]], v[:, [1, 3]] = torch.nan, torch.nan
    leaves = [t.requires_grad_() for t in (q, k, v)]
    o = an.compile(one.pattern, backend=backend, heads=one.maps)(*leaves)
    assert bool(torch.isfinite(o).all())
    dq, dk, dv = torch.autograd.grad(o.sum(), leaves)
    assert bool(torch.isfinite(dq).all())
    assert bool((dk[:, [0, 2, 4]] == 0).all()) and bool((dv[:, [1, 3]] == 0).all())
    assert bool((dk[:, [1, 3]] != 0).any()) and bool((dv[:, [0, 2]] != 0).any())


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_are_the_same_from_run_to_run(backend: str) -> None:
    first, second = (results(backend, case(pattern="table")) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_permutation_of_heads_is_one_of_the_tensors(backend: str) -> None:
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, 40, 16, generator=g).to(DEVICE[backend]) for _ in range(3))
    mapped = an.compile(an.causal(), backend=backend, heads=an.Heads(k=[2, 0, 1], v=[1, 2, 0]))(q, k, v)
    moved = an.compile(an.causal(), backend=backend)(q, k[:, [2, 0, 1]], v[:, [1, 2, 0]])
    torch.testing.assert_close(mapped, moved, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_statistics_follow_them(backend: str) -> None:
    one = case("across")
    q, k, v, *_ = one.tensors(DEVICE[backend])
    names = ["row-entropy", "received-mass", "value-norm-mass"]
    mapped = an.compile(an.causal(), backend=backend, heads=one.maps).statistics(q, k, v, names)
    assert one.maps is not None
    spread = k[:, list(one.maps.k)], v[:, list(one.maps.v)]
    plain = an.compile(an.causal(), backend=backend).statistics(q, *spread, names)
    for name in names:
        torch.testing.assert_close(mapped[name], plain[name])


def test_through_compile_and_export() -> None:
    attn = an.compile(an.causal(), heads=an.Heads(k=(0, 0, 1, 1), v=(0, 1, 0, 1)))
    q, k, v = torch.randn(1, 4, 20, 16), torch.randn(1, 2, 20, 16), torch.randn(1, 2, 20, 8)

    class Layer(torch.nn.Module):
        def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return attn(q, k, v) * 2

    compiled = torch.compile(Layer(), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(q, k, v), attn(q, k, v) * 2)
    exported = torch.export.export(Layer(), (q, k, v)).module()
    torch.testing.assert_close(exported(q, k, v), attn(q, k, v) * 2)


def test_they_belong_to_the_plan() -> None:
    maps = an.Heads(k=(0, 0, 1, 1), v=(0, 1, 0, 1))
    plain, mapped = an.compile(an.causal()), an.compile(an.causal(), heads=maps)
    assert plain != mapped and mapped == an.compile(an.causal(), heads=an.Heads(k=[0, 0, 1, 1], v=[0, 1, 0, 1]))
    assert len({mapped, an.compile(an.causal(), heads=maps), plain}) == 2
    assert read_plan(mapped.text) == mapped.plan == Plan(an.pattern(an.causal()), heads=maps)


def test_kernels_without_maps_know_nothing_of_them() -> None:
    plain, mapped = (an.compile(an.causal(), heads=heads) for heads in (None, an.Heads(k=(1, 0), v=(0, 1))))
    for kind in ("forward", "dq", "dkv"):
        assert not re.search("key_head|value_head|k64|v64", plain.source(kind).replace("kv64", ""))
        assert "tl.load(key_head + h)" in mapped.source(kind) and "group" not in mapped.source(kind)
    assert plain.source("delta") == mapped.source("delta")


def t(heads: int, width: int = 16) -> Tensor:
    return torch.randn(1, heads, 8, width)


@pytest.mark.parametrize(
    ("words", "call"),
    [
        ("the map of k is for 2 query heads, that of v for 3", lambda: an.Heads(k=(0, 1), v=(0, 1, 0))),
        ("the map of v has the entry -1", lambda: an.Heads(k=(0, 1), v=(0, -1))),
        ("the index of its head of k", lambda: an.Heads(k=(0.0, 1.0), v=(0, 1))),  # type: ignore[arg-type]  # a wrong type is tried
        ("the index of its head of v", lambda: an.Heads(k=(0, 1), v=2)),  # type: ignore[arg-type]  # a wrong type is tried
        ("is for 0 query heads", lambda: an.Heads(k=(), v=())),
        ("it is not (0, 1)", lambda: an.compile(an.causal(), heads=(0, 1))),  # type: ignore[arg-type]  # a wrong type is tried
        ("it is not 3", lambda: an.reference(an.causal(), heads=3)),  # type: ignore[arg-type]  # a wrong type is tried
        (
            "has masks for 2 query heads, the maps are for 3",
            lambda: an.compile(
                an.per_head([(0, an.causal()), (1, an.full())]), heads=an.Heads(k=(0, 0, 0), v=(0, 0, 0))
            ),
        ),
    ],
)
def test_maps_that_cannot_be_are_refused(words: str, call: Callable[[], object]) -> None:
    with pytest.raises(HeadsError, match=re.escape(words)):
        call()


@pytest.mark.parametrize(
    ("words", "sizes"),
    [
        ("the maps are for 4 query heads, but q has 3", (3, 2, 2)),
        ("the map of k names head 1, but k has 1", (4, 1, 2)),
        ("the map of v names head 1, but v has 1", (4, 2, 1)),
    ],
)
def test_tensors_that_do_not_fit_them_are_refused(words: str, sizes: tuple[int, int, int]) -> None:
    q, k, v = map(t, sizes)
    for make in (an.compile, an.reference):
        with pytest.raises(HeadsError, match=re.escape(words)):
            make(an.causal(), heads=an.Heads(k=(0, 0, 1, 1), v=(0, 1, 0, 1)))(q, k, v)


def test_heads_that_are_no_groups_are_refused() -> None:
    with pytest.raises(HeadsError, match="4 query heads are no multiple of 3 value heads"):
        an.compile(an.causal())(t(4), t(2), t(3))


def test_random_calls_of_them_are_verified() -> None:
    attn = an.compile(an.causal() & an.window(9, 0), backend="torch", heads=an.Heads(k=(0, 0, 2), v=(1, 0, 1)))
    assert attn.certificate(cases=4).checks["numbers"] == 4
    assert attn.explain(64).live_pairs == 3 * an.compile(an.causal() & an.window(9, 0)).explain(64).live_pairs
