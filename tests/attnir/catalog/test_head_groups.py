"""Heads of two kinds, against their definitions, and the kept fractions of the specifications."""

from __future__ import annotations

import pytest
import torch

import attnir as an
from attnir.masks import Mask
from tests.attnir.catalog.checks import brute, matrix


def kept_of_causal(pattern: Mask, n: int, heads: int) -> list[float]:
    """Live pairs in percent of the causal ones, head by head."""

    def kept(head: int) -> float:
        alone = an.mask(lambda h: h == head) & pattern
        return round(100 * an.compile(alone).explain(n, heads=heads).live_pairs / (n * (n + 1) // 2), 1)

    return [kept(head) for head in range(heads)]


def groups(n: int, group: int, shift: int) -> list[int]:
    """The group of each token: cut every `group` tokens, the first cut `shift` tokens early."""
    return [sum(i >= cut for cut in range(group - shift, n + group, group)) for i in range(n)]


def test_s2_attn_shifts_its_groups() -> None:
    assert groups(8, 2, 1) == [0, 1, 1, 2, 2, 3, 3, 4]
    found = matrix(an.catalog.build("s2-attn", heads=2, group=2), 8, heads=2)[0]
    for h, g in enumerate(([0, 0, 1, 1, 2, 2, 3, 3], [0, 1, 1, 2, 2, 3, 3, 4])):
        assert found[h].equal(brute(lambda i, j, g=g: j <= i and g[i] == g[j], 8))


@pytest.mark.parametrize("heads", [2, 6])
@pytest.mark.parametrize("n, group", [(1, 1), (16, 4), (17, 4), (20, 5), (9, 30), (64, 16)])
def test_s2_attn_is_its_definition(n: int, group: int, heads: int) -> None:
    found = matrix(an.catalog.build("s2-attn", heads=heads, group=group), n, heads=heads)[0]
    given = an.catalog.build("s2-attn", heads=heads, group=an.param("g", low=1))
    assert matrix(given, n, heads=heads, g=group)[0].equal(found)
    for h in range(heads):
        g = groups(n, group, 0 if h < heads / 2 else group // 2)
        assert found[h].equal(brute(lambda i, j, g=g: j <= i and g[i] == g[j], n))


def test_s2_attn_keeps_as_much_as_published() -> None:
    assert kept_of_causal(an.catalog.build("s2-attn", heads=2, group=2048), 8192, 2) == [25.0, 21.9]


@pytest.mark.parametrize("unshifted", [0, 1, 3])
@pytest.mark.parametrize("n, group, sinks", [(16, 4, 0), (19, 4, 1), (30, 6, 9), (5, 2, 40)])
def test_sink_lora_is_its_definition(n: int, group: int, sinks: int, unshifted: int) -> None:
    pattern = an.catalog.build("sink-lora", heads=6, group=group, unshifted=unshifted, sinks=sinks)
    found = matrix(pattern, n, heads=6)[0]
    for h in range(6):
        g = groups(n, group, 0 if h < 3 + unshifted else group // 2)
        assert found[h].equal(brute(lambda i, j, g=g: j <= i and (g[i] == g[j] or i < sinks or j < sinks), n))


def test_sink_lora_keeps_as_much_as_the_specification_says() -> None:
    for sinks in (0, 64):
        pattern = an.catalog.build("sink-lora", heads=2, group=2048, sinks=sinks)
        for kept in kept_of_causal(pattern, 8192, 2):
            assert 21.9 <= kept <= 25.0 + 100 * 2 * sinks / 8192


@pytest.mark.parametrize("n", [1, 6, 25])
@pytest.mark.parametrize("short, reach", [(0, 3), (1, 1), (2, 4), (4, 40)])
def test_ls_attention_is_its_definition(n: int, short: int, reach: int) -> None:
    found = matrix(an.catalog.build("ls-attention", short=short, reach=reach), n, heads=4)[0]
    for h in range(4):
        most = reach if h < short else n
        assert found[h].equal(brute(lambda i, j, most=most: i - j in range(most), n))


def test_ls_attention_keeps_as_much_as_the_specification_says() -> None:
    assert kept_of_causal(an.catalog.build("ls-attention", short=1, reach=512), 8192, 2) == [12.1, 100.0]


@pytest.mark.parametrize(
    "name, params",
    [
        ("s2-attn", {"heads": 3, "group": 4}),
        ("s2-attn", {"heads": 0, "group": 4}),
        ("s2-attn", {"heads": 2, "group": 0}),
        ("sink-lora", {"heads": 2, "group": 4, "unshifted": 2}),
        ("sink-lora", {"heads": 2, "group": 4, "sinks": -1}),
        ("ls-attention", {"short": -1}),
        ("ls-attention", {"short": 1, "reach": 0}),
    ],
)
def test_sizes_that_mean_nothing_are_refused(name: str, params: dict[str, object]) -> None:
    with pytest.raises(an.AttnirError, match=r"is an integer from|is even"):
        an.catalog.build(name, **params)


def test_the_number_of_heads_is_the_pattern_s() -> None:
    q = torch.ones(1, 4, 8, 4)
    with pytest.raises(an.AttnirError, match="2 query heads"):
        an.compile(an.catalog.build("s2-attn", heads=2, group=4))(q, q, q)
