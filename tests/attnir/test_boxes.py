"""Boxes of columns: together they say what the predicate says, pair by pair; bounds read the row alone."""

from __future__ import annotations

from functools import reduce
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import attnir as an
from attnir import expr as ex
from attnir.axes import Layout
from attnir.boxes import box_sweeps, said, solve_boxes
from attnir.cover import in_layouts
from attnir.expr import FALSE, Q
from attnir.layouts import Classes, lay_out, shapes
from attnir.ops import Side
from attnir.program import Status
from attnir.space import Space
from attnir.sweeps import Lets
from attnir.testing.meaning import meaning
from attnir.traverse import nodes
from tests import layouts as some
from tests.layouts import LAID, Laid


def laid_out(space: Space) -> tuple[Layout, Layout]:
    """Queries and keys of the last region of a space."""
    found = []
    for side in Side:
        shape = shapes(side, space)[-1]
        found.append(lay_out(shape, (2,) * len(shape.lines), Classes()))
    return found[0], found[1]


def values(layout: Layout, at: tuple[int, ...]) -> dict[str, int]:
    return {str(a.token): c for a, c in zip(layout.axes, at, strict=True)}


def cells(layout: Layout) -> list[tuple[int, ...]]:
    return list(product(*(range(a.stop.const) for a in layout.axes)))


@given(some.laid(), st.data())
@settings(max_examples=80)
def test_the_boxes_say_what_the_predicate_says(case: Laid, data: st.DataObject) -> None:
    space = case.pattern.spaces[0]
    assert space is not None
    rows, columns = laid_out(space)
    predicate = in_layouts(case.pattern.predicate, rows, columns)
    boxes = solve_boxes(predicate, columns, Q)
    joined = reduce(ex.or_, (said(box, columns) for box in boxes), FALSE)
    for _ in range(12):
        row, column = (values(x, data.draw(st.sampled_from(cells(x)))) for x in (rows, columns))
        pair = {**row, **column, "b": data.draw(st.integers(0, 1)), "h": data.draw(st.integers(0, 3))}
        known = Laid(case.pattern, case.q_len, case.k_len, 2, 4, case.q_start, case.bindings).call
        assert meaning(joined, pair, known) == meaning(predicate, pair, known)


@pytest.mark.parametrize("name", ["row or column", "either axis", "blocks in a row or a column"])
def test_no_bound_of_an_axis_reads_another_column(name: str) -> None:
    """Bounds, and guards of whole ranges, are of the row; what reads two columns stays a condition on the pair."""
    pattern = LAID[name].pattern
    space = pattern.spaces[0]
    assert space is not None
    rows, columns = laid_out(space)
    tokens = {a.token for a in columns.axes}
    for box in solve_boxes(in_layouts(pattern.predicate, rows, columns), columns, Q):
        for band in box:
            assert not tokens & set(nodes(*band.lower, *band.upper, *band.guards)), str(band)


def test_a_window_is_one_box_without_residual_conditions() -> None:
    pattern = an.neighborhood(an.grid(y=7, x=9), 3)
    assert pattern.spaces[0] is not None
    rows, columns = laid_out(pattern.spaces[0])
    (box,) = solve_boxes(in_layouts(pattern.predicate, rows, columns), columns, Q)
    assert [band.residual for band in box] == [(), ()]


def test_a_disc_is_one_box_with_a_residual_condition() -> None:
    pattern = some.disc(3, an.grid(y=40, x=40))
    assert pattern.spaces[0] is not None
    rows, columns = laid_out(pattern.spaces[0])
    (box,) = solve_boxes(in_layouts(pattern.predicate, rows, columns), columns, Q)
    assert any(band.residual for band in box)
    found, sweeps = box_sweeps(box, rows, columns, Lets(set()))
    assert {s.status for s in sweeps} == {Status.PARTIAL}
    assert all(a.start is not b.start for a, b in zip(found.axes, columns.axes, strict=True)), "the disc bounds the box"
