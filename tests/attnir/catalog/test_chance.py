"""Chance: it is the stated function, looks random, and is the same whatever the tile."""

from __future__ import annotations

import pytest
import torch

import attnir as an
from attnir.catalog.chance import scramble
from tests.attnir.catalog.checks import matrix

PRIME = 1073741789


def scrambled(*numbers: int) -> int:
    """The rounds of attnir/catalog/chance.py, in plain integers."""
    x = 0
    for number, key in zip([*numbers, 0], [611953, 350377163, 824633702, 160481219, 982451653], strict=False):
        x = pow(x + number + key, 3, PRIME)
    return x


def drawn(seed: int, row: int, count: int, low: int, high: int) -> set[int]:
    """One number of each of `count` equal parts of [low, high)."""
    ends = [low + (high - low) * n // count for n in range(count + 1)] if count else []
    return {ends[n] + scrambled(seed, row * count + n) % (ends[n + 1] - ends[n]) for n in range(count)}


@pytest.mark.parametrize("numbers", [(0,), (0, 1), (7, 5, 3), (-4, 2**40, 11, 2**30)])
def test_scramble_is_its_rounds(numbers: tuple[int, ...]) -> None:
    found = matrix(an.mask(lambda: scramble(*numbers) == scrambled(*numbers)), 1)
    assert found.all()
    assert 0 <= scrambled(*numbers) < PRIME


def test_scramble_only_permutes() -> None:
    assert len({scrambled(3, j) for j in range(20_000)}) == 20_000


@pytest.mark.parametrize("modulus", [2, 3, 16])
def test_scramble_looks_random(modulus: int) -> None:
    n = 4096
    values = torch.tensor([[scrambled(seed, j) % modulus for j in range(n)] for seed in range(16)])
    counts = torch.stack([torch.bincount(row, minlength=modulus) for row in values]).double()
    chi2 = ((counts - n / modulus) ** 2 / (n / modulus)).sum(-1)
    assert (chi2 < 60).all()  # with 15 degrees of freedom less than one in a million
    same = [(values[:, lag:] == values[:, : n - lag]).double().mean().item() for lag in range(1, 20)]
    across = [(values[s] == values[s + 1]).double().mean().item() for s in range(15)]
    assert all(abs(f - 1 / modulus) < 0.04 for f in same + across)
