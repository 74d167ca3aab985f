"""What an expression is over a tile of rows: directions, smallest and largest values, against all rows."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnir import expr as ex
from attnir.axes import KEYS, QUERIES, Axis, sequence
from attnir.expr import Expr, H, K, Q, sym
from attnir.ops import FieldDecl, Op, ParamDecl, Searched, Side
from attnir.rows import direction, highest, lowest
from attnir.testing import expressions as some
from attnir.testing.meaning import meaning

DOC, KIND = FieldDecl("doc", sorted=True), FieldDecl("kind")
W, LEFT = ex.param(ParamDecl("w")), ex.param(ParamDecl("left", low=0))


@st.composite
def tabled(draw: st.DrawFn, axis: Axis) -> Expr:
    """An expression of the row, which may read a row table."""
    e = draw(some.row_values(axis.token))
    if draw(st.booleans()):
        op = draw(st.sampled_from([Op.LOWER_BOUND, Op.UPPER_BOUND]))
        table = ex.row_table(op, Searched(some.DOC, axis.side.other), draw(some.row_values(axis.token)), axis.token)
        e = draw(st.sampled_from([table, table - 3, ex.maximum(table, e), ex.minimum(e, table), table // 4, -table]))
    return e


@given(st.data())
@settings(max_examples=300)
def test_extremes_over_a_tile(data: st.DataObject) -> None:
    axis = data.draw(st.sampled_from([QUERIES, KEYS]))
    e = data.draw(tabled(axis))
    call = data.draw(some.calls(e, longest=8))
    start, length = (call.q_start, call.q_len) if axis is QUERIES else (0, call.k_len)
    first = data.draw(st.integers(0, length - 1))
    rows = range(start + first, start + data.draw(st.integers(first + 1, length)))
    tokens = {**call.sizes, "b": call.batch - 1, "h": call.heads - 1}
    values = [meaning(e, {**tokens, axis.side: at}, call) for at in rows]
    ends = {**tokens, f"{axis.side}0": rows[0], f"{axis.side}1": rows[-1]}
    assert meaning(lowest(e, sequence(axis.side, 8)), ends, call, rows) == min(values)
    assert meaning(highest(e, sequence(axis.side, 8)), ends, call, rows) == max(values)


@given(st.data())
@settings(max_examples=200)
def test_directions(data: st.DataObject) -> None:
    axis = data.draw(st.sampled_from([QUERIES, KEYS]))
    e = data.draw(tabled(axis))
    call = data.draw(some.calls(e, longest=8))
    start, length = (call.q_start, call.q_len) if axis is QUERIES else (0, call.k_len)
    values = [meaning(e, {**call.sizes, "b": 0, "h": 0, axis.side: start + i}, call) for i in range(length)]
    found = direction(e, axis.token)
    if found is not None:
        assert all((y - x) * found >= 0 if found else x == y for x, y in pairwise(values))


@pytest.mark.parametrize(
    "e, expected",
    [
        (Q, 1),
        (Q - W, 1),
        (W - Q, -1),
        (K + W, 0),
        (Q * 3, 1),
        (Q * -3, -1),
        (Q * W, None),
        (Q * LEFT, 1),
        (LEFT * Q, 1),
        (Q // -4, -1),
        (Q // (H + 1), 1),
        (7 - Q // 4, -1),
        (ex.maximum(Q - 4, ex.minimum(Q, W)), 1),
        (Q % 4, None),
        (Q * Q, None),
        (Q - Q // 2, None),
        (ex.absolute(Q - W), None),
        (ex.field(DOC, Q), 1),
        (-ex.field(DOC, Q), -1),
        (ex.field(KIND, Q), None),
        (ex.row_table(Op.LOWER_BOUND, Searched(DOC, Side.KEYS), ex.field(DOC, Q), Q), 1),
        (ex.row_table(Op.LOWER_BOUND, Searched(DOC, Side.KEYS), -ex.field(DOC, Q), Q), -1),
        (ex.row_table(Op.UPPER_BOUND, Searched(DOC, Side.KEYS), ex.field(KIND, Q), Q), None),
        (ex.row_table(Op.UPPER_BOUND, Searched(DOC, Side.KEYS), Q % 3, Q), None),
    ],
)
def test_what_has_a_direction(e: Expr, expected: int | None) -> None:
    assert direction(e, Q) == expected


def test_texts_of_extremes() -> None:
    rows = sequence(Side.QUERIES, 8)
    assert str(lowest(Q - 3, rows)) == "q0 - 3"
    assert str(highest(5 - Q, rows)) == "5 - q0"
    assert str(highest(Q % 3, rows)) == "rowmax(q % 3)"
    assert str(lowest(ex.minimum(Q % 3, Q), rows)) == "min(rowmin(q % 3), q0)"
    assert str(highest(ex.where(H < 2, Q, Q % 3), rows)) == "where(h < 2, q1, rowmax(q % 3))"
    assert str(lowest(ex.where(Q < 2, Q, W), rows)) == "rowmin(where(q < 2, q, w))"
    assert highest(K // 4, sequence(Side.KEYS, 8)) is sym("k1") // 4
