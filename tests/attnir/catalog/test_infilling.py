"""Blocks of video and blanks of a template, against their definitions."""

from __future__ import annotations

import pytest
import torch

import attnir as an
from tests.attnir.catalog.checks import brute, matrix, rows


def test_nbp_video_is_the_literal_matrix() -> None:
    found = rows(an.catalog.build("nbp-video", prefix=3, block=2), 7, pad=torch.tensor([0, 0, 1, 0, 0, 0, 0]))
    assert found == "1100000/1100000/1100000/1101100/1101100/1101111/1101111"


@pytest.mark.parametrize("n", [1, 7, 30])
@pytest.mark.parametrize("prefix, block", [(0, 1), (3, 2), (5, 4), (7, 30), (40, 3)])
def test_nbp_video_is_its_definition(n: int, prefix: int, block: int) -> None:
    """Frames are cut from the tokens behind the prompt. `pad` is read in the prompt alone."""
    frames = [range(s, s + block) for s in range(prefix, prefix + n, block)]
    pads = {1, 4, 11}

    def frame(i: int) -> int:
        return next((f for f, tokens in enumerate(frames) if i in tokens), -1)

    def allow(i: int, j: int) -> bool:
        if j < prefix:
            return j not in pads
        return i >= prefix and frame(j) <= frame(i)

    pad = torch.tensor([int(i in pads) for i in range(n)])
    found = matrix(an.catalog.build("nbp-video", prefix=prefix, block=block), n, pad=pad)[0, 0]
    assert found.equal(brute(allow, n))
    sizes = {"prefix": an.param("p", low=0), "block": an.param("block", low=1)}
    given = matrix(an.catalog.build("nbp-video", **sizes), n, pad=pad, p=prefix, block=block)
    assert given[0, 0].equal(found)


BLANKS = [
    [(1, 0)],
    [(1, 0), (1, 1), (1, 2), (3, 0), (3, 1), (5, 0)],
    [(3, 4), (1, 0), (3, 2), (1, 2), (1, 1), (3, 0), (0, 6)],
]


@pytest.mark.parametrize("span", [7, 256])
@pytest.mark.parametrize("places", BLANKS)
def test_text_infilling_is_its_definition(places: list[tuple[int, int]], span: int) -> None:
    """Causal over the current blank, in any order of the tokens."""
    n = len(places)
    place = torch.tensor([span * segment + offset for segment, offset in places])
    found = matrix(an.catalog.build("text-infilling", span=span), n, place=place)[0, 0]
    assert found.equal(brute(lambda i, j: places[i][0] == places[j][0] and places[j][1] <= places[i][1], n))


def test_text_infilling_sees_the_whole_template() -> None:
    assert matrix(an.catalog.build("text-infilling", template=True), 4, 9).all()


@pytest.mark.parametrize("places", BLANKS)
def test_text_infilling_joint_is_its_definition(places: list[tuple[int, int]]) -> None:
    tokens = [(0, 0), (0, 1), (2, 0), (4, 0), *places]
    n = len(tokens)

    def allow(i: int, j: int) -> bool:
        (si, oi), (sj, oj) = tokens[i], tokens[j]
        return j < 4 or (si == sj and oj <= oi)

    place = torch.tensor([256 * segment + offset for segment, offset in tokens])
    template = torch.tensor([1] * 4 + [0] * len(places))
    found = matrix(an.catalog.build("text-infilling-joint"), n, place=place, template=template)[0, 0]
    assert found.equal(brute(allow, n))


@pytest.mark.parametrize(
    "name, params",
    [
        ("nbp-video", {"prefix": -1, "block": 2}),
        ("nbp-video", {"prefix": 3, "block": 0}),
        ("text-infilling", {"span": 0}),
        ("text-infilling-joint", {"span": an.param("span")}),
    ],
)
def test_sizes_that_mean_nothing_are_refused(name: str, params: dict[str, object]) -> None:
    with pytest.raises(an.AttnirError, match="is an integer from"):
        an.catalog.build(name, **params)
