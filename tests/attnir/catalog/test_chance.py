"""Chance: it is the stated function, looks random, and is the same whatever the tile."""

from __future__ import annotations

import pytest
import torch

import attnir as an
from attnir.catalog.chance import scramble
from tests.attnir.catalog.checks import matrix
from tests.attnir.catalog.drawing import PRIME, scrambled


@pytest.mark.parametrize("numbers", [(0,), (0, 1), (7, 5, 3), (-4, 2**40, 11, 2**30)])
def test_scramble_is_its_rounds(numbers: tuple[int, ...]) -> None:
    found = an.mask(lambda q: (q == 0) & (scramble(q + numbers[0], *numbers[1:]) == scrambled(*numbers)))
    assert matrix(found, 1).all()
    assert 0 <= scrambled(*numbers) < PRIME


def test_scramble_only_permutes() -> None:
    assert len({scrambled(j, 3) for j in range(20_000)}) == 20_000


@pytest.mark.parametrize("modulus", [2, 3, 16])
def test_scramble_looks_random(modulus: int) -> None:
    n = 4096
    values = torch.tensor([[scrambled(j, seed) % modulus for j in range(n)] for seed in range(16)])
    counts = torch.stack([torch.bincount(row, minlength=modulus) for row in values]).double()
    chi2 = ((counts - n / modulus) ** 2 / (n / modulus)).sum(-1)
    assert (chi2 < 60).all()  # with 15 degrees of freedom less than one in a million
    same = [(values[:, lag:] == values[:, : n - lag]).double().mean().item() for lag in range(1, 20)]
    across = [(values[s] == values[s + 1]).double().mean().item() for s in range(15)]
    assert all(abs(f - 1 / modulus) < 0.04 for f in same + across)
