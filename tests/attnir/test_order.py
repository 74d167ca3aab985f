"""Order: what is proved holds in every call, and a proof ends."""

from __future__ import annotations

import time
from functools import reduce

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from attnir import expr as ex
from attnir import order
from attnir.cover import cover
from attnir.expr import K0, K1, Q0, Q1, Q_START, Expr, H, K, Q, const
from attnir.ops import Coordinate, FieldDecl, Of, Op, ParamDecl, Side
from attnir.order import STEPS, at_most
from attnir.testing import expressions as some
from attnir.testing.meaning import meaning
from tests.patterns import PATTERNS

W = ex.param(ParamDecl("w"))
LEFT = ex.param(ParamDecl("left", low=0))
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
        start, first, more = (data.draw(some.either(0, 30)) for _ in range(3)) if data else (0, 4, 3)
        rows = range(start + first, start + first + more % 9 + 1)
        row = data.draw(st.sampled_from(rows)) if data else rows[-1]
        tokens = {"q_start": start, "q0": rows[0], "q1": rows[-1], "q": row, "k": first, "b": 0, "h": more}
        tokens |= {
            "q_len": 30,
            "k_len": start,
            "stop": 2,
            "shift": 3,
            "w": data.draw(some.either(0, 40)) if data else 1,
        }
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


def total(terms: list[Expr]) -> Expr:
    return reduce(ex.add, terms)


MANY = {
    "a sum of minima": (total([ex.minimum(Q - i, K + i) for i in range(40)]), Q * 40, True),
    "a sum of minima, past what it reaches": (total([ex.minimum(Q - i, K + i) for i in range(40)]), Q - 2**40, False),
    "a sum of maxima, short of what it reaches": (
        Q + 2**40,
        total([ex.maximum(Q - i, K + i) for i in range(40)]),
        False,
    ),
    "choices": (total([ex.where(Q < i, Q, K) for i in range(1, 41)]), Q + K, False),
    "each term in order": (
        total([ex.minimum(Q0, K0 + i) for i in range(40)]),
        total([ex.maximum(Q1, K0 + 2 * i) for i in range(40)]),
        None,
    ),
    "proved by the bounds": (const(0), total([ex.minimum(Q + i, K + i) for i in range(40)]), True),
}


@pytest.mark.parametrize("name", MANY)
def test_many_cases_are_answered_at_once(name: str) -> None:
    a, b, expected = MANY[name]
    started = time.perf_counter()
    found = at_most(a, b)
    assert time.perf_counter() - started < 5  # 2**40 cases would not end
    assert expected in (None, found)


@pytest.mark.parametrize("name", PATTERNS)
def test_named_patterns_need_few_steps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is no loss: with a small part of it the programs are the same."""
    predicate = PATTERNS[name].mask(7).predicate
    programs = [cover(predicate, (64, 32), transposed=transposed) for transposed in (False, True)]
    monkeypatch.setattr(order, "STEPS", STEPS // 8)
    assert programs == [cover(predicate, (64, 32), transposed=transposed) for transposed in (False, True)]


@pytest.mark.parametrize("d", [2, 3, 16])
@pytest.mark.parametrize("c", [-2, -1, 0, 1, 5])
def test_a_quotient_is_held_against_multiples_of_its_divisor(c: int, d: int) -> None:
    assert at_most(const(c), (Q_START + c * d) // d)
    assert not at_most(const(c), (Q_START + (c * d - 1)) // d)


def test_an_axis_may_be_called_as_another_one_and_its_end() -> None:
    def of(name: str, what: Of) -> Expr:
        return ex.coordinate(Coordinate(Side.QUERIES, name, what, 6))

    y_first, y_last, y1, y1_first = of("y", Of.FIRST), of("y", Of.LAST), of("y1", Of.TOKEN), of("y1", Of.FIRST)
    assert str(y_last) == "q1.y", "what is behind the first y would be called as a token's y1 behind its first"
    assert not at_most(y1 + y_first, y_last + y1_first)
    assert at_most(y_first, y_last) and at_most(y1_first, y1)
