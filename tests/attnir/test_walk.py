"""Walking: the tensors of `runs` and `tile_map` are what a plain loop in Python does, tile by tile."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from attnir.cover import cover
from attnir.expr import K, Q
from attnir.program import Status
from attnir.testing import expressions as some
from attnir.testing.meaning import matrix, picture
from attnir.walk import runs, tile_map, walk_pairs
from tests.patterns import PATTERNS, call_of
from tests.plain_loop import plain_loop


@given(st.data())
@settings(max_examples=150)
def test_a_plain_loop_counts_every_live_pair_once(data: st.DataObject) -> None:
    p = data.draw(some.predicates)
    call = data.draw(some.calls(p, longest=8))
    tile = data.draw(some.tiles)
    live = matrix(p, call).long()
    for transposed in (False, True):
        program = cover(p, tile, transposed=transposed)
        assume(not program.listed)
        assert torch.equal(plain_loop(program, call), live)
        assert torch.equal(walk_pairs(program, call), live)


@pytest.mark.parametrize("name", [name for name, named in PATTERNS.items() if named.way != "lists"])
def test_a_plain_loop_over_named_patterns(name: str) -> None:
    named = PATTERNS[name]
    looped = 0
    for q_len, k_len, q_start, tile in ((9, 9, None, (4, 4)), (5, 12, None, (4, 8)), (12, 5, 4, (8, 4))):
        call = call_of(named, 1, q_len, k_len, batch=1, heads=2, q_start=q_start)
        live = matrix(named.mask(1).predicate, call).long()
        for transposed in (False, True):
            program = cover(named.mask(1).predicate, tile, transposed=transposed)
            if not program.listed:  # what repeats within a large tile only, and guards of the columns, are listed here
                assert torch.equal(plain_loop(program, call), live)
                looped += 1
    assert looped


def test_the_runs_of_a_causal_mask() -> None:
    call = call_of(PATTERNS["causal"], 1, 10, batch=1, heads=1)
    full, partial = runs(cover(K <= Q, (4, 2)), call)
    assert (full.status, partial.status) == (Status.FULL, Status.PARTIAL)
    assert full.start[0].tolist() == [[[0, 0, 0]]]
    assert full.stop[0].tolist() == partial.start[0].tolist() == [[[0, 2, 4]]]
    assert partial.stop[0].tolist() == [[[2, 4, 5]]]


def test_the_tiles_of_a_causal_mask() -> None:
    tiles = tile_map(cover(K <= Q, (4, 2)), call_of(PATTERNS["causal"], 1, 10, batch=1, heads=1))
    assert picture(tiles.full[0, 0]) == [".....", "11...", "1111."]
    assert picture(tiles.partial[0, 0]) == ["11...", "..11.", "....1"]


def test_the_tiles_of_a_transposed_causal_mask() -> None:
    program = cover(K <= Q, (4, 2), transposed=True)  # rows are tiles of 4 keys, columns of 2 queries
    tiles = tile_map(program, call_of(PATTERNS["causal"], 1, 10, batch=1, heads=1))
    assert picture(tiles.full[0, 0]) == ["..111", "....1", "....."]
    assert picture(tiles.partial[0, 0]) == ["11...", "..11.", "....1"]


def test_the_tiles_of_a_checkerboard() -> None:
    named = PATTERNS["checkerboard"]  # blocks of 3
    tiles = tile_map(cover(named.mask(1).predicate, (3, 3)), call_of(named, 1, 12, batch=1, heads=1))
    assert picture(tiles.full[0, 0]) == ["1.1.", ".1.1", "1.1.", ".1.1"]
    assert int(tiles.partial.sum()) == 0


def test_a_ragged_last_tile_is_never_full() -> None:
    call = call_of(PATTERNS["full"], 1, 10, 7, batch=1, heads=1)
    tiles = tile_map(cover(PATTERNS["full"].mask(1).predicate, (4, 4)), call)
    assert picture(tiles.full[0, 0]) == ["1.", "1.", "1."]
    assert picture(tiles.partial[0, 0]) == [".1", ".1", ".1"]


def test_heads_and_samples_have_tiles_of_their_own() -> None:
    named = PATTERNS["head_windows"]
    tiles = tile_map(cover(named.mask(1).predicate, (3, 3)), call_of(named, 1, 12, batch=2, heads=3))
    assert (tiles.full + tiles.partial).sum((-1, -2)).tolist() == [[7, 9, 10]]
