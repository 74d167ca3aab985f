"""Scores two and three deep, under every normaliser, with a factor, in every family of masks: drawn by hypothesis."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import attnir as an
from attnir.testing.case import Case
from attnir.testing.judge import judge, run
from attnir.testing.values import Normal, Values
from tests.test_weights import DEVICE, FACTORS, MASKS, NORMALIZERS

S, HEADS = 64, 2
SIZES = {150: S, 4: HEADS, 2: 1}  # those of tests/test_weights, and here; its batch of 2 is any here

TAU, TABLE, TIME, BIAS = (
    an.tensor("tau", "h"),
    an.tensor("table", "h", "distance"),
    an.tensor("time", "b", "k"),
    an.tensor("bias", "b", "h", "q", "k"),
)
SCORES: dict[str, tuple[an.Score, dict[str, tuple[int, ...]]]] = {
    "alibi": (an.alibi(), {"slopes": (HEADS,)}),
    "symmetric alibi": (an.alibi(symmetric=True), {"slopes": (HEADS,)}),
    "softcap": (an.softcap(4.0), {}),
    "temperature": (an.score(lambda s, h, q: s * (1 + an.sigmoid(TAU[h]) * an.log(q + 1) / 8)), {"tau": (HEADS,)}),
    "table": (an.score(lambda s, q, k, h: s + TABLE[h, an.clip(q - k, 0, 15)]), {"table": (HEADS, 16)}),
    "event time": (an.score(lambda s, b, q, k: s - abs(TIME[b, q] - TIME[b, k]) / 4), {"time": (1, S)}),
    "dense bias": (an.score(lambda s, b, h, q, k: s + BIAS[b, h, q, k]), {"bias": (1, HEADS, S, S)}),
    "multiplicity": (an.multiplicity(lambda k: k % 3), {}),
    "choice": (an.score(lambda s, q, k: an.where(q - k < 9, s, 0.5 * s - 0.25)), {}),
}
FAMILIES: dict[str, tuple[an.Mask, dict[str, Any]]] = {
    "causal": (an.causal(), {}),
    "window": (an.causal() & an.window(17, 0), {}),
    "neighbourhood": (an.neighborhood(an.grid(y=8, x=8), (3, 5)), {}),
    "documents": (MASKS["documents"], {"doc": torch.arange(S) // 23}),
}
USED = [name for name in NORMALIZERS if name != "linear"]  # which a product of scores three deep makes very large


@st.composite
def cases(draw: st.DrawFn) -> Case:
    names = draw(st.lists(st.sampled_from(sorted(SCORES)), min_size=2, max_size=3, unique=True))
    family, bindings = FAMILIES[draw(st.sampled_from(sorted(FAMILIES)))]
    normalize, shapes = NORMALIZERS[draw(st.sampled_from(USED))]
    factor, others = FACTORS[name := draw(st.sampled_from(["none", "none", "dropout", "heads"]))]
    shapes = {n: tuple(SIZES.get(size, size) for size in shape) for n, shape in {**shapes, **others}.items()}
    shapes |= {n: shape for one in names for n, shape in SCORES[one][1].items()}
    learned = {n: Values(Normal(shape, i), torch.float32) for i, (n, shape) in enumerate(sorted(shapes.items()))}
    declared = an.pattern(family, score=[SCORES[n][0] for n in names], normalize=normalize, factor=factor)
    tile = (64, declared.weights.landmarks or 64)
    sizes = {"q_len": S, "batch": draw(st.sampled_from([1, 2])), "heads": HEADS, "d": 16, "tile": tile}
    seed = {"seed": 5} if name == "dropout" else {}
    return Case(
        declared,
        **sizes,
        kv_heads=draw(st.sampled_from([1, 2])),
        seed=draw(st.integers(0, 9)),
        bindings={**bindings, **learned, **seed},
    )


def check(backend: str, case: Case) -> None:
    judge(run(an.compile(case.pattern, backend=backend), case, DEVICE[backend]), case, stored=True)


@settings(max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_on_torch(case: Case) -> None:
    check("torch", case)


@pytest.mark.slow
@settings(max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_on_triton(case: Case) -> None:
    check("triton", case)
