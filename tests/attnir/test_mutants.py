"""The tests are tested: programs broken on purpose, each of which a check of the walk must catch, and says which.

Checks, in the order in which they are made:
  form    the program's own verifier
  range   a tile outside the columns, or a FULL tile across their end: a kernel would read outside memory
  lost    a live pair that no tile counts
  dead    a dead pair that a tile counts
  twice   a tile that is visited twice
  waste   a visited tile without a live pair, in a program that visits none
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from attnir import expr as ex
from attnir import walk
from attnir.axes import Axis, Layout, sequence
from attnir.blocks import BlockList, list_blocks
from attnir.call import Call
from attnir.cover import cover
from attnir.errors import InvalidProgram
from attnir.evaluate import dense_mask
from attnir.expr import TRUE, B, Expr, H, K, Q, const
from attnir.ops import Op, Side
from attnir.program import Listed, Status, Sweep, TileProgram
from attnir.traverse import rebuild
from attnir.walk import runs, tile_map, tiles_of, walk_pairs
from tests.patterns import PATTERNS, call_of

Change = Callable[[TileProgram], TileProgram]


def findings(program: TileProgram, predicate: Expr, call: Call) -> set[str]:
    """Every check that does not pass, for a program that should visit the live tiles of `predicate`."""
    try:
        program.verify()
    except InvalidProgram:
        return {"form"}
    found = set() if program.listed else _outside(program, call)
    live = dense_mask(predicate, call).expand(call.batch, call.heads, -1, -1)
    counts = walk_pairs(program, call)
    found |= {"lost"} if bool((live & (counts == 0)).any()) else set()
    found |= {"dead"} if bool((~live & (counts > 0)).any()) else set()
    tiles = tile_map(program, call)
    visits = tiles.full + tiles.partial
    found |= {"twice"} if int(visits.amax()) > 1 else set()
    needed = _tiles_with_a_live_pair(live, program)
    return found | ({"waste"} if bool(((visits > 0) & ~needed).any()) else set())


def _outside(program: TileProgram, call: Call) -> set[str]:
    length = call.length(program.columns.side)
    for run in runs(program, call):
        (start,), (stop,) = run.start, run.stop
        visited = stop > start
        last = length // program.tile[1] if run.status is Status.FULL else tiles_of(length, program.tile[1])
        if bool((visited & ((start < 0) | (stop > last))).any()):
            return {"range"}
    return set()


def _tiles_with_a_live_pair(live: Tensor, program: TileProgram) -> Tensor:
    m, n = program.tile
    turned = live.transpose(-1, -2) if program.transposed else live
    padded = torch.nn.functional.pad(turned.float(), (0, -turned.shape[-1] % n, 0, -turned.shape[-2] % m))
    return padded.unflatten(-1, (-1, n)).unflatten(-3, (-1, m)).amax((-1, -3)) > 0


def bound(index: int, end: str, by: int) -> Change:
    """One bound of one sweep moved by a number of tiles."""

    def change(program: TileProgram) -> TileProgram:
        visits = list(program.visits)
        sweep = visits[index]
        (at,) = getattr(sweep, end)
        visits[index] = replace(sweep, **{end: (at + by,)})
        return replace(program, visits=tuple(visits))

    return change


def boundary(left: int, by: int) -> Change:
    """The border between two neighbouring sweeps moved, so that nothing is lost or visited twice."""
    return lambda program: bound(left + 1, "start", by)(bound(left, "stop", by)(program))


def dropped(index: int) -> Change:
    return lambda program: replace(program, visits=program.visits[:index] + program.visits[index + 1 :])


def repeated(index: int) -> Change:
    return lambda program: replace(program, visits=(*program.visits, program.visits[index]))


def swapped(program: TileProgram) -> TileProgram:
    """FULL and PARTIAL exchanged."""
    other = {Status.FULL: Status.PARTIAL, Status.PARTIAL: Status.FULL}
    return replace(program, visits=tuple(replace(v, status=other[v.status]) for v in program.visits))


def all_full(program: TileProgram) -> TileProgram:
    return replace(program, visits=tuple(replace(v, status=Status.FULL) for v in program.visits))


def checks(predicate: Expr) -> Change:
    """Another predicate in the PARTIAL tiles."""
    return lambda program: replace(program, predicate=predicate)


def everywhere(change: Callable[[Expr], Expr | None]) -> Change:
    """A change of every expression of the walk, by nodes; the predicate stays."""

    def changed(program: TileProgram) -> TileProgram:
        lets = tuple((name, rebuild(value, change)) for name, value in program.lets)
        visits = tuple(
            replace(v, start=(rebuild(v.start[0], change),), stop=(rebuild(v.stop[0], change),))
            if isinstance(v, Sweep)
            else v
            for v in program.visits
        )
        return replace(program, lets=lets, visits=visits)

    return changed


def instead(old: Expr, new: Expr) -> Change:
    return everywhere(lambda n: new if n is old else None)


def let(name: str, change: Callable[[Expr], Expr]) -> Change:
    """Another value for one scalar."""

    def changed(program: TileProgram) -> TileProgram:
        assert name in dict(program.lets)
        return replace(program, lets=tuple((n, change(v) if n == name else v) for n, v in program.lets))

    return changed


def other_op(old: Op, new: Op) -> Change:
    return everywhere(lambda n: ex.node(new, n.args, n.value) if n.op is old else None)


def unrounded(n: Expr) -> Expr | None:
    """(x + 63) // 64 without the rounding up."""
    rounded = n.op is Op.FLOORDIV and n.args[0].op is Op.ADD and n.args[0].args[1].op is Op.CONST
    return n.args[0].args[0] // n.args[1] if rounded else None


