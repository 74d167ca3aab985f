"""Every arrangement of a pattern, the one that is taken and the others, visits each live pair once and no dead one."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import attnir as an
from attnir.codegen.plan import Plan
from attnir.program_text import read_program
from tests import layouts as some
from tests.layouts import LAID, Laid, findings


def check(case: Laid, tile: tuple[int, int], transposed: bool) -> None:
    """By what a call runs: queries that are only some of their space are taken without it."""
    found = Plan(an.pattern(case.pattern)).on(case.call).arrangement(tile, transposed=transposed)
    for candidate in (found.taken, *found.others):
        assert findings(candidate.launches, case) == set(), candidate.name
        for program in (p for launch in candidate.launches for p in launch):
            assert read_program(str(program)) == program


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("tile", [(8, 4)])
@pytest.mark.parametrize("name", LAID)
def test_every_candidate_is_exact(name: str, tile: tuple[int, int], transposed: bool) -> None:
    check(LAID[name], tile, transposed)


UNIONS = ["frame or pixel", "row or column", "blocks in a row or a column", "even keys or earlier ones", "per head"]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("name", UNIONS)
def test_tiles_small_enough_to_be_full_in_two_boxes_of_a_union(name: str, transposed: bool) -> None:
    check(LAID[name], (2, 2), transposed)


SOME_QUERIES = Laid(an.neighborhood(some.IMAGE, 3), 7, 63, q_start=30)


@given(some.laid(), some.tiles, st.booleans())
@example(SOME_QUERIES, (4, 4), True)
@example(SOME_QUERIES, (4, 4), False)
@settings(max_examples=40)
def test_every_candidate_of_a_random_pattern_is_exact(case: Laid, tile: tuple[int, int], transposed: bool) -> None:
    check(case, tile, transposed)
