"""Radial attention, against its definition."""

from __future__ import annotations

import pytest
import torch

import attnir as an
from attnir.errors import DeclarationError
from attnir.masks import Mask
from tests.attnir.catalog.checks import brute, cells, matrix


@pytest.mark.parametrize(
    ("frames", "tokens", "text", "decay", "block", "first_frame"),
    [
        (1, 4, 0, 1.0, 2, False),
        (2, 6, 3, 1.0, 2, True),
        (9, 8, 0, 1.0, 2, False),
        (9, 8, 2, 0.95, 4, False),
        (17, 4, 0, 0.2, 2, True),
        (12, 6, 1, 0.5, 3, True),
        (6, 12, 0, 2.0, 12, False),
        (20, 3, 0, 1.0, 1, False),
        (6, 24, 0, 0.95, 2, False),
        (5, 12, 1, 1.5, 1, False),
    ],
)
def test_radial_is_its_definition(
    frames: int, tokens: int, text: int, decay: float, block: int, first_frame: bool
) -> None:
    places = cells(frames, tokens)

    def on(i: int, j: int) -> bool:
        if i >= len(places) or j >= len(places):
            return True
        (f, a), (g, b) = places[i], places[j]
        bits, far = len(bin(abs(f - g))) - 2 if f != g else 0, abs(f - g)
        level = 2 ** (len(bin(tokens)) - 2) / 2**bits
        if first_frame and g == 0:
            return True
        if level < block and far % int(block / level):
            return False
        return abs(a - b) <= (tokens if far <= 1 else max(decay * level, block))

    found = an.catalog.build(
        "radial", frames=frames, tokens=tokens, text=text, decay=decay, block=block, first_frame=first_frame
    )
    n = len(places) + text
    assert matrix(found, n)[0, 0].equal(brute(on, n))


def blocks_on(mask: Mask, length: int) -> int:
    """How many blocks of 128 x 128 the released code would attend to, by the majority of a block's columns."""
    unplaced, total = Mask(mask.predicate), 0  # rows of a space come whole from position 0
    for start in range(0, length, 128):
        pairs = matrix(unplaced, 128, length, q_start=start)[0, 0].view(128, -1, 128).sum(0)
        total += int(((pairs > 128 / 3).sum(-1) > 0.6 * (pairs > 0).sum(-1)).sum())
    return total


@pytest.mark.parametrize(("frames", "tokens", "blocks"), [(8, 256, 224), (16, 512, 2732)])
def test_its_blocks_are_as_many_as_the_specification_counts(frames: int, tokens: int, blocks: int) -> None:
    assert blocks_on(an.catalog.build("radial", frames=frames, tokens=tokens), frames * tokens) == blocks


def test_radial_is_symmetric_and_bands_never_widen() -> None:
    found = matrix(an.catalog.build("radial", frames=16, tokens=8, block=2), 128)[0, 0]
    assert found.equal(found.T)
    widths = [int(found[:8, 8 * f : 8 * f + 8].sum()) for f in (0, 1, 2, 4, 8)]
    assert widths == sorted(widths, reverse=True)
    assert torch.equal(found.diagonal(), torch.ones(128, dtype=torch.bool))


def test_text_may_be_a_parameter() -> None:
    build = an.catalog.get("radial").build
    found = build(5, 4, an.param("words", low=1), block=2)
    assert matrix(found, 23, words=3).equal(matrix(build(5, 4, 3, block=2), 23))


def test_radial_refuses_what_does_not_fit() -> None:
    for wrong in ({"tokens": 5}, {"frames": 0}, {"block": 0}, {"text": -1}, {"decay": 0.0}):
        with pytest.raises(DeclarationError):
            an.catalog.build("radial", **({"frames": 4, "tokens": 4, "block": 2} | wrong))
