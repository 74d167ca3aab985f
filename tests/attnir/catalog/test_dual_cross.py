"""The two cross-attentions of DCAL, against their definitions."""

from __future__ import annotations

import pytest
import torch

import attnir as an
from tests.attnir.catalog.checks import brute, matrix


@pytest.mark.parametrize("n", [1, 12, 197])
def test_pwca_sees_both_samples(n: int) -> None:
    found = matrix(an.catalog.build("dcal-pwca", tokens=n), n, 2 * n)[0, 0]
    assert found.equal(brute(lambda i, j: j in range(2 * n), n, 2 * n))
    assert int(found.sum()) == 2 * n * n  # 200 % of the work


@pytest.mark.parametrize("chosen, n", [(1, 1), (3, 12), (12, 3)])
def test_glca_sees_all_keys(chosen: int, n: int) -> None:
    found = matrix(an.catalog.build("dcal-glca", chosen=chosen, tokens=n), chosen, n)[0, 0]
    assert found.equal(brute(lambda i, j: True, chosen, n))


def test_lengths_that_do_not_fit_are_refused() -> None:
    for name, params, lengths in (
        ("dcal-pwca", {"tokens": 8}, (8, 8)),
        ("dcal-glca", {"chosen": 2, "tokens": 8}, (3, 8)),
    ):
        with pytest.raises(an.AttnirError, match="but the pattern arranges"):
            matrix(an.catalog.build(name, **params), *lengths)
    with pytest.raises(an.AttnirError, match="is an integer from 1"):
        an.catalog.build("dcal-pwca", tokens=0)
    with pytest.raises(an.AttnirError, match="is an integer from 1"):
        an.catalog.build("dcal-glca", chosen=0, tokens=4)


def test_pwca_is_one_softmax_over_both() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 1, 6, 4) for _ in range(3))
    partner = torch.tensor([1, 0])
    keys, values = torch.cat([k, k[partner]], 2), torch.cat([v, v[partner]], 2)
    found = an.compile(an.catalog.build("dcal-pwca", tokens=6))(q, keys, values)
    torch.testing.assert_close(found, torch.softmax(q @ keys.mT / 2, -1) @ values)