def turned(program: TileProgram) -> TileProgram:
    """The transposed program's ranges over the forward's axes."""
    names = {ex.sym(f"k{i}"): ex.sym(f"q{i}") for i in (0, 1)}
    rows, columns = sequence(Side.QUERIES, 4), sequence(Side.KEYS, 4)
    swapped_names = everywhere(lambda n: names.get(n))(program)
    return replace(swapped_names, rows=rows, columns=columns)


def axis(change: Axis, extent: int = 4) -> Change:
    return lambda program: replace(program, rows=Layout((change,), (extent,)))


@dataclass(frozen=True)
class Mutant:
    pattern: str
    change: Change
    caught_by: str
    transposed: bool = False


Q0, Q1, K0, K1 = (ex.sym(name) for name in ("q0", "q1", "k0", "k1"))

MUTANTS: dict[str, Mutant] = {
    # sweeps of window_left: 0 partial, 1 full, 2 partial
    "the first sweep starts a tile late": Mutant("window_left", bound(0, "start", 1), "lost"),
    "the first sweep starts a tile early": Mutant("window_left", bound(0, "start", -1), "waste"),
    "the first sweep starts before the first column": Mutant("causal", bound(0, "start", -1), "range"),
    "the first sweep stops a tile early": Mutant("window_left", bound(0, "stop", -1), "lost"),
    "the first sweep stops a tile late": Mutant("window_left", bound(0, "stop", 1), "twice"),
    "the full sweep starts a tile late": Mutant("window_left", bound(1, "start", 1), "lost"),
    "the full sweep starts a tile early": Mutant("window_left", bound(1, "start", -1), "twice"),
    "the full sweep stops a tile early": Mutant("window_left", bound(1, "stop", -1), "lost"),
    "the full sweep stops a tile late": Mutant("window_left", bound(1, "stop", 1), "twice"),
    "the last sweep starts a tile late": Mutant("window_left", bound(2, "start", 1), "lost"),
    "the last sweep starts a tile early": Mutant("window_left", bound(2, "start", -1), "twice"),
    "the last sweep stops a tile early": Mutant("window_left", bound(2, "stop", -1), "lost"),
    "the last sweep stops a tile late": Mutant("window_left", bound(2, "stop", 1), "waste"),
    "the last column tile lost": Mutant("full", bound(-1, "stop", -1), "lost"),
    "a tile past the last column": Mutant("full", bound(-1, "stop", 1), "range"),
    "a full sweep takes a partial tile before it": Mutant("window_left", boundary(0, -1), "dead"),
    "a full sweep takes a partial tile after it": Mutant("window_left", boundary(1, 1), "dead"),
    "a partial first sweep dropped": Mutant("window_left", dropped(0), "lost"),
    "a full sweep dropped": Mutant("window_left", dropped(1), "lost"),
    "a partial last sweep dropped": Mutant("window_left", dropped(2), "lost"),
    "a sweep walked twice": Mutant("causal", repeated(0), "twice"),
    "full and partial swapped": Mutant("causal", swapped, "dead"),
    "every tile taken as full": Mutant("causal", all_full, "dead"),
    "the ragged end taken as full": Mutant("full", all_full, "range"),
    "the predicate lost": Mutant("causal", checks(TRUE), "dead"),
    "the predicate's sinks lost": Mutant("window_sinks", checks((K <= Q) & (Q - K <= 5)), "lost"),
    "the predicate off by one": Mutant("causal", checks(K < Q), "lost"),
    "the complement of the predicate": Mutant("causal", checks(K > Q), "dead"),
    "the range of the last row alone": Mutant("window_left", instead(Q0, Q1), "dead"),
    "the range of the first row alone": Mutant("window_left", instead(Q1, Q0), "lost"),
    "the start of the queries forgotten": Mutant(
        "causal", everywhere(lambda n: n - ex.Q_START if n is Q1 else None), "lost"
    ),
    "the end of the keys forgotten": Mutant("anticausal", instead(ex.K_LEN, ex.K_LEN + 8), "range"),
    "a range rounded down": Mutant("causal", everywhere(unrounded), "lost"),
    "tiles of half the columns": Mutant("causal", lambda p: replace(p, columns=sequence(Side.KEYS, 2)), "lost"),
    "the cursor between two ranges lost": Mutant("window_sinks", let("start_1", lambda _: const(0)), "twice"),
    "the second of two ranges lost": Mutant("window_sinks", lambda p: replace(p, visits=p.visits[:2]), "lost"),
    "the next head's window": Mutant("head_windows", instead(H, H + 1), "waste"),
    "the previous head's window": Mutant("head_windows", instead(H, H - 1), "lost"),
    "head 0 for every head": Mutant("head_windows", instead(H, const(0)), "lost"),
    "another head's predicate": Mutant("head_windows", checks((K <= Q) & (Q - K < 3 * (H + 2))), "dead"),
    "sample 0 for every sample": Mutant("batch_prefix", instead(B, const(0)), "lost"),
    "the guard of dead rows lost": Mutant(
        "dead_tiles", everywhere(lambda n: n.args[1] if n.op is Op.WHERE else None), "waste"
    ),
    "the guard of dead rows turned round": Mutant(
        "dead_tiles",
        everywhere(lambda n: ex.where(~n.args[0], n.args[1], n.args[2]) if n.op is Op.WHERE else None),
        "lost",
    ),
    "the smallest row for the largest": Mutant("cases", other_op(Op.ROWMAX, Op.ROWMIN), "lost"),
    "min for max": Mutant("window_left", other_op(Op.MAX, Op.MIN), "waste"),
    "max for min": Mutant("causal", other_op(Op.MIN, Op.MAX), "dead"),
    "documents searched past equal labels": Mutant(
        "documents_both_ways", other_op(Op.LOWER_BOUND, Op.UPPER_BOUND), "lost"
    ),
    "documents searched up to equal labels": Mutant(
        "documents_both_ways", other_op(Op.UPPER_BOUND, Op.LOWER_BOUND), "lost"
    ),
    "a table read at the other end of the tile": Mutant("documents_both_ways", instead(Q0, Q1), "lost"),
    "a run-time order not kept": Mutant(
        "two_windows", everywhere(lambda n: n.args[2] if n.op is Op.WHERE else None), "lost"
    ),
    "a column read as a scalar": Mutant("causal", instead(Q1, K), "form"),
    "the row read as a scalar": Mutant("causal", instead(Q1, Q), "form"),
    "a scalar used before its definition": Mutant("causal", lambda p: replace(p, lets=p.lets[1:]), "form"),
    "transposed: the mask lost": Mutant("causal", checks(TRUE), "dead", transposed=True),
    "transposed: full and partial swapped": Mutant("causal", swapped, "dead", transposed=True),
    "transposed: the first sweep starts a tile late": Mutant("causal", bound(0, "start", 1), "lost", transposed=True),
    "transposed: the last query tile lost": Mutant("causal", bound(-1, "stop", -1), "lost", transposed=True),
    "transposed: past the last query": Mutant("causal", bound(-1, "stop", 1), "range", transposed=True),
    "transposed: the range of the first key alone": Mutant("window_left", instead(K1, K0), "dead", transposed=True),
    "transposed: the start of the queries forgotten": Mutant(
        "window_left", instead(ex.Q_START, const(0)), "lost", transposed=True
    ),
    "transposed: walked over the forward's axes": Mutant("causal", turned, "lost", transposed=True),
    "transposed: another head's window": Mutant("head_windows", instead(H, const(0)), "lost", transposed=True),
}


