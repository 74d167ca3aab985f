"""Bounds of tiles: FULL and EMPTY only where they are, and many tiles at once like each one alone."""

from __future__ import annotations

from itertools import product

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnir import expr as ex
from attnir.bounder import Bounder
from attnir.bounds import bounds
from attnir.expr import Expr, K, Q
from attnir.interval import INFINITE, Integers, Interval
from attnir.ops import Op, ParamDecl
from attnir.testing import expressions as some
from attnir.testing.meaning import meaning
from attnir.tile_bounds import Tensors, decide_tiles
from attnir.traverse import nodes

W = ex.param(ParamDecl("w"))
CPU = torch.device("cpu")


def _range(name: str, most: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(0, most), st.integers(0, 3)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@st.composite
def boxes(draw: st.DrawFn) -> dict[str, tuple[int, int]]:
    """A tile as ranges (first, last) of tokens and of what fields hold in it; parameters, b and h are points."""
    ranges = {name: draw(_range(name, 25)) for name in "qk"}
    ranges |= {name: (draw(st.integers(-6, 12)),) * 2 for name in some.FIELDS}
    loose = draw(st.sampled_from(some.FIELDS))
    ranges[loose] = (ranges[loose][0] - 1, ranges[loose][0] + 1)
    points = {"b": draw(st.integers(0, 2)), "h": draw(st.integers(0, 3)), "w": draw(st.integers(0, 40))}
    points |= {"shift": draw(st.integers(-20, 20)), "stop": draw(st.integers(1, 9))}
    points |= {"wide": draw(st.sampled_from([-(2**30), -1, 0, 5, 2**30]))}
    return ranges | {name: (value, value) for name, value in points.items()}


def leaf_name(leaf: Expr) -> str:
    return str(leaf)


def possible(p: Expr, box: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """(can be true, can be false) in a box."""
    return Bounder(Integers(), lambda leaf: Interval(*box[leaf_name(leaf)])).condition(p)


def every(box: dict[str, tuple[int, int]], p: Expr) -> list[dict[str, int]]:
    """Every assignment of tokens in the box, as far as the predicate reads them."""
    read = {str(n) for n in nodes(p) if n.op in (Op.SYM, Op.PARAM, Op.FIELD)}
    names = [name for name in box if name in read]
    return [dict(zip(names, at, strict=True)) for at in product(*(range(box[n][0], box[n][1] + 1) for n in names))]


@given(some.predicates, boxes())
@settings(max_examples=300)
def test_a_tile_is_full_or_empty_only_when_it_is(p: Expr, box: dict[str, tuple[int, int]]) -> None:
    can, cannot = possible(p, box)
    assert can or cannot
    truths = {bool(meaning(p, tokens)) for tokens in every(box, p)}
    assert can or truths == {False}  # EMPTY
    assert cannot or truths == {True}  # FULL


@given(some.integers, boxes())
@settings(max_examples=200)
def test_the_interval_of_a_tile_holds_every_value(e: Expr, box: dict[str, tuple[int, int]]) -> None:
    found = bounds(e, lambda leaf: Interval(*box[leaf_name(leaf)]))
    values = [meaning(e, tokens) for tokens in every(box, e)]
    assert found.low <= min(values) <= max(values) <= found.high


@given(some.predicates, st.lists(boxes(), min_size=1, max_size=5))
@settings(max_examples=200)
def test_tensors_of_tiles_are_classified_like_each_tile(p: Expr, tiles: list[dict[str, tuple[int, int]]]) -> None:
    def all_tiles(leaf: Expr) -> Interval[torch.Tensor]:
        ranges = [t[leaf_name(leaf)] for t in tiles]
        return Interval(torch.tensor([low for low, _ in ranges]), torch.tensor([high for _, high in ranges]))

    together = [t.expand(len(tiles)).tolist() for t in decide_tiles(p, all_tiles, CPU)]
    for i, tile in enumerate(tiles):
        alone = possible(p, tile)
        assert (together[0][i], together[1][i]) == tuple(map(bool, alone))


def test_tensors_saturate_where_64_bits_would_wrap() -> None:
    huge = Interval(torch.tensor([2**60, -(2**62), -3]), torch.tensor([2**62, 2**62, 3]))

    def interval(e: Expr) -> Interval[torch.Tensor]:
        return Bounder(Tensors(CPU), lambda leaf: huge).integer(e)

    square = interval(Q * Q)
    assert square.low.tolist() == [INFINITE, 0, 0]
    assert square.high.tolist() == [INFINITE, INFINITE, 9]
    product_ = interval(Q * K * 2**40)
    assert product_.low.tolist() == [INFINITE, -INFINITE, -9 * 2**40]
    total = interval(Q + K + W)
    assert total.low.tolist() == [INFINITE, -INFINITE, -9]
    assert total.high.tolist() == [INFINITE, INFINITE, 9]
