"""CLEAR, against its definition."""

from __future__ import annotations

import pytest

import attnir as an
from attnir.errors import DeclarationError
from tests.attnir.catalog.checks import brute, cells, kept, matrix, written


def test_the_centre_of_an_image_sees_the_literal_disc() -> None:
    found = matrix(an.catalog.build("clear", height=5, width=5, text=1, radius=2), 26)[0, 0]
    assert written(found[1 + 12 : 1 + 13, 1:]) == "0000001110011100111000000"


@pytest.mark.parametrize(("radius", "tokens"), [(1, 1), (2, 9), (8, 193), (16, 793), (32, 3205)])
def test_discs_have_the_tokens_of_the_specification(radius: int, tokens: int) -> None:
    side = 2 * radius + 1
    found = an.catalog.build("clear", height=side, width=side, text=1, radius=radius)
    centre = 1 + radius * side + radius
    row = matrix(found, 1, 1 + side * side, q_start=centre)[0, 0, 0]
    assert int(row[1:].sum()) == tokens and row[0]


@pytest.mark.parametrize(
    ("height", "width", "text", "radius", "pool"),
    [(5, 4, 3, 2, 0), (4, 6, 1, 3, 2), (6, 3, 2, 1, 3), (2, 2, 4, 9, 1), (4, 4, 5, 2, 4)],
)
def test_clear_is_its_definition(height: int, width: int, text: int, radius: int, pool: int) -> None:
    tokens = cells(height, width)
    image_end = text + len(tokens)
    keys = image_end + (len(tokens) // pool**2 if pool else 0)

    def allow(i: int, j: int) -> bool:
        if i < text:
            return j < image_end
        if j < text or j >= image_end:
            return True
        (y, x), (v, u) = tokens[i - text], tokens[j - text]
        return (y - v) ** 2 + (x - u) ** 2 < radius**2

    found = an.catalog.build("clear", height=height, width=width, text=text, radius=radius, pool=pool)
    assert matrix(found, image_end, keys)[0, 0].equal(brute(allow, image_end, keys))


def test_clear_keeps_what_the_specification_says() -> None:
    assert kept(an.catalog.build("clear", height=128, width=128), 128 * 128 + 512) == 10.05


def test_clear_at_run_time() -> None:
    build = an.catalog.get("clear").build
    found = build(an.param("height", low=1), 5, an.param("words", low=1), an.param("radius", low=1, high=2**12))
    assert matrix(found, 23, height=4, words=3, radius=2).equal(matrix(build(4, 5, 3, 2), 23))


def test_clear_refuses_what_does_not_fit() -> None:
    for wrong in ({"radius": 0}, {"pool": 3}, {"pool": -1}, {"text": 0}, {"width": 0}):
        with pytest.raises(DeclarationError):
            an.catalog.build("clear", **({"height": 4, "width": 4, "text": 2, "radius": 2} | wrong))
