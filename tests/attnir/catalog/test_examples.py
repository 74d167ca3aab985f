"""Every entry's example: small enough for a picture, reads back, and is computed as the reference says."""

from __future__ import annotations

import pytest
import torch

import attnir as an
from attnir.arrange import arrange
from attnir.call import Call
from attnir.evaluate import dense_mask
from attnir.walk import pair_map

WIDTH = 8


@pytest.mark.parametrize("name", an.catalog.names(graphs=False))
def test_the_example_is_small_and_reads_back(name: str) -> None:
    entry = an.catalog.get(name)
    example = entry.example
    assert 8 <= min(example.q_len, example.k_len or 8) and max(example.q_len, example.k_len or 0) <= 96
    assert entry.summary.endswith(".")
    pattern = entry.build(**example.params)
    assert an.parse(str(pattern)) == pattern


def test_an_entry_prints_its_name_and_summary() -> None:
    assert repr(an.catalog.get("causal")) == "<Entry causal: A query sees its own position and all before it.>"


def bound(name: str) -> tuple[an.Mask, Call]:
    """An entry's example: its pattern, and the sizes and bindings of its call."""
    entry = an.catalog.get(name)
    example = entry.example
    pattern = entry.build(**example.params)
    call = pattern.signature.bind(
        example.bindings,
        batch=example.batch,
        heads=pattern.heads or example.heads,
        q_len=example.q_len,
        k_len=example.k_len or example.q_len,
    )
    return pattern, call


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("name", an.catalog.names(graphs=False))
def test_the_walk_visits_each_live_pair_once(name: str, transposed: bool) -> None:
    pattern, call = bound(name)
    live = dense_mask(pattern.predicate, call).expand(call.batch, call.heads, -1, -1)
    arrangement = arrange(pattern.predicate, pattern.spaces, (8, 8), transposed)
    for candidate in (arrangement.taken, *arrangement.others):
        programs = [p for launch in candidate.launches for p in launch]
        assert torch.equal(pair_map(programs, call).live, live.long()), candidate.name


@pytest.mark.parametrize("backend", ["torch", "triton"])
@pytest.mark.parametrize("name", an.catalog.names(graphs=False))
def test_the_example_and_its_gradients_are_those_of_the_reference(name: str, backend: str) -> None:
    pattern, call = bound(name)
    torch.manual_seed(0)
    q = torch.randn(call.batch, call.heads, call.q_len, WIDTH, requires_grad=True)
    k, v = (torch.randn(call.batch, call.heads, call.k_len, WIDTH, requires_grad=True) for _ in range(2))
    do = torch.randn(q.shape)
    bindings = an.catalog.get(name).example.bindings
    config = {kind: an.Config(32, 32, 4, 1) for kind in ("forward", "dq", "dkv")}
    o = an.compile(pattern, backend=backend, config=config)(q, k, v, **bindings)
    expected = an.reference(pattern)(q, k, v, **bindings)
    torch.testing.assert_close(o.double(), expected, atol=1e-5, rtol=1e-5)
    found = torch.autograd.grad(o, (q, k, v), do)
    wanted = torch.autograd.grad(expected, (q, k, v), do.double())
    for gradient, dense in zip(found, wanted, strict=True):
        torch.testing.assert_close(gradient, dense, atol=2e-5, rtol=2e-5)
