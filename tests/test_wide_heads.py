"""Widths above 256, as absorbed latent attention has them: results and gradients, and keys that hold the values."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import attnir as an
from attnir.testing.case import Case
from attnir.testing.judge import judge, run

BACKENDS = ["torch", "triton"]
DEVICE = {"torch": "cpu", "triton": "cuda" if torch.cuda.is_available() else "cpu"}
D, DV = 576, 512
CONFIG = dict.fromkeys(["forward", "dq", "dkv"], an.Config(16, 16, 8, 1))


def attention(backend: str) -> an.Attention:
    return an.compile(an.causal(), backend=backend, config=CONFIG)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "sizes", [{"d": D, "dv": DV}, {"d": 320, "dv": 40}, {"d": 24, "dv": 300}, {"d": 561, "dv": 561, "layout": "padded"}]
)
def test_results_and_gradients_are_those_of_the_reference(sizes: dict[str, Any], backend: str) -> None:
    one = Case(an.causal(), **{"q_len": 33, "k_len": 47, "heads": 2, "kv_heads": 1, **sizes})
    judge(run(attention(backend), one, DEVICE[backend]), one)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_half_precision(dtype: torch.dtype, backend: str) -> None:
    one = Case(an.causal(), q_len=40, heads=2, kv_heads=1, d=D, dv=DV, dtype=dtype)
    judge(run(attention(backend), one, DEVICE[backend]), one, stored=True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_may_be_the_first_columns_of_the_keys(backend: str) -> None:
    g = torch.Generator().manual_seed(0)
    q, shared, do = (torch.randn(1, h, 20, w, generator=g) for h, w in ((2, D), (1, D), (2, DV)))

    def differentiated(call: Any, q: Tensor, shared: Tensor, do: Tensor) -> list[Tensor]:
        q, shared = q.requires_grad_(), shared.requires_grad_()
        o = call(q, shared, shared[..., :DV], scale=192**-0.5)
        return [o.detach(), *torch.autograd.grad((o * do).sum(), (q, shared))]

    expected = differentiated(an.reference(an.causal()), *(t.double() for t in (q, shared, do)))
    found = differentiated(attention(backend), *(t.to(DEVICE[backend]) for t in (q, shared, do)))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double().cpu(), other, rtol=1e-5, atol=1e-5)
