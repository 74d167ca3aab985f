"""Probes that need no tolerance: what a kernel visits shows in exact integers, ones, and NaNs that must not leak."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

import attnir as an
from attnir.testing.case import Case
from tests.test_axes import BACKENDS, CASES, DEVICE

# One of each way to find live tiles, and of each size that is awkward; the rest is in the numbers of test_axes.
NAMES = [
    "causal S=1",
    "causal S=129",
    "causal S=521",
    "window S=521",
    "full",
    "q shorter",
    "q longer",
    "q longer, late",
    "decoding",
    "sinks",
    "window as parameter",
    "packed",
    "packed, a document each",
    "packed, pair",
    "inside documents",
    "modular",
    "block lists",
    "block lists, field",
    "per head",
    "per sample",
    "first tile masked",
    "dead rows and tiles",
    "all dead",
    "group 3",
]


def integers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(-4, 5, shape, generator=torch.Generator().manual_seed(seed)).float()


def probe_counts(backend: str, c: Case, config: Mapping[str, an.Config] | None = None) -> None:
    """q = 0: lse = log(live keys), o * count = the integer sum of v; integer dO: dV is the sum over the live queries.

    o is one division away from the sum, which rounding to the next integer undoes exactly.
    """
    q, k, v, do, _ = c.tensors(DEVICE)
    q, v, do = torch.zeros_like(q), integers(*v.shape).to(DEVICE), integers(*do.shape, seed=1).to(DEVICE)
    v.requires_grad_()
    live = c.live.to(DEVICE).double()
    group = c.heads // c.kv_heads
    counts = live.sum(-1)
    o, lse = an.compile(c.pattern, backend=backend, config=config)(q, k, v, return_lse=True, **c.options(DEVICE))
    sums = live @ v.detach().double().repeat_interleave(group, 1)
    expected = torch.where(counts > 0, counts.log(), -torch.inf)
    torch.testing.assert_close(lse.detach().double(), expected, rtol=0, atol=2e-6)
    assert torch.equal((o.detach().double() * counts[..., None]).round(), sums)
    assert float((o.detach().double() * counts[..., None] - sums).abs().max()) < 1e-2
    # Rows scaled by their count make dV a sum of integers: P = 1 / count, so P^T (count * dO) = live^T dO.
    (dv,) = torch.autograd.grad(o, v, do * counts[..., None].float())
    exact = (live.transpose(-1, -2) @ do.double()).unflatten(1, (-1, group)).sum(2)
    assert torch.equal(dv.double().round(), exact)
    assert float((dv.double() - exact).abs().max()) < 0.02


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_uniform_rows_count_their_keys_and_sum_their_values(name: str, backend: str) -> None:
    probe_counts(backend, CASES[name])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_values_of_one_give_one_on_live_rows_and_zero_on_dead_ones(name: str, backend: str) -> None:
    c = CASES[name]
    q, k, v, _, _ = c.tensors(DEVICE)
    o = an.compile(c.pattern, backend=backend)(q, k, torch.ones_like(v), **c.options(DEVICE))
    live = c.live.to(DEVICE).any(-1)
    assert bool((o[~live] == 0).all())
    torch.testing.assert_close(o[live], torch.ones_like(o[live]), rtol=0, atol=4e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_not_a_number_in_tiles_proved_empty_does_not_leak(backend: str) -> None:
    """Keys that no query may see, a tile or more away from those it may, are never read, forward or backward."""
    pattern = an.window(50, 0)
    c = Case(pattern, q_len=40, k_len=1025, q_start=600, heads=2, layout="padded")
    q, k, v, do, _ = c.tensors(DEVICE)
    clean = (k.clone(), v.clone())
    for t in (k, v):
        t[:, :, :384] = torch.nan
        t[:, :, 768:] = torch.nan
    leaves = [t.requires_grad_() for t in (q, k, v)]
    o, lse = an.compile(pattern, backend=backend)(*leaves, return_lse=True, q_start=600)
    ref = an.reference(pattern)(q, *clean, q_start=600)
    torch.testing.assert_close(o.double(), ref, rtol=1e-5, atol=1e-6)
    dq, dk, dv = torch.autograd.grad((o * do).sum() + lse.sum(), leaves)
    assert all(bool(torch.isfinite(t).all()) for t in (o, lse, dq, dk, dv))
    assert bool((dk[:, :, :384] == 0).all()) and bool((dv[:, :, 768:] == 0).all())


@pytest.mark.parametrize("backend", BACKENDS)
def test_permuting_keys_together_with_the_mask_changes_nothing(backend: str) -> None:
    place = an.field("place")
    n = 129
    q, k, v, _, _ = Case(an.full(), q_len=n).tensors(DEVICE)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(5)).to(DEVICE)
    plain = an.compile(an.causal(), backend=backend)(q, k, v)
    by_field = an.compile(an.mask(lambda q, k: place(k) <= place(q)), backend=backend)
    index = torch.arange(n, device=DEVICE)
    permuted = by_field(q, k[:, :, order], v[:, :, order], place=(index, order))
    torch.testing.assert_close(permuted, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_shifting_all_positions_changes_nothing(backend: str) -> None:
    """A window knows differences only: keys and queries moved by 64 positions give the same numbers."""
    attention = an.compile(an.window(30, 10), backend=backend)
    q, k, v, _, _ = Case(an.full(), q_len=100).tensors(DEVICE)
    ahead = torch.full_like(k[:, :, :64], 1e3), torch.full_like(v[:, :, :64], 1e3)  # in visited tiles, so no NaN
    moved = an.window(30, 10) & an.mask(lambda q, k: k >= 64)
    shifted = an.compile(moved, backend=backend)(
        q, torch.cat((ahead[0], k), 2), torch.cat((ahead[1], v), 2), q_start=64
    )
    torch.testing.assert_close(shifted, attention(q, k, v), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_disjoint_masks_merge_by_their_lse(backend: str) -> None:
    """A | B is the merge of A and B when they are disjoint; keys split in two merge likewise."""
    q, k, v, _, _ = Case(an.full(), q_len=200).tensors(DEVICE)
    a, b = an.causal() & an.window(50), an.causal() & ~an.window(50)
    (oa, la), (ob, lb) = (an.compile(m, backend=backend)(q, k, v, return_lse=True) for m in (a, b))
    o, lse = an.compile(a | b, backend=backend)(q, k, v, return_lse=True)
    total = torch.logaddexp(la, lb)
    merged = oa * (la - total).exp()[..., None] + ob * (lb - total).exp()[..., None]
    torch.testing.assert_close(lse, total, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(o, merged, rtol=1e-5, atol=2e-6)
