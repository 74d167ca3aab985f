"""Which query is meant."""

from __future__ import annotations

import pytest

import attnir as an
from attnir.errors import ShapeError
from attnir.pictures.near import index_of

VIDEO = an.grid(t=4, y=6, x=8)
PAGE = an.concat(text=10, image=an.grid(y=6, x=8))


def call_of(space: an.Space | None, q_len: int, k_len: int | None = None, q_start: int | None = None):
    mask = an.full() if space is None else an.mask(lambda q, k: k >= 0, grid=space)
    return an.compile(mask).explain(q_len, k_len, q_start=q_start, tile=(16, 16)).call


def test_coordinates_are_a_position() -> None:
    assert index_of((3, 2, 5), VIDEO, call_of(VIDEO, 192)) == 3 * 48 + 2 * 8 + 5
    assert index_of([2, 5], PAGE, call_of(PAGE, 58)) == 10 + 2 * 8 + 5
    assert index_of((7,), PAGE, call_of(PAGE, 58)) == 7


def test_a_position_counts_from_the_first_query() -> None:
    call = call_of(None, 8, 20)
    assert call.q_start == 12 and index_of(14, None, call) == 2
    with pytest.raises(ShapeError, match="no query stands at position 3; queries stand at positions 12 to 19"):
        index_of(3, None, call)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ((3, 6, 0), r"outside grid\(t=4, y=6, x=8\): coordinates are integers from 0, t below 4, y below 6, x below 8"),
        ((3, -1, 0), "outside"),
        ((3, 2), "2 axes; with .*, 0 regions have as many: give a position"),
        ("3", "a query is a position, or the coordinates of a token"),
        ((), "a query is a position"),
        ((1.0, 2, 3), "a query is a position"),
        (True, "a query is a position"),
        (192, "no query stands at position 192"),
    ],
)
def test_a_query_that_is_not_there_is_refused(query: object, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        index_of(query, VIDEO, call_of(VIDEO, 192))


def test_coordinates_need_a_space() -> None:
    with pytest.raises(ShapeError, match="where queries have no space, none has as many"):
        index_of((1, 2), None, call_of(None, 8))
