"""Intervals, congruences and order: whatever they claim holds for every value of the tokens."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from attnir import expr as ex
from attnir.bounds import INFINITE, UNKNOWN, Interval, at_most, bounds, congruence, decide, decided, interval
from attnir.expr import Expr, FieldDecl, H, K, Op, ParamDecl, Q, const, sym
from tests import strategies as some
from tests.meaning import meaning

WIDE = ex.param(some.WIDE)
W = ex.param(ParamDecl("w"))
LEFT = ex.param(ParamDecl("left", low=0))
DOC_Q, DOC_K = ex.field(some.DOC, Q), ex.field(some.DOC, K)
FIELDS = [f"{d.name}({t})" for d in (some.DOC, some.START, some.KIND) for t in "qk"]


def either(low: int, high: int) -> st.SearchStrategy[int]:
    """A value in [low, high]: any, a small one, or an end."""
    return st.one_of(st.integers(low, high), st.integers(max(low, -9), min(high, 40)), st.sampled_from([low, high]))


every_call = st.fixed_dictionaries(
    {name: either(0, 2**28 - 1) for name in "qk"}
    | {name: either(0, 2**20) for name in "bh"}
    | {"w": either(0, 40), "shift": either(-20, 20), "stop": either(1, 9), "wide": either(-(2**30), 2**30)}
    | {name: either(-(2**63), 2**63 - 1) for name in FIELDS}
)


def inside(value: int, found: Interval) -> bool:
    """Whether the value lies in the interval, whose ends at +-INFINITE stand for all beyond."""
    low, high = int(found.low), int(found.high)
    return (low <= value or low <= -INFINITE) and (value <= high or high >= INFINITE)


@given(some.integers, every_call)
@settings(max_examples=400)
@example(DOC_Q // 2, {"doc(q)": 2**62})
@example((Q * Q * Q) % 7, {"q": 2**27 + 1})
@example((Q * Q * Q * K * K) // (Q + 1), {"q": 2**28 - 1, "k": 2**28 - 1})
@example(DOC_Q % 7, {"doc(q)": -(2**63)})
@example(DOC_Q % (ex.absolute(DOC_K) + 1), {"doc(q)": 2**61, "doc(k)": 2**61})
@example(ex.where(Q < K, DOC_Q, Q) - DOC_K, {"q": 1, "k": 2, "doc(q)": 2**63 - 1, "doc(k)": -(2**63)})
def test_every_value_lies_within_the_bounds(e: Expr, tokens: dict[str, int]) -> None:
    assert inside(meaning(e, tokens), bounds(e))


@given(some.predicates, every_call)
@settings(max_examples=300)
def test_what_is_decided_holds_in_every_call(p: Expr, tokens: dict[str, int]) -> None:
    assert decided(p) in (None, meaning(p, tokens))


@given(some.integers, every_call)
@settings(max_examples=300)
def test_every_value_is_congruent(e: Expr, tokens: dict[str, int]) -> None:
    modulus, remainder = congruence(e)
    value = meaning(e, tokens)
    assert (value - remainder) % modulus == 0 if modulus else value == remainder


@pytest.mark.parametrize(
    "e, expected",
    [
        (Q * 4 + 6, (4, 2)),
        (Q * 4 + K * 6 + 1, (2, 1)),
        (ex.where(Q < K, Q * 4 + 1, K * 6 + 3), (2, 1)),
        (ex.minimum(Q * 9, 3), (3, 0)),
        ((Q * 6 + 1) % 4, (2, 1)),
        ((Q * 6 + 1) % -4, (2, 1)),
        ((Q * 2) * (K * 3), (6, 0)),
        ((Q * 4 + 2) * (K * 4 + 2), (8, 4)),
        (Q * 4 - Q * 4 + 5, (0, 5)),
        (Q + K, (1, 0)),
    ],
)
def test_congruences(e: Expr, expected: tuple[int, int]) -> None:
    assert congruence(e) == expected


@pytest.mark.parametrize(
    "p, expected",
    [
        (Q - Q + K >= 0, True),
        (K - (K - Q) >= 0, True),
        (ex.eq(Q * 4 + 1, K * 2), False),
        (ex.ne(Q * 4 + 1, K * 2), True),
        (ex.eq(Q * 4 + 2, K * 2), None),
        (ex.absolute(Q - K) >= 0, True),
        ((Q - K) * (Q - K) >= 0, True),
        (Q % 5 < 5, True),
        (Q % -5 <= 0, True),
        (Q % -5 > -5, True),
        (Q - K <= 2**28, True),
        (Q // (H + 1) >= 0, True),
        (W <= 2**30, True),
        (LEFT >= 0, True),
        (LEFT > 0, None),
        (DOC_Q < DOC_K, None),
        (DOC_Q // 2 < 2**60 + 5, None),
        (~(K >= 0) | (Q > K), None),
        ((K >= 0) & ~(Q < 0), True),
    ],
)
def test_what_can_be_decided_without_a_call(p: Expr, expected: bool | None) -> None:
    assert decided(p) is expected


def _range(name: str, most: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(0, most), st.integers(0, 3)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@st.composite
def boxes(draw: st.DrawFn) -> dict[str, tuple[int, int]]:
    """A tile as ranges (first, last) of tokens and of what fields hold in it; parameters, b and h are points."""
    ranges = {name: draw(_range(name, 25)) for name in "qk"}
    ranges |= {name: (draw(st.integers(-6, 12)),) * 2 for name in FIELDS}
    loose = draw(st.sampled_from(FIELDS))
    ranges[loose] = (ranges[loose][0] - 1, ranges[loose][0] + 1)
    points = {"b": draw(st.integers(0, 2)), "h": draw(st.integers(0, 3)), "w": draw(st.integers(0, 40))}
    points |= {"shift": draw(st.integers(-20, 20)), "stop": draw(st.integers(1, 9))}
    points |= {"wide": draw(st.sampled_from([-(2**30), -1, 0, 5, 2**30]))}
    return ranges | {name: (value, value) for name, value in points.items()}


def leaf_name(leaf: Expr) -> str:
    return str(leaf)


def every(box: dict[str, tuple[int, int]], p: Expr) -> list[dict[str, int]]:
    """Every assignment of tokens in the box, as far as the predicate reads them."""
    read = {str(n) for n in ex.walk(p) if n.op in (Op.SYM, Op.PARAM, Op.FIELD)}
    names = [name for name in box if name in read]
    return [dict(zip(names, at, strict=True)) for at in product(*(range(box[n][0], box[n][1] + 1) for n in names))]


@given(some.predicates, boxes())
@settings(max_examples=300)
def test_a_tile_is_full_or_empty_only_when_it_is(p: Expr, box: dict[str, tuple[int, int]]) -> None:
    can, cannot = decide(p, lambda leaf: Interval(*box[leaf_name(leaf)]))
    assert can or cannot
    truths = {bool(meaning(p, tokens)) for tokens in every(box, p)}
    assert can or truths == {False}  # EMPTY
    assert cannot or truths == {True}  # FULL


@given(some.integers, boxes())
@settings(max_examples=200)
def test_the_interval_of_a_tile_holds_every_value(e: Expr, box: dict[str, tuple[int, int]]) -> None:
    found = interval(e, lambda leaf: Interval(*box[leaf_name(leaf)]))
    values = [meaning(e, tokens) for tokens in every(box, e)]
    assert found.low <= min(values) <= max(values) <= found.high


@given(some.predicates, st.lists(boxes(), min_size=1, max_size=5))
@settings(max_examples=200)
def test_tensors_of_tiles_are_classified_like_each_tile(p: Expr, tiles: list[dict[str, tuple[int, int]]]) -> None:
    def all_tiles(leaf: Expr) -> Interval:
        ranges = [t[leaf_name(leaf)] for t in tiles]
        return Interval(torch.tensor([low for low, _ in ranges]), torch.tensor([high for _, high in ranges]))

    together = [torch.as_tensor(t).expand(len(tiles)).tolist() for t in decide(p, all_tiles)]
    for i, tile in enumerate(tiles):
        alone = decide(p, lambda leaf, tile=tile: Interval(*tile[leaf_name(leaf)]))  # type: ignore[misc]
        assert (together[0][i], together[1][i]) == tuple(map(bool, alone))


def test_tensors_saturate_where_64_bits_would_wrap() -> None:
    huge = Interval(torch.tensor([2**60, -(2**62), -3]), torch.tensor([2**62, 2**62, 3]))

    def leaf(e: Expr) -> Interval:
        return huge

    square = interval(Q * Q, leaf)
    assert square.low.tolist() == [INFINITE, 0, 0]
    assert square.high.tolist() == [INFINITE, INFINITE, 9]
    product_ = interval(Q * K * 2**40, leaf)
    assert product_.low.tolist() == [INFINITE, -INFINITE, -9 * 2**40]
    total = interval(Q + K + W, leaf)
    assert total.low.tolist() == [INFINITE, -INFINITE, -9]
    assert total.high.tolist() == [INFINITE, INFINITE, 9]


def test_an_endless_interval_stays_endless() -> None:
    assert bounds(DOC_Q) == UNKNOWN
    assert bounds(DOC_Q + 5) == UNKNOWN
    assert bounds(DOC_Q // 2) == UNKNOWN
    assert bounds(DOC_Q * -3) == UNKNOWN
    assert bounds(ex.absolute(DOC_Q)) == Interval(0, INFINITE)
    assert bounds(ex.minimum(DOC_Q, 7)) == Interval(-INFINITE, 7)


# at_most ------------------------------------------------------------------------------------------------------------

Q0, Q1, Q_START, K0, K1 = sym("q0"), sym("q1"), ex.Q_START, sym("k0"), sym("k1")
_ends = st.sampled_from([Q0, Q1, Q_START, Q, ex.Q_LEN, ex.K_LEN, K])
_scalars = st.recursive(
    st.one_of(_ends, st.integers(-6, 12).map(const), st.just(W), st.just(H)),
    lambda e: st.one_of(
        st.builds(ex.minimum, e, e),
        st.builds(ex.maximum, e, e),
        st.builds(ex.add, e, e),
        st.builds(ex.sub, e, e),
        st.builds(lambda x, d: x // d, e, st.integers(1, 5)),
        st.builds(ex.where, st.builds(ex.compare, st.just(Op.LT), e, e), e, e),
        st.builds(lambda op, x: ex.build(op, (x,)), st.sampled_from([Op.ROWMIN, Op.ROWMAX]), some.bare_row_values(Q)),
    ),
    max_leaves=4,
)


@st.composite
def ordered_pairs(draw: st.DrawFn) -> tuple[Expr, Expr]:
    """Two scalars of a program that are often in order, and in an order that must be proved."""
    e, other = draw(_scalars), draw(_scalars)
    d, c = draw(st.integers(1, 5)), draw(st.integers(-1, 5))
    rowmin, rowmax = ex.build(Op.ROWMIN, (e,)), ex.build(Op.ROWMAX, (e,))
    shapes = [
        (e, ex.maximum(e, other)),
        (ex.minimum(other, e), e + c),
        (ex.minimum(e, other), ex.maximum(e, other)),
        (e // d, (e + c) // d),
        (e // d, (ex.maximum(e, other) + d - 1) // d),
        (rowmin, rowmax + c),
        (rowmax, rowmin + c),
        (rowmin // d, (rowmax + c) // d),
        (ex.build(Op.ROWMIN, (ex.minimum(e, other),)), rowmin),
        (rowmin, ex.build(Op.ROWMAX, (other,))),
        (ex.where(Q0 < 5, e, other), ex.maximum(e, other)),
        (Q_START, ex.maximum(e, Q0)),
        (e, other),
    ]
    return draw(st.sampled_from(shapes))


@given(ordered_pairs(), st.data())
@settings(max_examples=500)
@example((ex.build(Op.ROWMAX, (Q % 3,)), ex.build(Op.ROWMIN, (Q % 3,))), None)
@example((ex.build(Op.ROWMAX, (Q,)), ex.build(Op.ROWMIN, (Q,)) + 1), None)
@example((Q, ex.build(Op.ROWMIN, (Q,))), None)
def test_a_proved_order_holds_in_every_call(pair: tuple[Expr, Expr], data: st.DataObject | None) -> None:
    a, b = pair
    if not at_most(a, b):
        return
    for _ in range(6):
        start, first, more = (data.draw(either(0, 30)) for _ in range(3)) if data else (0, 4, 3)
        rows = range(start + first, start + first + more % 9 + 1)
        row = data.draw(st.sampled_from(rows)) if data else rows[-1]
        tokens = {"q_start": start, "q0": rows[0], "q1": rows[-1], "q": row, "k": first, "b": 0, "h": more}
        tokens |= {"q_len": 30, "k_len": start, "stop": 2, "shift": 3, "w": data.draw(either(0, 40)) if data else 1}
        assert meaning(a, tokens, rows=rows) <= meaning(b, tokens, rows=rows)


@pytest.mark.parametrize(
    "a, b, expected",
    [
        (Q_START, Q0, True),
        (Q0, Q1, True),
        (Q_START, ex.maximum(Q - 4, Q_START), True),
        (K0, K1, True),
        (Q0 // 64, (Q1 + 63) // 64, True),
        (Q0 // 64 + 1, (Q1 + 63) // 64, False),  # at q0 = q1 = 0
        (ex.minimum(Q0, W) // 64, (ex.minimum(Q1, W) + 63) // 64, True),
        (Q0 - LEFT, Q1, True),
        (Q0 - W, Q1, False),  # w may be negative
        (Q1, Q0, False),
        (ex.K_LEN, Q1, False),
        (Q - 4, Q, True),
        (Q, Q - 4, False),
        (ex.where(Q < K, Q, Q - 3), Q, True),
        (ex.build(Op.ROWMIN, (Q % 5,)), ex.build(Op.ROWMAX, (Q % 5,)), True),
        (ex.build(Op.ROWMAX, (Q % 5,)), ex.build(Op.ROWMIN, (Q % 5,)), False),
        (ex.build(Op.ROWMIN, (Q % 5,)), ex.build(Op.ROWMIN, (Q % 5 + Q,)), True),
        (ex.build(Op.ROWMAX, (Q % 5,)), ex.build(Op.ROWMAX, (ex.maximum(Q % 5, 3),)), True),
    ],
)
def test_what_is_in_order(a: Expr, b: Expr, expected: bool) -> None:
    assert at_most(a, b) is expected


def test_unrelated_fields_have_no_order() -> None:
    doc, other = FieldDecl("doc", sorted=True), FieldDecl("other", sorted=True)
    assert not at_most(ex.field(doc, Q0), ex.field(doc, Q1))  # true, but not known to at_most
    assert not at_most(ex.field(doc, Q0), ex.field(other, Q0))
    assert at_most(ex.field(doc, Q0), ex.field(doc, Q0) + 1)
