"""The cover pass: every live pair is visited exactly once, forward and transposed, and no tile twice.

The goldens in programs.txt are the programs of the named patterns, to be read; ATTNIR_ACCEPT=1 rewrites them.
"""

from __future__ import annotations

import os
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import attnir as an
from attnir.call import Call
from attnir.cover import MOST_SWEPT, cover
from attnir.evaluate import dense_mask
from attnir.expr import Expr
from attnir.program import TileProgram
from attnir.testing import Case, check
from attnir.testing import expressions as some
from attnir.walk import runs, tile_map, walk_pairs
from tests.patterns import PATTERNS, call_of

GOLDEN = Path(__file__).with_name("programs.txt")
TILES = [(1, 1), (2, 7), (3, 4), (4, 4), (5, 3), (8, 8), (16, 2), (24, 24)]


def check_exact(predicate: Expr, program: TileProgram, call: Call) -> None:
    """Every live pair counts once, every dead pair never, and no tile is visited twice."""
    live = dense_mask(predicate, call).expand(call.batch, call.heads, -1, -1)
    assert torch.equal(walk_pairs(program, call), live.long())
    tiles = tile_map(program, call)
    assert int((tiles.full + tiles.partial).amax()) <= 1


@lru_cache(maxsize=512)
def program_of(name: str, tile: tuple[int, int], transposed: bool) -> TileProgram:
    return cover(PATTERNS[name].mask(1).predicate, tile, transposed=transposed)


@pytest.mark.parametrize("name", PATTERNS)
def test_named_patterns_at_every_length(name: str) -> None:
    """Every S up to 24, as many keys as queries, fewer and more; each with tile sizes in turn."""
    named = PATTERNS[name]
    p = named.mask(1).predicate
    for s in range(1, 25):
        other = s * 7 % 24 + 1
        for q_len, k_len, q_start in ((s, s, None), (s, other, None), (other, s, s % 5 * 3)):
            call = call_of(named, 1, q_len, k_len, q_start=q_start)
            for turn in range(2 if q_len == k_len else 1):
                tile = TILES[(s + 3 * turn + k_len) % len(TILES)]
                for transposed in (False, True):
                    check_exact(p, program_of(name, tile, transposed), call)


@pytest.mark.parametrize("name", PATTERNS)
def test_named_patterns_with_every_tile(name: str) -> None:
    """Many tile sizes at one awkward length, and longer rows of tiles at unit 3."""
    named = PATTERNS[name]
    call = call_of(named, 1, 19, 23)
    for m in range(1, 25, 3):
        for n in (1, 2, 7, 8, 24):
            check_exact(named.mask(1).predicate, program_of(name, (m, n), m % 2 == 0), call)
    wide = named.mask(3).predicate
    for q_len, k_len in ((97, 97), (64, 130), (130, 64)):
        for transposed in (False, True):
            program = cover(wide, (16, 8), transposed=transposed)
            check_exact(wide, program, call_of(named, 3, q_len, k_len, batch=2, heads=2))


@given(st.data())
@settings(max_examples=300)
def test_any_predicate(data: st.DataObject) -> None:
    p = data.draw(some.predicates)
    call = data.draw(some.calls(p, longest=16))
    tile = data.draw(some.tiles)
    for transposed in (False, True):
        check_exact(p, cover(p, tile, transposed=transposed), call)


@given(st.data())
@settings(max_examples=150)
def test_any_union_of_bands(data: st.DataObject) -> None:
    """Bands whose order is known only at run time, which must be swept without overlap."""
    names = [f"w{i}" for i in range(data.draw(st.integers(2, MOST_SWEPT)))]
    widths = [data.draw(st.integers(0, 3)) for _ in names]
    kept = data.draw(st.sampled_from([an.full(), an.causal(), an.mask(lambda q, k, h: q % 5 > h), ~an.window(2)]))
    union = ~an.full()
    for name, width in zip(names, widths, strict=True):
        union = union | _band(name, width)
    p = (union & kept).predicate
    program = cover(p, data.draw(some.tiles), transposed=data.draw(st.booleans()))
    check_exact(p, program, data.draw(some.calls(p, longest=16)))


def _band(name: str, width: int) -> an.Mask:
    center = an.param(name)
    return an.mask(lambda q, k: abs(q - k - center) <= width)


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("q_len, k_len", [(0, 0), (0, 5), (5, 0)])
def test_empty_axes(name: str, q_len: int, k_len: int) -> None:
    named = PATTERNS[name]
    for transposed in (False, True):
        counts = walk_pairs(program_of(name, (4, 4), transposed), call_of(named, 1, q_len, k_len))
        assert counts.shape == (2, 3, q_len, k_len)


