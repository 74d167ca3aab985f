"""Regions as images: which position stands where."""

from __future__ import annotations

import attnir as an
from attnir.grids import Grid, grids_of


def test_a_video_is_an_image_for_each_time() -> None:
    (grid,) = grids_of(an.grid(t=2, y=2, x=3), {}, 12)
    assert grid == Grid("", 0, ("t", "y", "x"), (2, 2, 3))
    assert [(name, positions.tolist()) for name, positions in grid.images()] == [
        ("t = 0", [[0, 1, 2], [3, 4, 5]]),
        ("t = 1", [[6, 7, 8], [9, 10, 11]]),
    ]


def test_four_axes_are_an_image_for_each_pair_of_the_first_two() -> None:
    (grid,) = grids_of(an.grid(s=2, t=2, y=1, x=2), {}, 8)
    assert [name for name, _ in grid.images()] == ["s = 0, t = 0", "s = 0, t = 1", "s = 1, t = 0", "s = 1, t = 1"]


def test_regions_follow_each_other_and_sizes_may_be_parameters() -> None:
    space = an.concat(text=an.param("n", low=1), image=an.grid(y=2, x=2))
    text, image = grids_of(space, {"n": 3}, 7)
    assert (text.start, text.sizes, image.start, image.sizes) == (0, (3,), 3, (2, 2))
    assert image.images()[0][1].tolist() == [[3, 4], [5, 6]] and text.images()[0][1].tolist() == [[0, 1, 2]]


def test_tokens_without_a_space_are_a_strip() -> None:
    (strip,) = grids_of(None, {}, 5)
    assert strip.images()[0][1].tolist() == [[0, 1, 2, 3, 4]]
