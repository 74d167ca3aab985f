"""Rows that are proved calm take no largest score; what they compute is what others do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import attnir as an
from attnir.codegen.torch import forward

TABLE, SINK = an.tensor("table", "t"), an.tensor("sink", "h")
SHIFTED = an.score(lambda s, q, k: s + TABLE[an.minimum(an.maximum(q - k, 0), 15)])
CASES: dict[
    str, tuple[dict[str, Any], dict[str, Any], tuple[bool, bool]]
] = {  # options, bindings, calm: proved, likely
    "plain": ({}, {}, (True, True)),
    "a cap": ({"score": an.softcap(20.0)}, {}, (True, True)),
    "a cap above all": ({"score": an.softcap(50.0)}, {}, (True, True)),
    "a small table": ({"score": SHIFTED}, {"table": torch.linspace(-2, 2, 16)}, (True, True)),
    "a bias that is large for near keys alone": (
        {"score": an.alibi()},
        {"slopes": torch.tensor([0.5, 4.0])},
        (False, True),
    ),
    "a large table": ({"score": SHIFTED}, {"table": torch.linspace(-200, 2, 16)}, (False, True)),
    "an exponential": ({"score": an.score(lambda s: an.exp(s) - 1.0)}, {}, (False, False)),
    "a sink": ({"normalize": an.softmax(sink=SINK)}, {"sink": torch.tensor([1.0, -3.0])}, (True, True)),
    "a sink that weighs nothing": (
        {"normalize": an.softmax(sink=SINK)},
        {"sink": torch.tensor([1.0, -300.0])},
        (False, True),
    ),
    "a sink that is none": (
        {"normalize": an.softmax(sink=SINK)},
        {"sink": torch.tensor([1.0, -torch.inf])},
        (False, True),
    ),
    "a sink above all": ({"normalize": an.softmax(sink=SINK)}, {"sink": torch.tensor([1.0, 300.0])}, (False, True)),
}


@pytest.mark.parametrize("name", CASES)
def test_calm_rows_compute_what_others_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options, bindings, calm = CASES[name]
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 2, 100, 16, generator=generator) for _ in range(3))
    attention = an.compile(an.causal() & an.mask(lambda q, k: q % 7 != 0), backend="torch", **options)
    found: list[tuple[bool, bool]] = []
    proved = forward._are_calm
    monkeypatch.setattr(forward, "_are_calm", lambda *given: found.append(proved(*given)) or found[-1])

    def call() -> tuple[Tensor, Tensor]:
        o, lse = attention(q, k, v, return_lse=True, **bindings)
        return o, lse

    got = call()
    assert set(found) == {calm}
    monkeypatch.setattr(forward, "_are_calm", lambda *given: (False, False))
    for a, b in zip(got, call(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_large_queries_are_not_calm_under_a_score() -> None:
    q, k, v = (torch.randn(1, 1, 64, 16, generator=torch.Generator().manual_seed(i)) for i in range(3))
    options = {"score": SHIFTED}
    table = torch.linspace(-2, 2, 16)
    o = an.compile(an.causal(), backend="torch", **options)(100 * q, k, v, table=table)
    dense = an.reference(an.causal(), **options)(100 * q, k, v, table=table)
    assert torch.isfinite(o).all()
    torch.testing.assert_close(o.double(), dense, rtol=1e-4, atol=1e-4)