ALIGNED = {"batch_prefix", "dead_tiles"}  # they differ at the first positions; their dead rows are whole tiles


def bound_call(pattern: str) -> Call:
    """Lengths that no tile divides, queries behind the first keys, samples and heads that differ."""
    q_len, k_len = (32, 32) if pattern in ALIGNED else (29, 34)
    return call_of(PATTERNS[pattern], 1, q_len, k_len, batch=2, heads=3)


def program_of(mutant: Mutant) -> TileProgram:
    return cover(PATTERNS[mutant.pattern].mask(1).predicate, (4, 4), transposed=mutant.transposed)


@pytest.mark.parametrize("name", MUTANTS)
def test_every_mutant_is_caught(name: str) -> None:
    mutant = MUTANTS[name]
    predicate, call, program = (
        PATTERNS[mutant.pattern].mask(1).predicate,
        bound_call(mutant.pattern),
        program_of(mutant),
    )
    assert findings(program, predicate, call) == set(), "the program is wrong before it is broken"
    broken = mutant.change(program)
    assert broken != program
    assert mutant.caught_by in findings(broken, predicate, call)


def entry_dropped(indices: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    return torch.where(offsets > 2, offsets - 1, offsets), torch.cat([indices[:2], indices[3:]])


def entry_moved(indices: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    moved = indices.clone()
    moved[2] = (moved[2] + 1) % (int(moved.max()) + 1)
    return offsets, moved


def rows_shifted(indices: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    return torch.cat([offsets[:1], offsets[:-1]]), indices[: int(offsets[-2])]


LISTS: dict[str, tuple[Callable[[BlockList], BlockList], str]] = {
    "a full tile missing": (lambda b: replace(b, full=entry_dropped(b.full[1], b.full[0])), "lost"),
    "a partial tile missing": (lambda b: replace(b, partial=entry_dropped(b.partial[1], b.partial[0])), "lost"),
    "a partial tile moved": (lambda b: replace(b, partial=entry_moved(b.partial[1], b.partial[0])), "lost"),
    "a full tile moved": (lambda b: replace(b, full=entry_moved(b.full[1], b.full[0])), "lost"),
    "the rows of the next row tile": (lambda b: replace(b, partial=rows_shifted(b.partial[1], b.partial[0])), "lost"),
    "full and partial swapped": (lambda b: replace(b, full=b.partial, partial=b.full), "dead"),
    "partial tiles in both lists": (lambda b: replace(b, full=b.partial), "twice"),
    "no full tiles": (lambda b: replace(b, full=(b.full[0] * 0, b.full[1][:0])), "lost"),
}


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("name", LISTS)
def test_every_broken_block_list_is_caught(name: str, transposed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    predicate, call = PATTERNS["unsorted"].mask(2).predicate, call_of(PATTERNS["unsorted"], 2, 29, 34, batch=2, heads=3)
    program = cover(predicate, (3, 3), transposed=transposed)
    assert any(isinstance(v, Listed) for v in program.visits)
    assert findings(program, predicate, call) == set()
    change, caught_by = LISTS[name]
    monkeypatch.setattr(walk, "list_blocks", lambda program, call: change(list_blocks(program, call)))
    assert caught_by in findings(program, predicate, call)


def test_every_check_catches_some_mutant() -> None:
    caught = {m.caught_by for m in MUTANTS.values()}
    assert caught == {"form", "range", "lost", "dead", "twice", "waste"}
