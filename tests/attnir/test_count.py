"""Counts are exact, at any length, without a matrix."""

from __future__ import annotations

import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import attnir as an
from attnir import blocks, count
from attnir import expr as ex
from attnir.call import Call
from attnir.count import count_live, count_tiles
from attnir.cover import cover
from attnir.expr import K, Q
from attnir.facts import param
from attnir.masks import Mask, causal, mask, window
from attnir.ops import FieldDecl, ParamDecl
from attnir.signature import Signature
from attnir.testing import expressions as some
from attnir.testing.meaning import matrix
from attnir.walk import tile_map
from tests.patterns import PATTERNS, call_of

LONG = 2**20


@given(st.data())
@settings(max_examples=200)
def test_live_pairs_are_counted(data: st.DataObject) -> None:
    p = data.draw(some.predicates)
    call = data.draw(some.calls(p, longest=8))
    assert count_live(p, call) == int(matrix(p, call).sum())


@given(st.data())
@settings(max_examples=200)
def test_tiles_are_counted(data: st.DataObject) -> None:
    p = data.draw(some.predicates)
    call = data.draw(some.calls(p, longest=16))
    program = cover(p, data.draw(some.tiles), transposed=data.draw(st.booleans()))
    tiles = tile_map(program, call)
    shape = (call.batch, call.heads, -1, -1)
    full, partial = tiles.full.expand(shape), tiles.partial.expand(shape)
    counts = count_tiles(program, call)
    assert (counts.full, counts.partial) == (int(full.sum()), int(partial.sum()))
    assert counts.empty == int((full + partial == 0).sum())


@pytest.mark.parametrize("name", PATTERNS)
def test_named_patterns(name: str) -> None:
    named = PATTERNS[name]
    for q_len, k_len, q_start in ((1, 1, None), (13, 13, None), (7, 16, None), (16, 7, 3)):
        call = call_of(named, 1, q_len, k_len, q_start=q_start)
        assert count_live(named.mask(1).predicate, call) == int(matrix(named.mask(1).predicate, call).sum())


def plain(q_len: int, k_len: int | None = None, *, batch: int = 1, heads: int = 1, **params: int) -> Call:
    decls = tuple(ParamDecl(name) for name in params)
    sizes = {"batch": batch, "heads": heads, "q_len": q_len, "k_len": q_len if k_len is None else k_len}
    return Signature((), decls).bind(params, **sizes)


