"""Patterns that take a layout of their own, on every executor: numbers, exact counts, and no leaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

import attnir as an
from attnir.codegen.cache import CACHE
from attnir.codegen.plan import CONFIGURED, Plan
from attnir.testing.case import Case
from attnir.testing.judge import judge, run
from tests.checks import check
from tests.layouts import disc, every
from tests.test_axes import BACKENDS, DEVICE
from tests.test_probes import probe_counts

H, W = an.param("H", low=1), an.param("W", low=1)
KV_LEN, LABEL = an.tensor("kv_len", "b"), an.field("label")
IMAGE, VIDEO, LINE = an.grid(y=10, x=12), an.grid(t=4, y=8, x=8), an.grid(x=120)
SIZED = an.grid(y=H, x=W)
PAGE = an.concat(text=20, image=SIZED)
POOLED = an.grid(y=H, x=W), an.grid(v=6, u=5)
DILATED = an.window(60, 0) & every(4)

# Small tiles, so that few tokens are many tiles: what is taken is a layout, forward and transposed.
SMALL = dict.fromkeys(CONFIGURED, an.Config(32, 32, 4, 1))
FEW = {"heads": 1, "d": 16}
SIZES = {"H": 10, "W": 12}

CASES = {
    "dilated": Case(DILATED, q_len=140, **FEW),
    "strided": Case(an.causal() & every(8), q_len=133, k_len=157, **FEW),
    "window or every 32nd": Case(
        an.causal() & (an.window(20, 0) | an.mask(lambda q, k: k % 32 == 0)), q_len=150, **FEW
    ),
    "line": Case(an.neighborhood(LINE, 33), q_len=120, **FEW),
    "image": Case(an.neighborhood(SIZED, (3, 5)), q_len=120, bindings=SIZES, **FEW),
    "video": Case(an.neighborhood(VIDEO, (2, 2, 3), causal=("t",)), q_len=256, **FEW),
    "strided windows": Case(an.neighborhood(IMAGE, (4, 4), stride=(2, 4)), q_len=120, **FEW),
    "dilated by axis": Case(an.neighborhood(IMAGE, (5, 3), dilation=(2, 4)), q_len=120, **FEW),
    "disc after text": Case(
        disc(4, PAGE) | an.mask(lambda q, k: q.in_("text") | k.in_("text"), grid=PAGE), q_len=140, bindings=SIZES, **FEW
    ),
    "pooled keys": Case(
        an.mask(lambda q, k: (abs(q.y // 2 - k.v) <= 1) & (abs(q.x // 4 - k.u) <= 1), grid=POOLED),
        q_len=120,
        k_len=30,
        bindings=SIZES,
        **FEW,
    ),
    "per head": Case(
        an.per_head([(0, DILATED), (slice(1, 2), an.causal()), (slice(2, 4), an.causal() & every(4))]),
        q_len=100,
        heads=4,
        kv_heads=2,
        d=16,
    ),
    "kv_len": Case(
        an.neighborhood(an.grid(y=10, x=16), 3) & an.mask(lambda q, k, b: k < KV_LEN[b]),
        q_len=160,
        batch=2,
        bindings={"kv_len": torch.tensor([160, 47])},
        **FEW,
    ),
    "blocks in a row or a column": Case(
        an.mask(lambda q, k: (q.y // 8 == k.y // 8) | (q.x // 8 == k.x // 8), grid=SIZED),
        q_len=256,
        bindings={"H": 16, "W": 16},
        **FEW,
    ),
    "labels": Case(
        an.mask(lambda q, k: LABEL(q) == LABEL(k)) & an.window(60, 3),
        q_len=150,
        batch=2,
        bindings={"label": torch.randint(0, 3, (2, 150), generator=torch.Generator().manual_seed(0))},
        **FEW,
    ),
    "labels of other queries": Case(
        an.mask(lambda q, k, h: (LABEL(q) // 2 == LABEL(k) // 2) & (k <= q + 9 * h)),
        q_len=70,
        k_len=133,
        heads=4,
        kv_heads=2,
        d=16,
        bindings={"label": (torch.arange(70) % 7, torch.arange(133) % 5)},
    ),
    "the end of an image": Case(an.neighborhood(LINE, 9), q_len=50, k_len=120, q_start=70, **FEW),
    "the start of an image": Case(an.neighborhood(LINE, 9), q_len=50, k_len=120, q_start=0, **FEW),
}


def checked(backend: str, case: Case) -> None:
    check(backend, case, DEVICE, SMALL if backend == "triton" else None)


@pytest.mark.parametrize("name", CASES)
def test_the_cases_take_a_layout(name: str) -> None:
    plan = Plan(an.pattern(CASES[name].pattern))
    taken = [plan.arrangement((32, 32), transposed=t).taken.name for t in (False, True)]
    assert taken[0] != "runs of tokens", taken


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CASES)
def test_float32(name: str, backend: str) -> None:
    checked(backend, CASES[name])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["dilated", "image", "disc after text", "labels"])
def test_bfloat16(name: str, backend: str) -> None:
    checked(backend, replace(CASES[name], dtype=torch.bfloat16))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "layout"), [("dilated", "padded"), ("strided windows", "bshd"), ("labels", "padded")])
def test_grouped_heads_not_contiguous(name: str, layout: str, backend: str) -> None:
    checked(backend, replace(CASES[name], heads=3, dv=24, layout=layout))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["dilated", "strided windows", "disc after text", "labels", "labels of other queries"])
def test_uniform_rows_count_their_keys(name: str, backend: str) -> None:
    probe_counts(backend, CASES[name], SMALL if backend == "triton" else None)


# A pattern, and which of its keys lie in no tile that is visited.
PRUNED: dict[str, tuple[Case, Callable[[torch.Tensor], torch.Tensor]]] = {
    "other classes": (Case(DILATED, q_len=1, k_len=140, **FEW), lambda k: (139 - k) % 4 != 0),
    "other rows": (
        Case(an.mask(lambda q, k: (k.y < 4) & (abs(q.x - k.x) < 3), grid=an.grid(y=20, x=8)), q_len=160, **FEW),
        lambda k: k // 8 >= 8,
    ),
    "another region": (Case(an.neighborhood(PAGE, 3), q_len=140, bindings=SIZES, **FEW), lambda k: k < 20),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", PRUNED)
def test_not_a_number_in_keys_of_no_tile_does_not_leak(name: str, backend: str) -> None:
    case, unseen = PRUNED[name]
    hidden = unseen(torch.arange(case.k_len or case.q_len)).to(DEVICE)
    q, k, v, do, _ = case.tensors(DEVICE)
    expected = an.reference(case.pattern)(q, k, v, **case.options(DEVICE))
    k[:, :, hidden] = v[:, :, hidden] = torch.nan
    assert not bool(case.live.to(DEVICE)[..., hidden].any())
    leaves = [t.detach().requires_grad_() for t in (q, k, v)]
    attention = an.compile(case.pattern, backend=backend, config=SMALL if backend == "triton" else None)
    o = attention(*leaves, **case.options(DEVICE))
    torch.testing.assert_close(o.double(), expected, rtol=1e-5, atol=1e-6)
    dq, dk, dv = torch.autograd.grad((o * do).sum(), leaves)
    assert all(bool(torch.isfinite(t).all()) for t in (dq, dk, dv))
    assert bool((dk[:, :, hidden] == 0).all()) and bool((dv[:, :, hidden] == 0).all())


def test_three_sizes_of_an_image_share_their_kernels() -> None:
    pattern = an.neighborhood(SIZED, (3, an.param("w", low=1, high=9)))
    attention = an.compile(pattern, backend="triton", config=SMALL)
    CACHE.clear()
    for at, (height, width, w) in enumerate([(5, 8, 3), (4, 16, 5), (3, 7, 1)]):
        case = Case(pattern, q_len=height * width, bindings={"H": height, "W": width, "w": w}, **FEW)
        judge(run(attention, case, DEVICE), case)
        info = an.cache_info()
        assert info.generated + info.loaded == 4 and info.reused == 4 * at
