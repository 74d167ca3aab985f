"""Cases: what their tensors hold, how these lie in memory, and what a call of them is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import attnir as an
from attnir.testing import Case, Runs, Values
from attnir.testing.case import GUARD

PLAIN = Case(an.causal(), q_len=5, k_len=7, batch=2, heads=4, kv_heads=2, d=3, dv=6)


@pytest.mark.parametrize("layout", ["bhsd", "bshd", "padded"])
def test_layouts_hold_the_same_numbers(layout: str) -> None:
    shapes = [tuple(t.shape) for t in PLAIN.tensors()]
    assert shapes == [(2, 4, 5, 3), (2, 2, 7, 3), (2, 2, 7, 6), (2, 4, 5, 6), (2, 4, 5)]
    for a, b in zip(PLAIN.tensors(), replace(PLAIN, layout=layout).tensors(), strict=True):
        assert torch.equal(a, b)


def test_padded_rows_have_nan_on_every_side() -> None:
    q = replace(PLAIN, layout="padded").tensors()[0]
    assert q.stride() == (4 * (5 + 2 * GUARD) * 6, (5 + 2 * GUARD) * 6, 6, 1)
    around = q.as_strided((q.untyped_storage().nbytes() // 4,), (1,), 0)
    assert int(torch.isnan(around).sum()) == around.numel() - q.numel()


def test_kinds_differ_in_the_way_they_say() -> None:
    peaked, constant, offset = (replace(PLAIN, kind=kind).tensors() for kind in ("peaked", "constant", "offset"))
    q, k, v, *_ = PLAIN.tensors()
    assert torch.equal(peaked[0], 8 * q) and torch.equal(peaked[1][:, :, 2], 4 * k[:, :, 2])
    assert all(bool((t == 1).all()) for t in constant[:3])
    assert torch.equal(offset[1], k + 30) and torch.equal(offset[2], v)


def test_bindings_reach_the_call() -> None:
    doc = an.field("doc", sorted=True)
    case = Case(an.mask(lambda q, k: doc(q) == doc(k)), q_len=4, bindings={"doc": Values(Runs(4, 2))})
    assert case.live[0, 0].int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert case.pairs == 2 * 16 and case.options()["doc"].tolist() == [0, 0, 1, 1]


def test_another_pattern_gets_the_bindings_that_it_reads() -> None:
    w = an.param("w")
    case = Case(an.window(w), q_len=4, bindings={"w": 1})
    assert case.of(an.causal()).bindings == {}
    assert case.of(an.window(w) & an.mask(lambda q, k: k < an.param("n")), n=2).bindings == {"w": 1, "n": 2}
