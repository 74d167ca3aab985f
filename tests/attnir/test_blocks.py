"""Block lists: every tile's status is exact, the lists are compressed, and the workspace is bounded."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import attnir as an
from attnir import blocks
from attnir.axes import sequence
from attnir.blocks import BlockList, list_blocks, sampled_visits
from attnir.call import Call
from attnir.expr import Expr
from attnir.ops import Side
from attnir.program import Listed, Status, TileProgram
from attnir.testing import expressions as some
from attnir.testing.meaning import matrix
from tests.patterns import PATTERNS, call_of


def listing(p: Expr, tile: tuple[int, int], transposed: bool = False) -> TileProgram:
    """A program that lists the tiles of any predicate, also of one that has closed ranges."""
    side = Side.KEYS if transposed else Side.QUERIES
    return TileProgram(
        sequence(side, tile[0]), sequence(side.other, tile[1]), p, (), (Listed(Status.FULL), Listed(Status.PARTIAL))
    )


def statuses(live: Tensor, tile: tuple[int, int]) -> dict[tuple[int, int, int], dict[str, list[int]]]:
    """What the lists must hold, from the matrix [B, H, rows, columns]: {(b, h, row): {status: columns}}."""
    found = {}
    for b in range(live.shape[0]):
        for h in range(live.shape[1]):
            for r, rows in enumerate(live[b, h].split(tile[0])):
                found[b, h, r] = {"full": [], "partial": []}
                for c, part in enumerate(rows.split(tile[1], dim=1)):
                    whole = part.shape[1] == tile[1]  # a kernel must look at the ends of a ragged column tile
                    if part.any():
                        found[b, h, r]["full" if whole and part.all() else "partial"].append(c)
    return found


def lists(found: BlockList) -> dict[tuple[int, int, int], dict[str, list[int]]]:
    batch, heads, rows = found.shape
    unpacked = {}
    for flat in range(batch * heads * rows):
        at = (flat // (heads * rows), flat // rows % heads, flat % rows)
        unpacked[at] = {}
        for status in ("full", "partial"):
            offsets, indices = getattr(found, status)
            unpacked[at][status] = indices[offsets[flat] : offsets[flat + 1]].tolist()
    return unpacked


def check(p: Expr, call: Call, tile: tuple[int, int], transposed: bool) -> BlockList:
    found = list_blocks(listing(p, tile, transposed), call)
    live = matrix(p, call)
    live = live.transpose(-1, -2) if transposed else live
    batch, heads, _ = found.shape
    assert (batch, heads) in {(b, h) for b in (1, call.batch) for h in (1, call.heads)}
    for b in range(call.batch):  # one copy stands for all where the predicate does not depend on batch or head
        for h in range(call.heads):
            assert torch.equal(live[b, h], live[b % batch, h % heads])
    assert lists(found) == statuses(live[:batch, :heads], tile)
    for offsets, indices in (found.full, found.partial):
        assert offsets.dtype is indices.dtype is torch.int32
        assert int(offsets[-1]) == indices.numel()
        assert offsets.numel() == found.shape[0] * found.shape[1] * found.shape[2] + 1
    return found


@given(st.data())
@settings(max_examples=200)
def test_any_predicate(data: st.DataObject) -> None:
    p = data.draw(some.predicates)
    check(p, data.draw(some.calls(p, longest=10)), data.draw(some.tiles), data.draw(st.booleans()))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("name", PATTERNS)
def test_named_patterns(name: str, transposed: bool) -> None:
    named = PATTERNS[name]
    for q_len, k_len, q_start, tile in ((13, 13, None, (4, 4)), (6, 11, None, (4, 8)), (11, 6, 3, (2, 5))):
        check(named.mask(1).predicate, call_of(named, 1, q_len, k_len, q_start=q_start), tile, transposed)


@given(st.data())
@settings(max_examples=60)
def test_a_small_workspace_gives_the_same_lists(data: st.DataObject) -> None:
    p = data.draw(some.predicates)
    call = data.draw(some.calls(p, longest=10))
    tile = data.draw(some.tiles)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "WORKSPACE", data.draw(st.sampled_from([1, 40, 200])))
        check(p, call, tile, data.draw(st.booleans()))


def test_the_workspace_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    named = PATTERNS["modular_product"]
    call = call_of(named, 1, 96, batch=1, heads=1)
    evaluated: list[int] = []
    evaluate = blocks._Lister._evaluate

    def spy(self: blocks._Lister, tiles: blocks._Tiles) -> tuple[Tensor, Tensor]:
        evaluated.append(len(tiles.rows) * 16)
        return evaluate(self, tiles)

    monkeypatch.setattr(blocks._Lister, "_evaluate", spy)
    monkeypatch.setattr(blocks, "WORKSPACE", 512)
    list_blocks(listing(named.mask(1).predicate, (4, 4)), call)
    assert max(evaluated) <= 512
    assert sum(evaluated) == 96 * 96


def test_tiles_that_intervals_decide_are_not_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an unsorted field in runs of 96 tokens, only tiles across the end of a run are looked at."""
    named = PATTERNS["unsorted"]
    call = call_of(named, 32, 1024, batch=1, heads=1)
    evaluated: list[int] = []
    evaluate = blocks._Lister._evaluate

    def spy(self: blocks._Lister, tiles: blocks._Tiles) -> tuple[Tensor, Tensor]:
        evaluated.append(len(tiles.rows))
        return evaluate(self, tiles)

    monkeypatch.setattr(blocks._Lister, "_evaluate", spy)
    list_blocks(listing(named.mask(32).predicate, (32, 32)), call)
    assert sum(evaluated) == 0
    list_blocks(listing(named.mask(32).predicate, (64, 64)), call)
    assert 0 < sum(evaluated) < 16 * 16 * 3 // 4


