"""Extents of boxes: every way to cut a tile is tried, and the cheapest taken; a dead program visits nothing."""

from __future__ import annotations

from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import attnir as an
from attnir.arrange import arrange
from attnir.cover import in_layouts
from attnir.draft import Draft, boxes, dead, finished
from attnir.layouts import Classes, lay_out, shapes
from attnir.ops import Side
from attnir.walk import pair_map, runs
from tests.layouts import Laid, findings


@given(st.integers(0, 8), st.integers(1, 4))
def test_all_ways_to_cut_a_power_of_two(bits: int, axes: int) -> None:
    found = list(boxes(2**bits, axes))
    assert len(found) == len(set(found))
    assert all(prod(box) == 2**bits and len(box) == axes for box in found)
    ways = prod(range(bits + 1, bits + axes)) // max(1, prod(range(1, axes)))
    assert len(found) == ways, "as many as sums of exponents"


def test_the_widest_last_axis_is_tried_first() -> None:
    assert list(boxes(8, 2)) == [(1, 8), (2, 4), (4, 2), (8, 1)]


def visited(case: Laid, box: tuple[int, ...], draft: Draft, rows_box: tuple[int, ...]) -> int:
    """The pairs of the tiles that a draft visits in boxes of given extents."""
    (shape,) = shapes(Side.QUERIES, case.pattern.spaces[0])
    program = draft.program(lay_out(shape, rows_box, Classes()), box)
    tiles = sum(int(run.count.sum()) for run in runs(program, case.call))
    return tiles * program.tile[0] * program.tile[1]


@pytest.mark.parametrize("kernel", [(1, 9), (9, 1), (3, 5), (5, 3)])
def test_the_extents_that_visit_least_are_taken(kernel: tuple[int, int]) -> None:
    case = Laid(an.neighborhood(an.grid(y=16, x=16), kernel), 256)
    (rows,) = shapes(Side.QUERIES, case.pattern.spaces[0])
    (columns,) = shapes(Side.KEYS, case.pattern.spaces[1])
    free = lay_out(rows, (2, 2), Classes()), lay_out(columns, (2, 2), Classes())
    drafts = Draft.all_of(in_layouts(case.pattern.predicate, *free), *free, "")
    assert drafts is not None
    (draft,) = drafts
    assert isinstance(draft, Draft)
    (program,) = finished(drafts, free[0], (16, 16), case.call)
    every = {(r, c): visited(case, c, draft, r) for r in boxes(16, 2) for c in boxes(16, 2)}
    assert every[program.rows.box, program.columns.box] == min(every.values())


def test_rows_that_see_nothing_have_a_program_that_visits_nothing() -> None:
    page = an.concat(text=5, image=an.grid(y=5, x=7))
    case = Laid(an.neighborhood(page, 3), 40)
    (rows, _), (columns, _) = shapes(Side.QUERIES, page), shapes(Side.KEYS, page)
    program = dead(lay_out(rows, (4,), Classes()), lay_out(columns, (4,), Classes()), (4, 4))
    program.verify()
    assert int(pair_map((program,), case.call).live.sum()) == 0 and program.visits == ()


def test_a_region_that_sees_nothing_is_a_launch_of_its_own() -> None:
    case = Laid(an.neighborhood(an.concat(text=5, image=an.grid(y=8, x=16)), 3), 133)
    found = arrange(case.pattern.predicate, case.pattern.spaces, (8, 8), False)
    launches = next(c.launches for c in (found.taken, *found.others) if c.name == "boxes")
    assert len(launches) == 2
    assert findings(launches, case) == set()
    text = pair_map(launches[0], case.call)
    assert not bool((text.full + text.partial).any())
    assert torch.equal(pair_map(launches[1], case.call).live > 0, case.live)
