"""Masks for long documents, against their definitions."""

from __future__ import annotations

import pytest
import torch

import attnir as an
from tests.attnir.catalog.checks import brute, matrix
from tests.attnir.catalog.drawing import drawn


def sees(i: int, j: int, reach: int, dilation: int, is_global: set[int]) -> bool:
    return j in range(i - reach * dilation, i + reach * dilation + 1, dilation) or bool({i, j} & is_global)


@pytest.mark.parametrize("reach, dilation, first", [(0, 1, 0), (3, 1, 2), (2, 3, 1), (50, 1, 50)])
@pytest.mark.parametrize("n", [1, 5, 33])
def test_longformer_is_its_definition(n: int, reach: int, dilation: int, first: int) -> None:
    found = matrix(an.catalog.build("longformer", reach=reach, dilation=dilation, first=first), n)[0, 0]
    assert found.equal(brute(lambda i, j: sees(i, j, reach, dilation, set(range(first))), n))


@pytest.mark.parametrize("marked", [set(), {0}, {3, 17, 30}])
def test_longformer_reads_which_tokens_are_global(marked: set[int]) -> None:
    given = torch.tensor([5 * (i in marked) for i in range(31)])  # anything but 0 marks a token
    found = matrix(an.catalog.build("longformer", reach=2), 31, is_global=given)[0, 0]
    assert found.equal(brute(lambda i, j: sees(i, j, 2, 1, marked), 31))


@pytest.mark.parametrize("blocks, block", [(1, 4), (5, 1), (7, 3), (8, 4)])
@pytest.mark.parametrize("reach, first, last, random", [(0, 0, 0, 0), (1, 1, 1, 1), (1, 0, 1, 0), (0, 1, 0, 1)])
def test_bigbird_is_its_definition(blocks: int, block: int, reach: int, first: int, last: int, random: int) -> None:
    params = {"reach": reach, "first": first, "last": last, "random": random}
    ends = {*range(first), *range(blocks - last, blocks)}

    def allow(i: int, j: int) -> bool:
        a, b = i // block, j // block
        return a - reach <= b <= a + reach or a in ends or b in ends or b in drawn(9, a, random, 0, blocks)

    found = matrix(an.catalog.build("bigbird", blocks=blocks, block=block, seed=9, **params), blocks * block)
    assert found[0, 0].equal(brute(allow, blocks * block))


def test_bigbird_draws_so_many_blocks_for_each_row() -> None:
    params = {"blocks": 20, "block": 2, "reach": 0, "first": 0, "last": 0, "random": 3}
    one, two = (matrix(an.catalog.build("bigbird", **params, seed=s), 40)[0, 0, ::2, ::2] for s in (1, 2))
    for found in (one, two):
        others = (found & ~torch.eye(20, dtype=torch.bool)).sum(1)
        assert set(others.tolist()) <= {2, 3}  # three, of which one may be the block itself
    assert not one.equal(two)
    seed = an.catalog.build("bigbird", **params, seed=an.param("seed"))
    assert matrix(seed, 40, seed=1)[0, 0, ::2, ::2].equal(one)


@pytest.mark.parametrize(
    "name, params",
    [
        ("longformer", {"reach": -1}),
        ("longformer", {"dilation": 0}),
        ("longformer", {"first": -1}),
        ("bigbird", {"blocks": 0}),
        ("bigbird", {"blocks": 4, "random": 5}),
        ("bigbird", {"blocks": an.param("blocks", low=1)}),
    ],
)
def test_sizes_that_mean_nothing_are_refused(name: str, params: dict[str, object]) -> None:
    with pytest.raises(an.AttnirError, match="an integer"):
        an.catalog.build(name, **params)
