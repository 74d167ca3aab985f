"""Digits: an expression of coordinates with its divisions done has the value it had, for every token."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnir import expr as ex
from attnir.digits import carried
from attnir.expr import Expr, const
from attnir.ops import COMPARISONS, Coordinate, Of, Op, ParamDecl, Side
from attnir.testing.meaning import meaning
from attnir.traverse import nodes

HEIGHT, WIDTH = ParamDecl("height", 1, 2**13), ParamDecl("width", 1, 2**13)
H, W = ex.param(HEIGHT), ex.param(WIDTH)


def axis(name: str, size: int | ParamDecl | None, side: Side = Side.QUERIES, of: Of = Of.TOKEN) -> Expr:
    return ex.coordinate(Coordinate(side, name, of, size))


T, Y, X = axis("t", None), axis("y", HEIGHT), axis("x", WIDTH)
FRAME, ROW, CELL = axis("f", 5), axis("r", 12), axis("c", 8)
RESIDUE, SLOT = axis("residue", 6, of=Of.FIRST), axis("slot", 4, Side.KEYS)
COORDINATES = [T, Y, X, FRAME, ROW, CELL, RESIDUE, SLOT, axis("x", WIDTH, of=Of.LAST), axis("y", HEIGHT, Side.KEYS)]
POSITIONS = [
    T * (H * W) + Y * W + X,
    (T * H + Y) * W + X,
    (FRAME * 12 + ROW) * 8 + CELL,
    7 + ROW * W + X,
    RESIDUE + 6 * SLOT,
    5 + 12 * SLOT + ROW,
]
SIZES = [const(8), const(12), const(96), const(6), const(3), const(-4), W, H, H * W, W * 2]


@st.composite
def _sums(draw: st.DrawFn) -> Expr:
    e = draw(st.sampled_from(POSITIONS + COORDINATES))
    for _ in range(draw(st.integers(0, 3))):
        c = draw(st.integers(-9, 9))
        e = e + c * draw(st.sampled_from([*COORDINATES, *POSITIONS, const(1), W, W * H]))
    return e


def _larger(integers: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    sizes = st.sampled_from(SIZES)
    return st.one_of(
        st.builds(ex.floordiv, integers, sizes),
        st.builds(ex.mod, integers, sizes),
        st.builds(ex.add, integers, integers),
        st.builds(ex.sub, integers, integers),
        st.builds(ex.minimum, integers, integers),
        st.builds(ex.mul, integers, st.one_of(sizes, st.integers(-3, 5).map(const))),
    )


integers = st.recursive(_sums(), _larger, max_leaves=4)
comparisons = st.builds(
    ex.compare,
    st.sampled_from(sorted(COMPARISONS, key=str)),
    integers,
    st.one_of(integers, st.integers(-99, 99).map(const)),
)


@st.composite
def tokens(draw: st.DrawFn) -> dict[str, int]:
    """A value for each coordinate, below its size, and for the sizes."""
    found = {size.name: draw(st.one_of(st.integers(1, 12), st.sampled_from([1, 2**13]))) for size in (HEIGHT, WIDTH)}
    for c in COORDINATES:
        assert isinstance(c.value, Coordinate)
        size = found[c.value.size.name] if isinstance(c.value.size, ParamDecl) else c.value.size or 9
        found[str(c)] = draw(st.one_of(st.integers(0, size - 1), st.sampled_from([0, size - 1])))
    return found


@given(integers, tokens())
@settings(max_examples=400)
def test_an_integer_keeps_its_value(e: Expr, token: dict[str, int]) -> None:
    assert meaning(carried(e), token) == meaning(e, token)


@given(comparisons, tokens())
@settings(max_examples=400)
def test_a_comparison_keeps_its_value(e: Expr, token: dict[str, int]) -> None:
    assert meaning(carried(e), token) == meaning(e, token)


@pytest.mark.parametrize(
    ("e", "expected"),
    [
        (((FRAME * 12 + ROW) * 8 + CELL) // 96, FRAME),
        (((FRAME * 12 + ROW) * 8 + CELL) % 96 // 8, ROW),
        (((FRAME * 12 + ROW) * 8 + CELL) % 8, CELL),
        ((Y * W + X) // W, Y),
        ((Y * W + X) % W, X),
        ((T * (H * W) + Y * W + X) // (H * W), T),
        ((RESIDUE + 6 * SLOT) % 6, RESIDUE),
        ((RESIDUE + 6 * SLOT) // 6, SLOT),
        (ex.eq((RESIDUE + 6 * SLOT - RESIDUE) % 6, 0), ex.TRUE),
        (ex.eq((8 * ROW + CELL) // 8, ROW + 1), ex.FALSE),
        (ex.eq(6 * SLOT - 6 * FRAME, 3), ex.FALSE),
        ((8 * ROW + 5) // 16, ROW // 2),
    ],
)
def test_a_position_becomes_its_coordinates(e: Expr, expected: Expr) -> None:
    assert carried(e) is expected


@pytest.mark.parametrize("op", sorted(COMPARISONS, key=str))
def test_a_common_factor_of_all_parts_leaves_a_comparison(op: Op) -> None:
    """As in dilated windows, whose bounds are no multiples of the dilation."""
    gap = 6 * SLOT - 6 * FRAME
    for limit in range(-13, 14):
        found = carried(ex.compare(op, gap, const(limit)))
        assert "6 *" not in str(found)
        for slot in range(4):
            for frame in range(5):
                token = {str(SLOT): slot, str(FRAME): frame}
                assert meaning(found, token) == meaning(ex.compare(op, gap, const(limit)), token), (limit, slot, frame)


def test_a_run_time_size_leaves_no_division() -> None:
    position = T * (H * W) + Y * W + X
    for e in (position // W // H, position // W % H, position % W, position // (H * W)):
        assert not {n.op for n in nodes(carried(e))} & {Op.FLOORDIV, Op.MOD}, str(carried(e))


@pytest.mark.parametrize("e", [(X + Y) // W, (CELL + 1) % 8, (8 * ROW + CELL + 1) // 8, (CELL - 1) // 8])
def test_what_may_carry_over_stays_a_division(e: Expr) -> None:
    assert {n.op for n in nodes(carried(e))} & {Op.FLOORDIV, Op.MOD}


@pytest.mark.parametrize("divisor", [-12, -6, -4, -2, 2, 4, 6, 12])
@pytest.mark.parametrize(("times", "more"), [(2, 1), (4, 2), (4, 3), (6, 3), (-2, 1), (8, 7)])
def test_a_common_factor_leaves_a_division_of_either_sign(times: int, more: int, divisor: int) -> None:
    for op in (ex.floordiv, ex.mod):
        e = op(CELL * times + more, const(divisor))
        for cell in range(8):
            assert meaning(carried(e), {str(CELL): cell}) == meaning(e, {str(CELL): cell})


def test_coordinates_of_other_rows_are_others() -> None:
    first, last = (axis("y", HEIGHT, of=of) for of in (Of.FIRST, Of.LAST))
    apart = ex.absolute(first - last)
    tokens = {str(first): 0, str(last): 5, "height": 6, "width": 1}
    for e in (ex.floordiv(apart, W + 1), ex.mod(apart, W + 1)):
        assert meaning(carried(e), tokens) == meaning(e, tokens)
