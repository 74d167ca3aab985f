"""What only a GPU shows: compiled kernels are not compiled again for new sizes, long sequences, repeated runs."""

from __future__ import annotations

import pytest
import torch

import attnir as an
from attnir.codegen.cache import CACHE
from attnir.testing import Case
from attnir.testing.judge import judge, run
from tests.test_selections import CASES as CHOSEN
from tests.test_weights import case

pytestmark = pytest.mark.gpu

WINDOW = an.window(an.param("w"), 0)


def qkv(length: int, d: int = 64, heads: int = 4) -> list[torch.Tensor]:
    g = torch.Generator("cuda").manual_seed(length)
    shape = (1, heads, length, d)
    return [torch.randn(shape, generator=g, device="cuda", dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]


def test_one_compiled_kernel_serves_all_lengths() -> None:
    CACHE.clear()
    attention = an.compile(WINDOW)
    for i in range(20):
        leaves = qkv(100 + 37 * i)
        torch.autograd.grad(attention(*leaves, w=10 + i).sum(), leaves)
    assert sum(an.cache_info()[:2]) == 4
    for module in CACHE._modules.values():
        kernel = next(x for x in vars(module).values() if hasattr(x, "device_caches"))
        compiled = [entry for caches in kernel.device_caches.values() for entry in caches[0]]
        assert len(compiled) == 1, f"{module.__file__} was compiled {len(compiled)} times"


def test_a_long_window_equals_its_pieces() -> None:
    """Rows far into a sequence of 2**18 tokens, whose tensors hold more than 2**31 bytes of scores' worth of pairs."""
    attention = an.compile(WINDOW)
    q, k, v = (t.detach() for t in qkv(2**18))
    o = attention(q, k, v, w=300)
    for start in (0, 100_000, 2**18 - 512):
        low = max(0, start - 300)
        rows, keys = slice(start, start + 512), slice(low, start + 512)
        ref = an.reference(WINDOW)(q[:, :, rows], k[:, :, keys], v[:, :, keys], w=300, q_start=start - low)
        worst = ((o[:, :, rows].double() - ref).norm(dim=-1) / ref.norm(dim=-1)).max()
        assert float(worst) < 2e-2


def test_repeated_runs_are_equal_bit_for_bit() -> None:
    attention = an.compile(an.causal())
    leaves = qkv(3000, d=128)
    runs = [torch.autograd.grad(attention(*leaves).float().square().sum(), leaves) for _ in range(3)]
    for grads in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(grads, runs[0], strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mask", ["causal window", "neighbourhood", "documents"])
@pytest.mark.parametrize(
    ("normalize", "factor"),
    [("a sink by head", "none"), ("sigmoid", "heads"), ("fast", "dropout"), ("softmax", "dropout"), ("relu2", "pairs")],
)
def test_weights_and_their_gradients(normalize: str, factor: str, mask: str, dtype: torch.dtype) -> None:
    one = case(normalize, factor, mask, "changed", dtype=dtype, tile=None, d=64)
    judge(run(an.compile(one.pattern, backend="triton"), one, "cuda"), one, stored=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", CHOSEN)
def test_chosen_blocks_and_their_gradients(name: str, dtype: torch.dtype) -> None:
    pattern, bindings = CHOSEN[name]
    one = Case(pattern, q_len=200, batch=2, heads=2, kv_heads=1, bindings=bindings, dtype=dtype)
    judge(run(an.compile(one.pattern, backend="triton"), one, "cuda"), one, stored=True)


def test_choosing_waits_for_nothing() -> None:
    """Lists, their tiles and what is turned around of them are made on the device."""
    attention = an.compile(an.causal(), route=an.route.topk_blocks(block=64, k=4, forced=[an.route.own()], causal=True))
    leaves = qkv(4096)
    torch.autograd.grad(attention(*leaves).sum(), leaves)  # compiles
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        torch.autograd.grad(attention(*leaves).sum(), leaves)
    finally:
        torch.cuda.set_sync_debug_mode("default")