def test_the_lists_of_a_checkerboard() -> None:
    named = PATTERNS["checkerboard"]
    found = list_blocks(listing(named.mask(1).predicate, (3, 3)), call_of(named, 1, 9, batch=4, heads=2))
    assert (found.shape, found.columns) == ((1, 1, 3), 3)
    assert found.full[0].tolist() == [0, 2, 3, 5]
    assert found.full[1].tolist() == [0, 2, 1, 0, 2]
    assert found.partial[0].tolist() == [0, 0, 0, 0]
    assert found.nbytes == 4 * (4 + 5 + 4 + 0)


@pytest.mark.parametrize("name", ["unsorted", "checkerboard", "documents"])
@pytest.mark.parametrize("q_len, k_len", [(0, 0), (0, 6), (6, 0)])
def test_empty_axes(name: str, q_len: int, k_len: int) -> None:
    named = PATTERNS[name]
    for transposed in (False, True):
        call = call_of(named, 1, q_len, k_len)
        found = list_blocks(listing(named.mask(1).predicate, (4, 4), transposed), call)
        assert found.full[1].numel() == found.partial[1].numel() == 0


@pytest.mark.parametrize("mask", [an.causal(), an.window(600), an.mask(lambda q, k: (q // 64 + k // 64) % 3 == 0)])
def test_a_sample_of_rows_and_columns_tells_about_how_many_tiles_there_are(mask: an.Mask) -> None:
    call = mask.signature.bind({}, batch=2, heads=1, q_len=4096, k_len=4096)
    listed = (Listed(Status.FULL), Listed(Status.PARTIAL))
    program = TileProgram(sequence(Side.QUERIES, 16), sequence(Side.KEYS, 16), mask.predicate, (), listed)
    found = list_blocks(program, call)
    exact = 2 * (found.full[1].numel() + found.partial[1].numel())
    assert sampled_visits(program, call, rows=1000, columns=1000) == exact
    assert sampled_visits(program, call, rows=40, columns=100) == pytest.approx(exact, rel=0.15)
