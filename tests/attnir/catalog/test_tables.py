"""Attention over tables, against its definitions."""

from __future__ import annotations

import pytest
import torch

import attnir as an
from tests.attnir.catalog.checks import brute, matrix
from tests.attnir.catalog.drawing import drawn


@pytest.mark.parametrize("length, specials, reach, random", [(1, 0, 0, 0), (9, 2, 1, 2), (30, 6, 4, 5), (30, 0, 0, 30)])
def test_orion_msp_is_its_definition(length: int, specials: int, reach: int, random: int) -> None:
    pads = {i for i in range(length) if i % 11 == 8}

    def allow(i: int, j: int) -> bool:
        if j in pads:
            return False
        near = abs(i - j) <= reach or i == j
        return i < specials or j < specials or near or j in drawn(5, i, random, specials, length)

    pattern = an.catalog.build("orion-msp", length=length, specials=specials, reach=reach, random=random, seed=5)
    pad = torch.tensor([int(i in pads) for i in range(length)])
    assert matrix(pattern, length, pad=pad)[0, 0].equal(brute(allow, length))


def test_orion_msp_keeps_as_much_as_the_specification_says() -> None:
    pad = torch.zeros(106, dtype=torch.int64)
    found = matrix(an.catalog.build("orion-msp", length=106), 106, pad=pad)
    assert round(100 * float(found.double().mean()), 1) == 18.8
    without_window = matrix(an.catalog.build("orion-msp", length=106, reach=0), 106, pad=pad)
    assert round(100 * float(without_window.double().mean()), 1) == 11.9  # what the released code keeps


def test_orion_msp_draws_so_many_keys_for_each_query() -> None:
    pad = torch.zeros(40, dtype=torch.int64)
    params = {"length": 40, "specials": 4, "reach": 0, "random": 3}
    found = matrix(an.catalog.build("orion-msp", **params, seed=an.param("seed")), 40, pad=pad, seed=1)[0, 0]
    others = (found & ~torch.eye(40, dtype=torch.bool))[4:, 4:].sum(1)
    assert set(others.tolist()) == {2, 3}  # three, of which one may be the query's own
    assert not matrix(an.catalog.build("orion-msp", **params, seed=2), 40, pad=pad)[0, 0].equal(found)


@pytest.mark.parametrize("name", ["npt-rows", "npt-columns"])
@pytest.mark.parametrize("n", [1, 7])
def test_npt_sees_everything(name: str, n: int) -> None:
    assert matrix(an.catalog.build(name), n, batch=3).equal(brute(lambda i, j: True, n).expand(3, 1, n, n))


@pytest.mark.parametrize(
    "params", [{"length": 0}, {"length": 4, "specials": 5}, {"length": 9, "random": 4}, {"length": 9, "reach": -1}]
)
def test_sizes_that_mean_nothing_are_refused(params: dict[str, int]) -> None:
    with pytest.raises(an.AttnirError, match="is an integer from"):
        an.catalog.build("orion-msp", **params)
