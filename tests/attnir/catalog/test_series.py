"""Series, against their definitions."""

from __future__ import annotations

import pytest
import torch

import attnir as an
from tests.attnir.catalog.checks import brute, matrix, rows

PADS = [set(), {0}, {0, 1, 2}, {4, 9}, set(range(10))]


def given(pads: set[int], n: int) -> torch.Tensor:
    return torch.tensor([3 * (i in pads) for i in range(n)])  # anything but 0 is padding


@pytest.mark.parametrize("pads", PADS)
@pytest.mark.parametrize("n", [1, 10])
def test_sasrec_is_its_definition(n: int, pads: set[int]) -> None:
    """Causal without padded keys; then rows of padding are set to 0, as if they were empty."""
    found = matrix(an.catalog.build("sasrec"), n, pad=given(pads, n))[0, 0]
    assert found.equal(brute(lambda i, j: i not in pads and j in set(range(i + 1)) - pads, n))


@pytest.mark.parametrize("pads", PADS)
@pytest.mark.parametrize("n", [1, 10])
def test_bert4rec_is_its_definition(n: int, pads: set[int]) -> None:
    found = matrix(an.catalog.build("bert4rec"), n, pad=given(pads, n))[0, 0]
    assert found.equal(brute(lambda i, j: j not in pads, n))


def test_saits_is_its_definition() -> None:
    assert rows(an.catalog.build("saits"), 4) == "0111/1011/1101/1110"
    for n in (1, 2, 48):
        found = matrix(an.catalog.build("saits"), n)[0, 0]
        assert found.equal(brute(lambda i, j: i < j or i > j, n))
    assert round(100 * float(found.double().mean()), 1) == 97.9


def test_saits_of_one_step_gives_nothing() -> None:
    q = torch.ones(1, 1, 1, 4)
    assert not an.compile(an.catalog.build("saits"))(q, q, q).any()
