"""The dense meaning, against plain Python integers pair by pair."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnir import expr as ex
from attnir.call import Call
from attnir.evaluate import Evaluator, dense_mask, live_block, row_table
from attnir.expr import Expr, K, Q, const
from attnir.ops import FieldDecl, Op, Searched, Side
from attnir.signature import Signature
from attnir.testing import expressions as some
from attnir.testing.meaning import matrix, meaning
from tests.patterns import PATTERNS, call_of


def square(n: int) -> Call:
    return Signature().bind({}, batch=1, heads=1, q_len=n, k_len=n)


@given(st.data())
@settings(max_examples=200)
def test_the_dense_mask_is_the_predicate_of_every_pair(data: st.DataObject) -> None:
    p = data.draw(some.predicates)
    call = data.draw(some.calls(p, longest=7))
    dense = dense_mask(p, call)
    assert dense.dtype is torch.bool
    assert torch.equal(dense.expand(call.batch, call.heads, -1, -1), matrix(p, call))


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("q_len, k_len, q_start", [(9, 13, None), (13, 9, None), (6, 8, 11)])
def test_named_patterns(name: str, q_len: int, k_len: int, q_start: int | None) -> None:
    named = PATTERNS[name]
    call = call_of(named, 1, q_len, k_len, q_start=q_start)
    p = named.mask(1).predicate
    assert torch.equal(dense_mask(p, call).expand(2, 3, -1, -1), matrix(p, call))


@given(st.data())
def test_blocks_are_cut_from_the_dense_mask(data: st.DataObject) -> None:
    p = data.draw(some.predicates)
    call = data.draw(some.calls(p))
    rows = slice(data.draw(st.integers(0, call.q_len - 1)), call.q_len)
    columns = slice(0, data.draw(st.integers(1, call.k_len)))
    b, h = slice(call.batch - 1, call.batch), slice(call.heads - 1, call.heads)
    whole = dense_mask(p, call).expand(call.batch, call.heads, -1, -1)
    part = live_block(p, call, rows, columns, b, h)
    assert torch.equal(part.expand(1, 1, -1, -1), whole[b, h, rows, columns])


@pytest.mark.parametrize("divisor", [3, -3, -1, 7])
def test_division_rounds_down_in_tensors(divisor: int) -> None:
    call = square(9)
    evaluate = Evaluator(call, {"q": torch.arange(9)[:, None], "k": torch.arange(9)})
    gap = range(-8, 9)
    quotient, remainder = evaluate((K - Q) // const(divisor)), evaluate((K - Q) % const(divisor))
    assert {(k - q, int(quotient[q, k])) for q in range(9) for k in range(9)} == {(g, g // divisor) for g in gap}
    assert {(k - q, int(remainder[q, k])) for q in range(9) for k in range(9)} == {(g, g % divisor) for g in gap}


def test_large_values_do_not_wrap() -> None:
    wide = ex.param(some.WIDE)
    call = Signature((), (some.WIDE,)).bind({"wide": 2**30}, batch=1, heads=1, q_len=3, k_len=2**10)
    far = ((Q * wide) > 2**39) & ((Q - K) * (Q - K) * 2**20 > 2**39)
    picked = dense_mask(far, call)[0, 0]
    pairs = [(q, k) for q in range(3) for k in (0, 1, 298, 299, 300, 1023)]
    for i, k in pairs:
        q = call.q_start + i
        assert bool(picked[i, k]) == (q * 2**30 > 2**39 and (q - k) ** 2 * 2**20 > 2**39)


@given(st.data())
def test_row_tables_hold_the_first_column_at_or_past_a_bound(data: st.DataObject) -> None:
    side = data.draw(st.sampled_from(Side))
    row = Q if side is Side.KEYS else K
    op = data.draw(st.sampled_from([Op.LOWER_BOUND, Op.UPPER_BOUND]))
    bound = data.draw(some.row_values(row))
    searched = Searched(some.DOC, side)
    table = ex.row_table(op, searched, bound, row)
    call = data.draw(some.calls(table))
    found = row_table(table, call).expand(call.batch, call.heads, -1)
    assert found.dtype is torch.int32
    first = call.q_start if row is Q else 0
    for b in range(call.batch):
        for h in range(call.heads):
            for i in range(found.shape[-1]):
                tokens = {"b": b, "h": h, "q": first + i, "k": first + i}
                assert int(found[b, h, i]) == meaning(table, tokens, call)


def test_a_row_table_of_documents() -> None:
    doc = FieldDecl("doc", sorted=True)
    call = Signature((doc,)).bind({"doc": torch.tensor([4, 4, 7, 7, 7, 9])}, batch=1, heads=1, q_len=6, k_len=6)
    first, last = (
        row_table(ex.row_table(op, Searched(doc, Side.KEYS), ex.field(doc, Q), Q), call)
        for op in (Op.LOWER_BOUND, Op.UPPER_BOUND)
    )
    assert first.tolist() == [[[0, 0, 2, 2, 2, 5]]]
    assert last.tolist() == [[[2, 2, 5, 5, 5, 6]]]


def test_shared_nodes_are_computed_once() -> None:
    evaluate = Evaluator(square(4), {"q": torch.arange(4)[:, None], "k": torch.arange(4)})
    shared: Expr = (Q - K) * 3
    evaluate(ex.absolute(shared) + shared)
    assert evaluate(shared) is evaluate.done[shared]