@pytest.mark.parametrize(
    "m, params, expected",
    [
        (causal(), {}, LONG * (LONG + 1) // 2),
        (~causal(), {}, LONG * (LONG - 1) // 2),
        (window(param("w"), 0), {"w": 1023}, 1024 * LONG - 1023 * 1024 // 2),
        (window(param("w"), 0), {"w": 2**30}, LONG * (LONG + 1) // 2),
        (window(1), {}, 3 * LONG - 2),
        (mask(lambda q, k: q // 64 == k // 64), {}, 64 * LONG),
        (mask(lambda q, k: 2 * k <= q), {}, (LONG // 2) * (LONG // 2 + 1)),
        (causal() & mask(lambda q, k: q % 2 == 0), {}, (LONG // 2) ** 2),
        (causal() & mask(lambda q, k: (q - k) % 8 == 0), {}, 8 * (LONG // 8) * (LONG // 8 + 1) // 2),
        (
            causal() & mask(lambda q, k: (k % 4 == 1) | (k % 2 == 0)),
            {},
            6 * (LONG // 4) ** 2 + 3 * (LONG // 4),
        ),
    ],
    ids=str,
)
def test_a_million_tokens_are_counted_exactly_and_at_once(m: Mask, params: dict[str, int], expected: int) -> None:
    call = plain(LONG, batch=2, heads=3, **params)
    start = time.perf_counter()
    assert count_live(m.predicate, call) == 6 * expected
    for transposed in (False, True):
        counts = count_tiles(cover(m.predicate, (128, 64), transposed=transposed), call)
        assert counts.full + counts.partial + counts.empty == 6 * LONG * LONG // (128 * 64)
        assert 64 * 128 * counts.full <= 6 * expected <= 64 * 128 * (counts.full + counts.partial)
    assert time.perf_counter() - start < 10  # a second at most; pair by pair it would be hours


def test_packed_documents_of_a_million_tokens() -> None:
    named = PATTERNS["documents"]
    call = call_of(named, 64, LONG, batch=1, heads=1)
    lengths = torch.unique_consecutive(call.fields["doc"].keys[0], return_counts=True)[1]
    assert count_live(named.mask(64).predicate, call) == int((lengths * (lengths + 1) // 2).sum())


def test_the_work_is_bounded_where_pairs_must_be_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = FieldDecl("kind")
    p = ex.eq(ex.field(kind, Q), ex.field(kind, K)) & (K <= Q)
    ids = torch.tensor([5, 1, 3, 1]).repeat_interleave(100)
    call = Signature((kind,)).bind({"kind": ids}, batch=2, heads=3, q_len=400, k_len=400)
    seen: list[int] = []
    evaluate = count.of_pairs

    def spy(predicate: ex.Expr, call: Call, *index: torch.Tensor) -> torch.Tensor:
        seen.append(torch.broadcast_shapes(*(t.shape for t in index)).numel())
        return evaluate(predicate, call, *index)

    monkeypatch.setattr(count, "of_pairs", spy)
    monkeypatch.setattr(count, "WORKSPACE", 3 * 64**2)
    assert count_live(p, call) == int(matrix(p, call).sum()) == 6 * (4 * 5050 + 100 * 100)
    assert max(seen) <= 3 * 64**2
    assert sum(seen) <= 20 * 64**2, "tiles that are FULL or EMPTY are not looked at, nor other samples and heads"


def test_nothing_is_counted_of_nothing() -> None:
    assert count_live(K <= Q, plain(0)) == 0
    assert count_live(ex.FALSE, plain(5)) == 0
    assert count_live(ex.TRUE, plain(0, 5)) == 0
    assert count_live(ex.eq((Q * K) % 5, 0), plain(5, 0)) == 0
    assert count_tiles(cover(ex.FALSE, (4, 4)), plain(9)) == count.TileCounts(0, 0, 9)


@pytest.mark.parametrize("length", [16, 15])
def test_rows_of_one_class_are_counted_once(length: int) -> None:
    """They may have a launch of their own, which the others leave them to."""
    grid = an.grid(y=4, x=4)
    mask = an.mask(lambda q, k: (q.x == 0) | (k <= q), grid=grid)
    live = an.reference(mask)(*(torch.zeros(1, 1, n, 2) for n in (length, 16, 16)), q_start=0, return_lse=True)[1]
    assert an.compile(mask).explain(length, 16, q_start=0).live_pairs == int(live.exp().round().sum())


def test_room_that_is_left_in_lists_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU nothing cuts them, which would wait for it."""
    picks = an.selection("picks")
    mask = an.causal() & an.mask(lambda q, k: picks(q // 16, k // 16) > 0)
    lists = torch.tensor([[0, 1, 1], [3, 0, -1], [1, 2, 2], [3, -1, 0]])
    call = mask.signature.bind({"picks": lists}, batch=1, heads=1, q_len=64, k_len=64)
    program = cover(mask.predicate, (16, 16), lists=True)
    attn = an.compile(mask)

    def found() -> tuple[object, ...]:
        e = attn.explain(64, picks=lists, tile=(16, 16))
        tiles = tile_map(program, call)
        return e.tiles, e.live_pairs, tiles.full.tolist(), tiles.partial.tolist(), count_live(mask.predicate, call)

    exact = found()
    compressed = blocks._compressed

    def with_room(row: torch.Tensor, column: torch.Tensor, chosen: torch.Tensor, rows: int) -> tuple[torch.Tensor, ...]:
        offsets, indices = compressed(row, column, chosen, rows)
        return offsets, torch.nn.functional.pad(indices, (0, len(row) - len(indices)))

    monkeypatch.setattr(blocks, "_compressed", with_room)
    assert found() == exact
