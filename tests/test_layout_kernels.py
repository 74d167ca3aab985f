"""Patterns that take a layout of their own, on every executor: numbers against dense float64, exact counts, no leaks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import attnir as an
from tests.checks import Case, check
from tests.layouts import disc, every
from tests.test_axes import BACKENDS, DEVICE
from tests.test_probes import probe_counts

H, W = an.param("H", low=1), an.param("W", low=1)
KV_LEN = an.tensor("kv_len", "b")
IMAGE, VIDEO, LINE = an.grid(y=12, x=20), an.grid(t=4, y=6, x=10), an.grid(x=240)
PAGE = an.concat(text=20, image=an.grid(y=12, x=16))
POOLED = an.grid(y=12, x=20), an.grid(v=6, u=5)

DILATED = an.window(120, 0) & every(8)
CASES = {
    "dilated": Case(DILATED, q_len=257),
    "strided": Case(an.causal() & every(16), q_len=321),
    "window or every 32nd": Case(an.causal() & (an.window(40, 0) | an.mask(lambda q, k: k % 32 == 0)), q_len=300),
    "line": Case(an.neighborhood(LINE, 33), q_len=240),
    "image": Case(an.neighborhood(IMAGE, (5, 7)), q_len=240, heads=4, kv_heads=2),
    "video": Case(an.neighborhood(VIDEO, (2, 3, 5), causal=("t",)), q_len=240),
    "strided windows": Case(an.neighborhood(IMAGE, (6, 8), stride=(3, 4)), q_len=240),
    "dilated by axis": Case(an.neighborhood(IMAGE, (5, 3), dilation=(2, 4)), q_len=240),
    "run-time image": Case(an.neighborhood(an.grid(y=H, x=W), (3, 5)), q_len=240, bindings={"H": 12, "W": 20}),
    "disc after text": Case(
        disc(5, PAGE) | an.mask(lambda q, k: q.in_("text") | k.in_("text"), grid=PAGE), q_len=212
    ),
    "pooled keys": Case(
        an.mask(lambda q, k: (abs(q.y // 2 - k.v) <= 1) & (abs(q.x // 4 - k.u) <= 1), grid=POOLED), q_len=240, k_len=30
    ),
    "per head": Case(
        an.per_head([(slice(0, 2), DILATED), (slice(2, 3), an.causal()), (3, an.causal() & every(8))]),
        q_len=200,
        heads=4,
        kv_heads=2,
        d=32,
    ),
    "kv_len": Case(
        an.neighborhood(IMAGE, (5, 7)) & an.mask(lambda q, k, b: k < KV_LEN[b]),
        q_len=240,
        batch=2,
        heads=1,
        bindings={"kv_len": torch.tensor([240, 97])},
    ),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CASES)
def test_float32(name: str, backend: str) -> None:
    check(backend, CASES[name], DEVICE)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["dilated", "image", "disc after text"])
def test_bfloat16(name: str, backend: str) -> None:
    check(backend, replace(CASES[name], dtype=torch.bfloat16, d=32), DEVICE)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["dilated", "strided windows"])
def test_grouped_heads_not_contiguous(name: str, backend: str) -> None:
    check(backend, replace(CASES[name], heads=6, kv_heads=2, d=16, dv=24, layout="padded"), DEVICE)
    check(backend, replace(CASES[name], batch=2, d=16, layout="bshd"), DEVICE)
