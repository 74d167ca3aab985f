"""Spaces: coordinates of tokens on grids and in regions, their texts, and what a declaration must keep to."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from hypothesis import given, settings

import attnir as an
from attnir import expr as ex
from attnir.errors import AttnirError, DeclarationError, IntegerExpectedError, ShapeError, TextError, UnknownNameError
from attnir.space import Space
from attnir.testing.arranged import spaces
from attnir.testing.meaning import matrix, meaning, picture
from tests import layouts as some
from tests.checks import refused
from tests.layouts import LAID, Laid
from tests.test_bad_input import wrong

PAGE = an.concat(text=3, image=an.grid(y=2, x=4))
H, W = an.param("H", low=1), an.param("W", low=1)


def shown(mask: an.Mask, q_len: int, k_len: int | None = None, **bindings: object) -> list[str]:
    """The mask as lines, one per query: `1` live, `.` dead."""
    return picture(Laid(mask, q_len, k_len, bindings=bindings).live[0, 0])


def test_the_last_axis_is_the_fastest() -> None:
    q = an.grid(t=2, y=3, x=4).coordinates(ex.Q)
    found = [tuple(meaning(q[a], {"q": at}) for a in ("t", "y", "x")) for at in range(24)]
    assert found == list(product(range(2), range(3), range(4)))


def test_regions_follow_each_other() -> None:
    space = an.concat(a=2, b=an.grid(y=2, x=3), c=3)
    q = space.coordinates(ex.Q)
    assert [meaning(q["a"], {"q": at}) for at in (0, 1)] == [0, 1]
    assert [(meaning(q["y"], {"q": at}), meaning(q["x"], {"q": at})) for at in range(2, 8)] == [
        *product(range(2), range(3))
    ]
    assert [meaning(q["c"], {"q": at}) for at in (8, 9, 10)] == [0, 1, 2]
    inside = [[bool(meaning(space.contains(ex.Q, r), {"q": at})) for at in range(11)] for r in space.regions]
    assert ["".join("1" if x else "." for x in row) for row in inside] == ["11.........", "..111111...", "........111"]


def test_a_cross_on_an_image() -> None:
    cross = an.mask(lambda q, k: abs(q.y - k.y) + abs(q.x - k.x) <= 1, grid=an.grid(y=2, x=3))
    assert shown(cross, 6) == ["11.1..", "111.1.", ".11..1", "1..11.", ".1.111", "..1.11"]


def test_text_sees_text_and_pixels_see_their_row() -> None:
    mask = an.mask(lambda q, k: k.in_("text") | q.in_("image") & k.in_("image") & (q.y == k.y), grid=PAGE)
    assert shown(mask, 11) == ["111........"] * 3 + ["1111111...."] * 4 + ["111....1111"] * 4


def test_keys_in_a_space_of_their_own() -> None:
    pooled = an.mask(lambda q, k: (q.y // 2 == k.v) & (q.x // 2 == k.u), grid=(an.grid(y=2, x=4), an.grid(v=1, u=2)))
    assert shown(pooled, 8, 2) == ["1.", "1.", ".1", ".1"] * 2
    below = an.mask(lambda q, k: k.y <= q, grid=(None, an.grid(y=3, x=2)))
    assert picture(Laid(below, 3, 6, q_start=0).live[0, 0]) == ["11....", "1111..", "111111"]


def test_sizes_at_run_time() -> None:
    cross = an.mask(lambda q, k: abs(q.y - k.y) + abs(q.x - k.x) <= 1, grid=an.grid(y=H, x=W))
    fixed = an.mask(lambda q, k: abs(q.y - k.y) + abs(q.x - k.x) <= 1, grid=an.grid(y=5, x=3))
    assert shown(cross, 15, H=5, W=3) == shown(fixed, 15)
    assert [p.name for p in cross.params] == ["H", "W"]


def test_a_size_that_no_condition_reads_is_a_parameter_all_the_same() -> None:
    assert [p.name for p in an.mask(lambda q, k: q.y == k.y, grid=an.grid(t=H, y=3, x=W)).params] == ["H", "W"]


@pytest.mark.parametrize(
    ("space", "text"),
    [
        (an.grid(y=64, x=32), "grid(y=64, x=32)"),
        (an.grid(y=H, x=W), "grid(y=H, x=W)"),
        (PAGE, "concat(text=3, image=grid(y=2, x=4))"),
        (an.concat(text=H), "concat(text=H)"),
        (an.concat(image=an.grid(y=2)), "concat(image=grid(y=2))"),
    ],
)
def test_a_space_prints_as_it_is_written(space: Space, text: str) -> None:
    assert str(space) == text


@pytest.mark.parametrize("name", LAID)
def test_named_patterns_read_back(name: str) -> None:
    pattern = LAID[name].pattern
    assert an.parse(str(pattern)) == pattern


@given(some.laid())
@settings(max_examples=150)
def test_random_patterns_over_spaces_read_back_and_mean_what_they_say(case: Laid) -> None:
    assert an.parse(str(case.pattern)) == case.pattern


@given(some.laid())
@settings(max_examples=15)
def test_random_patterns_over_spaces_mean_the_same_in_plain_integers(case: Laid) -> None:
    small = Laid(case.pattern, min(case.q_len, 9), case.k_len, 2, 2, case.q_start or 0, case.bindings)
    assert torch.equal(small.live, matrix(case.pattern.predicate, small.call))


@given(spaces(), spaces())
@settings(max_examples=50)
def test_spaces_of_either_side_read_back(one: Space, other: Space) -> None:
    for grid in (one, (one, None), (None, other), (one, other)):
        pattern = an.mask(lambda q, k: k <= q, grid=grid)
        assert an.parse(str(pattern)) == pattern


BAD: dict[str, tuple[type[AttnirError], str, Callable[[], object]]] = {
    "no axis": (DeclarationError, "1 to 4 axes, not 0", lambda: an.grid()),
    "five axes": (DeclarationError, "1 to 4 axes, not 5", lambda: an.grid(a=1, b=1, c=1, d=1, e=1)),
    "zero": (DeclarationError, "`x` has 0 tokens", lambda: an.grid(y=3, x=0)),
    "negative": (DeclarationError, "`y` has -3 tokens", lambda: an.grid(y=-3)),
    "float": (IntegerExpectedError, "not 2.5", lambda: an.grid(y=wrong(2.5))),
    "text": (IntegerExpectedError, "'8'", lambda: an.grid(y=wrong("8"))),
    "parameter from 0": (DeclarationError, 'an.param("n", low=1)', lambda: an.grid(y=an.param("n", low=0))),
    "parameter of any sign": (DeclarationError, "can be zero", lambda: an.grid(y=an.param("n"))),
    "sum": (DeclarationError, "an integer or a parameter, not", lambda: an.grid(y=H + 1)),
    "underscore": (DeclarationError, "'_y' cannot name", lambda: an.grid(_y=3)),
    "method": (DeclarationError, "'in_' cannot name", lambda: an.grid(in_=3)),
    "keyword": (DeclarationError, "'if' cannot name", lambda: an.grid(**{"if": 3})),
    "too many": (DeclarationError, "at most 2**28", lambda: an.grid(y=2**20, x=2**20)),
    "no region": (DeclarationError, "no region given", lambda: an.concat()),
    "empty region": (DeclarationError, "`text` has 0 tokens", lambda: an.concat(text=0, image=an.grid(y=2))),
    "nested": (DeclarationError, "`page` is itself in regions", lambda: an.concat(page=PAGE)),
    "axis twice": (
        DeclarationError,
        "the axis `y` is there twice",
        lambda: an.concat(a=an.grid(y=2, x=2), b=an.grid(y=3, u=1)),
    ),
    "region and axis": (DeclarationError, "`y` is there twice", lambda: an.concat(y=3, image=an.grid(y=2))),
    "a grid in a grid": (
        IntegerExpectedError,
        "not <Space grid(x=3)> of type Space",
        lambda: an.grid(y=wrong(an.grid(x=3))),
    ),
    "region of no size": (IntegerExpectedError, "None", lambda: an.concat(text=wrong(None))),
    "no space": (DeclarationError, "not 64", lambda: an.mask(lambda q, k: k <= q, grid=wrong(64))),
    "three spaces": (
        DeclarationError,
        "a pair of them",
        lambda: an.mask(lambda q, k: k <= q, grid=wrong((PAGE, PAGE, PAGE))),
    ),
    "unknown axis": (
        UnknownNameError,
        "no coordinate `z`; it has text, y, x",
        lambda: an.mask(lambda q, k: q.z == k.z, grid=PAGE),
    ),
    "no grid": (UnknownNameError, "a token without a grid", lambda: an.mask(lambda q, k: q.y == k.y)),
    "a key without a grid": (
        UnknownNameError,
        "`k` has no coordinate `y`",
        lambda: an.mask(lambda q, k: q.y == k.y, grid=(PAGE, None)),
    ),
    "unknown region": (
        UnknownNameError,
        "no region 'sound'; there are 'text', 'image'",
        lambda: an.mask(lambda q, k: q.in_("sound"), grid=PAGE),
    ),
    "a grid has no regions": (
        UnknownNameError,
        "there are none",
        lambda: an.mask(lambda q, k: q.in_("text"), grid=an.grid(y=2)),
    ),
    "no name of a region": (
        DeclarationError,
        "`q.in_` takes the name of one region, not 0",
        lambda: an.mask(lambda q, k: wrong(q).in_(), grid=PAGE),
    ),
    "two names of regions": (
        DeclarationError,
        "`k.in_` takes the name of one region, not 2",
        lambda: an.mask(lambda q, k: wrong(k).in_("text", "image"), grid=PAGE),
    ),
    "no regions": (UnknownNameError, "lies in no regions", lambda: an.mask(lambda q, k: q.in_("text"))),
    "two spaces joined": (
        DeclarationError,
        "arrange the queries differently",
        lambda: (
            an.mask(lambda q, k: q.y == k.y, grid=an.grid(y=4)) & an.mask(lambda q, k: q.y == k.y, grid=an.grid(y=5))
        ),
    ),
    "text of two spaces": (
        TextError,
        "`q` is declared twice",
        lambda: an.parse("q = grid(y=2); q = grid(y=3); k <= q"),
    ),
    "text of no size": (TextError, "`y` has 0 tokens", lambda: an.parse("q, k = grid(y=0); k <= q")),
    "text of an unknown axis": (
        TextError,
        "no coordinate `z`; it has y",
        lambda: an.parse("q, k = grid(y=4); q.z == k.z"),
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused_and_why(name: str) -> None:
    refused(*BAD[name])


Q, K = torch.zeros(1, 1, 11, 16), torch.zeros(1, 1, 10, 16)
ON_PAGE = an.mask(lambda q, k: k.in_("text"), grid=PAGE)
LENGTHS: dict[str, tuple[list[str], Callable[[], object]]] = {
    "keys": (["10 keys", "arranges 11", str(PAGE)], lambda: an.compile(ON_PAGE)(Q, K, K)),
    "queries": (["10 queries", "arranges 11"], lambda: an.compile(ON_PAGE)(Q[:, :, :10], Q, Q, q_start=2)),
    "run time": (
        ["11 keys", "arranges 12", "grid(y=H, x=W)"],
        lambda: an.compile(an.neighborhood(an.grid(y=H, x=W), 1))(Q, Q, Q, H=3, W=4),
    ),
    "explained": (["7 keys", "arranges 11"], lambda: an.compile(ON_PAGE).explain(7)),
    "reference": (["10 keys", "arranges 11"], lambda: an.reference(ON_PAGE)(Q, K, K)),
}


@pytest.mark.parametrize("name", LENGTHS)
def test_tokens_that_do_not_fill_their_space_are_refused_with_both_numbers(name: str) -> None:
    words, call = LENGTHS[name]
    with pytest.raises(ShapeError) as caught:
        call()
    assert [w for w in words if w not in str(caught.value)] == []
