"""Sampled keys: the stated function of seed and indices, and as many as asked for."""

from __future__ import annotations

import pytest
import torch

import attnir as an
from tests.attnir.catalog.checks import brute, matrix
from tests.attnir.catalog.drawing import scrambled


@pytest.mark.parametrize("n", [1, 9, 40])
@pytest.mark.parametrize(
    "seed, keep, local", [(0, 500, None), (-7, 300, 2), (2**30, 0, 0), (4, 1000, None), (5, 1, 90)]
)
def test_ssa_is_its_definition(n: int, seed: int, keep: int, local: int | None) -> None:
    def allow(i: int, j: int) -> bool:
        near = local is not None and abs(i - j) <= local
        return near or scrambled(j, seed) % 1000 < keep

    found = matrix(an.catalog.build("ssa", seed=seed, keep=keep, local=local), n)[0, 0]
    assert found.equal(brute(allow, n))


def test_ssa_draws_anew_with_each_seed() -> None:
    pattern = an.catalog.build("ssa", seed=an.param("seed"), keep=an.param("keep", low=0, high=1000))
    drawn = torch.stack([matrix(pattern, 1, 4000, seed=s, keep=300)[0, 0, 0] for s in range(6)])
    assert ((drawn.double().mean(1) - 0.3).abs() < 0.03).all()
    together = (drawn[1:] & drawn[:-1]).double().mean(1)
    assert ((together - 0.09).abs() < 0.02).all()  # two subsets know nothing of each other


@pytest.mark.parametrize("seed, drop", [(0, 0), (1, 250), (-9, 999), (2, 1000)])
def test_key_drop_is_its_definition(seed: int, drop: int) -> None:
    found = matrix(an.catalog.build("key-drop", seed=seed, drop=drop), 5, 30, heads=3, batch=2)
    for b in range(2):
        for h in range(3):
            kept = [scrambled(j, seed, b, h) % 1000 >= drop for j in range(30)]
            assert found[b, h].equal(brute(lambda i, j, kept=kept: kept[j], 5, 30))


def test_key_drop_draws_for_each_sample_and_head() -> None:
    found = matrix(an.catalog.build("key-drop", drop=200), 1, 4000, heads=2, batch=2)[:, :, 0].flatten(0, 1)
    assert ((found.double().mean(1) - 0.8).abs() < 0.03).all()
    for a, b in torch.combinations(torch.arange(4)).tolist():
        assert abs(float((found[a] & found[b]).double().mean()) - 0.64) < 0.03


@pytest.mark.parametrize("name, params", [("ssa", {"keep": 0}), ("key-drop", {"drop": 1000})])
def test_without_a_key_the_output_is_nothing(name: str, params: dict[str, int]) -> None:
    q = torch.ones(1, 1, 8, 4)
    assert not an.compile(an.catalog.build(name, **params))(q, q, q).any()


@pytest.mark.parametrize(
    "name, params",
    [("ssa", {"keep": -1}), ("ssa", {"keep": 1001}), ("ssa", {"local": -1}), ("key-drop", {"drop": 1001})],
)
def test_sizes_that_mean_nothing_are_refused(name: str, params: dict[str, object]) -> None:
    with pytest.raises(an.AttnirError, match="is an integer from 0"):
        an.catalog.build(name, **params)
