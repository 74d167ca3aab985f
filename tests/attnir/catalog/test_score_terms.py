"""Scores of the catalog, against their definitions, pair by pair."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import attnir as an
from attnir.errors import DeclarationError
from attnir.evaluate import dense_score

N, M = 12, 5
G = torch.Generator().manual_seed(3)
SCORES = torch.randn(1, 2, N, N, generator=G, dtype=torch.float64)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=G)


def changed(pattern: an.Mask | an.Pattern, **bindings: object) -> Tensor:
    """What becomes of SCORES."""
    declared = an.pattern(pattern)
    call = declared.signature.bind(bindings, batch=1, heads=2, q_len=N, k_len=N)
    return dense_score(declared.score, call)(SCORES)


SLOPES, TAU, BIAS, WIDE = torch.tensor([0.5, 0.25]), normal(2), normal(2, M), normal(2, 2 * M - 1)
QE, UK, DENSE, QB, KB = normal(1, 2, N, M), normal(1, 2, N), normal(1, 2, N, N), normal(1, 2, N, 3), normal(1, 1, N, 3)
QE_WIDE, TIME, COUNTS = normal(1, 2, N, 2 * M - 1), normal(1, N).abs().cumsum(-1), torch.arange(N) % 3 + 1
BY_TOKEN = normal(1, 2, N)


def _music(h: int, i: int, j: int) -> float:
    return float(QE[0, h, i, j - i + M - 1]) if 0 <= i - j < M else 0.0


def _far(h: int, i: int, j: int) -> float:
    return float(QE_WIDE[0, h, i, j - i + M - 1]) if abs(i - j) < M else 0.0


def _rcmha(h: int, i: int, j: int) -> float:
    return float(UK[0, h, j]) + (float(QE[0, h, i, i - j]) if 0 <= i - j < M else 0.0)


def _clipped(h: int, i: int, j: int) -> float:
    return float(WIDE[h, min(max(j - i, 1 - M), M - 1) + M - 1])


Definition = Callable[[float, int, int, int], float]  # of the score, the head, the query and the key
CASES: dict[str, tuple[dict[str, Any], dict[str, Tensor], Definition]] = {
    "softcap": ({"cap": 1.5}, {}, lambda s, h, i, j: 1.5 * math.tanh(s / 1.5)),
    "scale": ({}, {"tau": TAU}, lambda s, h, i, j: s * float(TAU[h])),
    "selective-temperature": ({}, {"c": SLOPES}, lambda s, h, i, j: s * (1 + float(SLOPES[h]) * math.log(i + 1))),
    "selective-temperature by token": (
        {"by_token": True},
        {"c": SLOPES, "tau": BY_TOKEN},
        lambda s, h, i, j: s * (1 + float(SLOPES[h]) * math.log(i + 1)) * float(BY_TOKEN[0, h, i]),
    ),
    "alibi-causal": ({}, {"slopes": SLOPES}, lambda s, h, i, j: s - float(SLOPES[h]) * (i - j)),
    "alibi-symmetric": ({}, {"slopes": SLOPES}, lambda s, h, i, j: s - float(SLOPES[h]) * abs(i - j)),
    "table-bias": ({"reach": M - 1}, {"bias": BIAS}, lambda s, h, i, j: s + float(BIAS[h, min(max(i - j, 0), M - 1)])),
    "table-bias of both sides": (
        {"reach": M - 1, "past": False},
        {"bias": WIDE},
        lambda s, h, i, j: s + _clipped(h, i, j),
    ),
    "music-relative": ({"reach": M}, {"qe": QE}, lambda s, h, i, j: s + _music(h, i, j)),
    "music-relative of both sides": (
        {"reach": M, "past": False},
        {"qe": QE_WIDE},
        lambda s, h, i, j: s + _far(h, i, j),
    ),
    "rcmha": ({"reach": M}, {"uk": UK, "qr": QE}, lambda s, h, i, j: s + _rcmha(h, i, j)),
    "dense-bias": ({}, {"bias": DENSE}, lambda s, h, i, j: s + float(DENSE[0, h, i, j])),
    "lowrank-bias": ({"rank": 3}, {"qb": QB, "kb": KB}, lambda s, h, i, j: s + float(QB[0, h, i] @ KB[0, 0, j])),
    "log-multiplicity": ({}, {"n": COUNTS}, lambda s, h, i, j: s + math.log(int(COUNTS[j]))),
    "event-time": (
        {},
        {"time": TIME, "rate": SLOPES},
        lambda s, h, i, j: s - float(SLOPES[h]) * float(TIME[0, i] - TIME[0, j]),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_score_is_its_definition(name: str) -> None:
    params, bindings, definition = CASES[name]
    entry = name.split(" of ")[0].split(" by ")[0]
    found = changed(an.catalog.build(entry, **params), **bindings)
    expected = [
        [[definition(float(SCORES[0, h, i, j]), h, i, j) for j in range(N)] for i in range(N)] for h in range(2)
    ]
    torch.testing.assert_close(found[0], torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-6)


def test_every_score_of_the_catalog_has_a_definition() -> None:
    ours = {n for n in an.catalog.names() if an.catalog.get(n).build.__module__ == "attnir.catalog.score_terms"}
    assert ours == {name.split(" of ")[0].split(" by ")[0] for name in CASES}


def test_music_transformers_skew_is_the_same_term() -> None:
    """The paper's way: pad a column on the left, reshape, drop the first row; right where j <= i."""
    e = torch.randn(N, 8, generator=G)
    q = torch.randn(1, 2, N, 8, generator=G)
    qe = q @ e.T
    skewed = torch.nn.functional.pad(qe, (1, 0)).reshape(1, 2, N + 1, N)[:, :, 1:]
    found = changed(an.catalog.build("music-relative", reach=N), qe=qe) - SCORES
    past = torch.ones(N, N).tril().bool()
    torch.testing.assert_close(found[:, :, past].float(), skewed[:, :, past])


@pytest.mark.parametrize(
    ("heads", "slopes"),
    [
        (1, [2**-8]),
        (8, [2.0**-h for h in range(1, 9)]),
        (6, [0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125]),  # those of 4, then every second one of 8
    ],
)
def test_slopes_are_those_of_the_paper(heads: int, slopes: list[float]) -> None:
    assert an.alibi_slopes(heads).tolist() == slopes


@pytest.mark.parametrize(
    "declare",
    [
        lambda: an.softcap(0.0),
        lambda: an.softcap(-3),
        lambda: an.alibi_slopes(0),
        lambda: an.relative_bias(-1),
        lambda: an.relative_bias(2.5),
        lambda: an.catalog.build("lowrank-bias", rank=0),
        lambda: an.catalog.build("lowrank-bias", rank=17),
    ],
)
def test_numbers_that_mean_nothing_are_refused(declare: Callable[[], object]) -> None:
    with pytest.raises(DeclarationError):
        declare()
