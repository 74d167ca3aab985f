"""Softmax with landmarks: its derivative, its blocks, its tiles, and what is refused. Results: see test_weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import attnir as an
from attnir.codegen.configure import configure
from attnir.codegen.plan import CONFIGURED
from attnir.codegen.targets import Target
from attnir.errors import ConfigError, DeclarationError, StatisticError, TextError
from attnir.testing.case import Case
from attnir.testing.judge import judge, run

BACKENDS = ["torch", "triton"]
DEVICE = {"torch": "cpu", "triton": "cuda" if torch.cuda.is_available() else "cpu"}
BLOCK = 16
MARKED = an.softmax(landmarks=BLOCK)


def inputs(n: int, **more: Any) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(n)
    return [torch.randn(1, 2, n, 16, generator=g, **more) for _ in range(3)]


@pytest.mark.parametrize(
    "mask",
    [an.causal(), an.full(), an.causal() & an.window(20, 0), an.mask(lambda q, k: (q + k) % 3 > 0)],
    ids=str,
)
def test_the_reference_has_the_derivative_that_differences_show(mask: an.Mask) -> None:
    leaves = [t[:, :1, :, :2].clone().requires_grad_() for t in inputs(35, dtype=torch.float64)]

    def attend(*given: torch.Tensor) -> torch.Tensor:
        o, lse = an.reference(mask, normalize=MARKED)(*given, return_lse=True)
        return o + torch.where(lse > -torch.inf, lse, 0.0)[..., None]

    torch.autograd.gradcheck(attend, leaves)
    given = [t.detach().float().requires_grad_() for t in leaves]
    o, lse = an.compile(mask, normalize=MARKED, backend="reference")(*given, return_lse=True)
    do = torch.ones_like(o)
    loss = o.sum() + o.shape[-1] * torch.where(lse > -torch.inf, lse, 0.0).sum()
    expected = torch.autograd.grad(attend(*leaves), leaves, do.double())
    for found, dense in zip(torch.autograd.grad(loss, given), expected, strict=True):
        torch.testing.assert_close(found.double(), dense, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("block", "sizes"),
    [
        (16, {"q_len": 70}),
        (32, {"q_len": 20, "k_len": 150}),  # the last queries of many keys
        (32, {"q_len": 40, "k_len": 150, "q_start": 50}),
        (64, {"q_len": 100, "heads": 4, "kv_heads": 1}),
        (128, {"q_len": 300}),
        (16, {"q_len": 1, "k_len": 40}),
        (16, {"q_len": 10}),  # no landmark at all
    ],
    ids=str,
)
def test_blocks_of_every_size_and_keys_that_make_no_whole_one(block: int, sizes: dict[str, int], backend: str) -> None:
    for mask in (an.causal(), an.full()):
        declared = an.pattern(mask, normalize=an.softmax(landmarks=block))
        case = Case(declared, d=16, tile=(64, block), **sizes)
        judge(run(an.compile(declared, backend=backend), case, DEVICE[backend]), case)


@pytest.mark.parametrize("backend", [*BACKENDS, "reference"])
@pytest.mark.parametrize(("batch", "queries", "keys"), [(0, 20, 20), (1, 0, 20), (1, 20, 0)])
def test_no_tokens_give_no_numbers(batch: int, queries: int, keys: int, backend: str) -> None:
    q, k = (torch.randn(batch, 2, n, 16, device=DEVICE.get(backend, "cpu")) for n in (queries, keys))
    for attend in (an.compile(an.full(), normalize=MARKED, backend=backend), an.reference(an.full(), normalize=MARKED)):
        o, lse = attend(q, k, k, return_lse=True)
        assert o.shape == q.shape and bool((o == 0).all()) and bool((lse == -torch.inf).all())


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_of_landmarks_count_nowhere(backend: str) -> None:
    q, k, v = (t.to(DEVICE[backend]) for t in inputs(50))
    attn = an.compile(an.causal(), normalize=MARKED, backend=backend)
    other = v.clone()
    other[:, :, BLOCK - 1 :: BLOCK] += 100.0
    assert torch.equal(attn(q, k, v), attn(q, k, other))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_block_whose_landmark_is_dead_weighs_nothing(backend: str) -> None:
    """The first block's landmark is hidden, and of the second one all but it: the third is left, and its lse."""
    mask = an.causal() & an.mask(lambda k: (k != 15) & ((k < 16) | (k >= 31)))
    q, k, v = (t.to(DEVICE[backend]) for t in inputs(48))
    o, lse = an.compile(mask, normalize=MARKED, backend=backend)(q, k, v, return_lse=True)
    keys = torch.arange(48, device=q.device)
    alone = an.causal() & an.mask(lambda k: (k >= 32) & (k < 47))
    expected, of_it = an.compile(alone, backend=backend)(q[:, :, 32:], k, v, q_start=32, return_lse=True)
    torch.testing.assert_close(o[:, :, 32:], expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(lse[:, :, 32:], of_it, rtol=1e-5, atol=1e-6)
    assert bool((o[:, :, (keys >= 16) & (keys < 32)] == 0).all())
    assert bool((lse[:, :, 16:32] == -torch.inf).all())


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_are_the_same_from_run_to_run(backend: str) -> None:
    level = an.tensor("level", "offset")
    declared = an.pattern(
        an.causal(), score=an.score(lambda s, q, k: s + level[an.clip(q - k, 0, 9)]), normalize=MARKED
    )
    given = [*(t.to(DEVICE[backend]) for t in inputs(40)), torch.randn(10).to(DEVICE[backend])]

    def gradients() -> tuple[torch.Tensor, ...]:
        q, k, v, t = (x.clone().requires_grad_() for x in given)
        o = an.compile(declared, backend=backend)(q, k, v, level=t)
        return torch.autograd.grad(o.square().sum(), (q, k, v, t))

    assert all(map(torch.equal, gradients(), gradients()))


@pytest.mark.parametrize("d", [64, 128, 576])
@pytest.mark.parametrize("target", ["sm_80", "sm_90", "sm_100", "gfx942"])
def test_a_tile_holds_the_keys_of_a_block(target: str, d: int) -> None:
    for block in (16, 32, 64, 128):
        plan = an.compile(an.causal(), normalize=an.softmax(landmarks=block)).plan
        for kind in CONFIGURED:
            for dtype in (torch.bfloat16, torch.float32):
                assert configure(plan, kind, Target.parse(target), d, d, dtype).config.block_k == block


def test_tokens_stay_in_their_order() -> None:
    """Classes and boxes, which visit less of these masks, would take blocks apart."""
    dilated = an.mask(lambda q, k: ((q - k) % 4 == 0) & (k <= q))
    near = an.neighborhood(an.grid(y=32, x=32), (7, 7))
    for mask in (dilated, near):
        plain, marked = (an.compile(mask, normalize=how) for how in (None, MARKED))
        assert not all(p.of_runs for launch in plain.plan.launches((64, 16)) for p in launch)
        for transposed in (False, True):
            tile = (16, 64) if transposed else (64, 16)
            ((program,),) = marked.plan.launches(tile, transposed=transposed)
            assert program.of_runs and program.label is None


@pytest.mark.parametrize(
    "text", ["causal; weights = softmax(landmarks=32)", "causal; weights = softmax(0.5,landmarks=16)"]
)
def test_texts_read_back(text: str) -> None:
    found = an.parse(text)
    assert an.parse(str(found)) == found


def test_what_is_no_block_is_refused() -> None:
    for block in (0, 8, 50, 256, 16.0, "16"):
        with pytest.raises(DeclarationError, match="a block with a landmark has 16, 32, 64, 128 keys"):
            an.softmax(landmarks=block)  # type: ignore[arg-type]  # a wrong type is tried
    with pytest.raises(TextError, match="a block with a landmark has"):
        an.parse("causal; weights = softmax(landmarks=9)")
    with pytest.raises(ConfigError, match="a tile has the 16 keys of a block"):
        an.compile(an.causal(), normalize=MARKED, config={"dq": an.Config(64, 32, 4, 1)})
    with pytest.raises(DeclarationError, match="belong to rows"):
        an.transpose(an.pattern(an.causal(), normalize=MARKED))
    with pytest.raises(StatisticError, match="landmarks"):
        an.compile(an.causal(), normalize=MARKED).statistics(*inputs(20), ["row-entropy"])