@pytest.mark.parametrize("name", PATTERNS)
def test_how_the_live_tiles_are_found(name: str) -> None:
    program = cover(PATTERNS[name].mask(1).predicate, (128, 64))
    way = "lists" if program.listed else "tables" if program.tables() else "closed"
    assert way == PATTERNS[name].way
    starts = {"lists": "block lists: ", "tables": "row tables: ", "closed": "closed ranges: "}
    assert program.reason.startswith(starts[way])


@pytest.mark.parametrize("w", [2**30, -(2**30), 2**30 - 1, 0])
def test_windows_of_extreme_parameters(w: int) -> None:
    named = PATTERNS["window_params"]
    p = named.mask(1).predicate
    for transposed in (False, True):
        program = cover(p, (4, 3), transposed=transposed)
        for left, right in ((w, 0), (0, w), (w, w), (w, -w)):
            call = call_of(named, 1, 11, 13)
            check_exact(p, program, replace_params(call, left=left, right=right))


def replace_params(call: Call, **params: int) -> Call:
    return Call(call.batch, call.heads, call.q_len, call.k_len, call.q_start, call.fields, params, call.device)


def test_the_last_positions_that_there_are() -> None:
    """At the end of all positions, where 2 ** 28 is one past the last."""
    named = PATTERNS["window_left"]
    p = named.mask(1).predicate
    call = call_of(named, 1, 7, 2**28, batch=1, heads=1)
    program = cover(p, (4, 64))
    found = [(run.start[0].flatten().tolist(), run.stop[0].flatten().tolist()) for run in runs(program, call)]
    visited = {tile for start, stop in found for a, b in zip(start, stop, strict=True) for tile in range(a, b)}
    assert visited == {2**28 // 64 - 1}


@pytest.mark.parametrize("name", ["document_sinks", "document_heads", "documents"])
@pytest.mark.parametrize("transposed", [False, True])
def test_ranges_that_jump_visit_no_tile_without_a_live_pair(name: str, transposed: bool) -> None:
    """At a document's start the range of a tile's rows may leap over most of the document before."""
    named = PATTERNS[name]
    for length in (24, 100, 250):
        call = call_of(named, 8, length)
        program = cover(named.mask(8).predicate, (8, 4), transposed=transposed)
        live = dense_mask(program.predicate, call)
        live = live.transpose(-1, -2) if transposed else live
        tiles = tile_map(program, call)
        padded = torch.nn.functional.pad(live, (0, -length % 4, 0, -length % 8))
        some_live = padded.unflatten(-1, (-1, 4)).unflatten(-3, (-1, 8)).any(-1).any(-2)
        assert torch.equal((tiles.full + tiles.partial > 0), some_live)


def test_full_tiles_are_found_beside_a_condition_that_repeats() -> None:
    """In either order of the operands: every tile inside the window is FULL, though the other part has none."""
    near, every = an.mask(lambda q, k: q - k < 64), an.mask(lambda q, k: (q - k) % 4 == 0)
    call = call_of(PATTERNS["causal"], 1, 256)
    for union in (near | every, every | near):
        p = (an.causal() & union).predicate
        for transposed in (False, True):
            program = cover(p, (16, 16), transposed=transposed)
            check_exact(p, program, call)
            assert int(tile_map(program, call).full.sum()) == 15 + 14 + 13


def goldens() -> str:
    parts = []
    for name in PATTERNS:
        for transposed in (False, True):
            program = cover(PATTERNS[name].mask(64).predicate, (128, 64), transposed=transposed)
            parts.append(f"# {name}{', transposed' if transposed else ''}\n{program}\n")
    return "\n".join(parts)


def test_the_programs_of_the_named_patterns() -> None:
    now = goldens()
    if os.environ.get("ATTNIR_ACCEPT") == "1":
        GOLDEN.write_text(now)
    before = GOLDEN.read_text().split("\n# ")
    assert now.split("\n# ") == before, "a program changed; read it, then accept it with ATTNIR_ACCEPT=1"


def test_sweeps_of_one_program_follow_each_other() -> None:
    """Within one row tile the visits are in ascending order, as kernels rely on to prefetch."""
    named = PATTERNS["window_sinks"]
    call = call_of(named, 1, 24, batch=1, heads=1)
    for run, later in pairwise(runs(program_of("window_sinks", (4, 4), False), call)):
        (start,), (stop,), (next_start,), (next_stop,) = run.start, run.stop, later.start, later.stop
        assert bool(((stop <= next_start) | (next_start >= next_stop) | (start >= stop)).all())


def test_the_tail_of_a_range_that_jumps_begins_with_its_first_row() -> None:
    pattern = an.parse("start = field(sorted=True); (start(q) <= k) & (k - start(q) <= 5)")
    starts = torch.arange(64) * 9, torch.arange(600)  # a tile of 16 rows leaps over whole tiles of keys
    check(Case(pattern, q_len=64, k_len=600, q_start=0, bindings={"start": starts}), "torch", "walks")
