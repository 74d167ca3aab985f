"""What torch is told to take by default, a dtype or a device, changes nothing: tensors say their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

import attnir as an
from attnir.requests import STANDARD

DTYPES = [torch.float16, torch.bfloat16, torch.float64]
DEVICE = {"reference": "cpu", "torch": "cpu", "triton": "cuda" if torch.cuda.is_available() else "cpu"}
UNDIVIDED = ["mean-distance", "pair-norm-received"]  # of weights that have no lse
HEADS = an.Heads(k=(1, 0), v=(0, 1))


@pytest.fixture(autouse=True)
def defaults() -> Iterator[None]:
    """Torch's own defaults, again behind each test."""
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)


def tensors(length: int, backend: str) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    drawn = (torch.randn(1, 2, length, 8, dtype=torch.float32, generator=g) for _ in range(3))
    return [t.to(DEVICE[backend]).requires_grad_() for t in drawn]


def gradients(found: list[Tensor], given: list[Tensor]) -> list[Tensor]:
    loss = sum((t * t).sum() for t in found if t.requires_grad)
    return list(torch.autograd.grad(loss, given, allow_unused=True, materialize_grads=True))


def results(backend: str) -> list[Tensor]:
    """Those of calls with and without keys: of maps, of a route whose blocks are cut, of statistics; and gradients."""
    q, k, v = given = tensors(40, backend)
    route = an.route.topk_blocks(block=16, k=2)
    found = [an.compile(an.causal(), backend=backend, heads=HEADS)(q, k, v)]
    found += [an.compile(an.causal(), route=route, backend=backend)(q, k, v)]
    found += an.compile(an.causal(), route=route, backend=backend).statistics(q, k, v, list(STANDARD)).values()
    found += an.compile(an.causal(), normalize=an.sigmoid, backend=backend).statistics(q, k, v, UNDIVIDED).values()
    none = an.compile(an.causal(), backend=backend).statistics(q, k[:, :, :0], v[:, :, :0], list(STANDARD))
    return [*found, *gradients(found, given), *none.values()]


@pytest.mark.parametrize("backend", DEVICE)
def test_results_are_those_of_any_default_dtype(backend: str) -> None:
    expected = results(backend)
    for dtype in DTYPES:
        torch.set_default_dtype(dtype)
        for found, wanted in zip(results(backend), expected, strict=True):
            assert found.dtype is wanted.dtype and torch.equal(found, wanted), dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_proofs_are_those_of_any_default_dtype(dtype: torch.dtype) -> None:
    torch.set_default_dtype(dtype)
    assert an.verify(an.pattern(an.causal(), score=an.alibi()), backend="torch", cases=6).cases == 6


def test_pictures_explanations_and_proofs_are_made_on_the_cpu(tmp_path: Path) -> None:
    """Where nothing is a tensor of a call there is no device that could be meant."""
    torch.set_default_device("meta")
    causal, routed = an.compile(an.causal()), an.compile(an.causal(), route=an.route.topk_blocks(block=16, k=2))
    for order in (False, True):
        assert causal.plot(70, tmp_path / "causal.png", order=order).exists()
    assert routed.plot(70, tmp_path / "routed.html").exists()
    assert "<svg" in an.neighborhood(an.grid(y=4, x=5), (3, 3))._repr_html_()
    assert routed.explain(70).live_pairs
    assert an.verify(an.causal(), backend="torch", cases=1).cases == 1


@pytest.mark.parametrize("name", ["biformer", "hip", "mra", "psa", "routing-transformer", "scfa-hash", "scfa-qk"])
def test_graphs_are_explained_on_the_cpu(name: str) -> None:
    entry = an.catalog.get(name)
    x = entry.example
    torch.set_default_device("meta")
    attention = an.compile(entry.build(**x.params))
    assert attention.explain(x.q_len, x.k_len, heads=x.heads, d=8, **x.bindings).attentions
