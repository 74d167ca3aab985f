"""The walk of a head: every query has one row tile, visits hold what the programs visit, in the programs' order."""

from __future__ import annotations

import pytest
import torch

import attnir as an
from attnir.program import Status
from attnir.visits import RowTile, Runs, walked
from attnir.walk import pair_map

# Boxes with several programs and launches, residue classes, block lists, tokens in the order of a label.
NAMES = ["clear", "hilo", "strided", "bigbird", "key-drop", "packed-documents", "duo-causal", "freeswim", "orion-msp"]


def indices(runs: Runs) -> list[int]:
    return [i for start, stop in runs for i in range(start, stop)]


def explained(name: str) -> an.Explanation:
    x = an.catalog.get(name).example
    given = {"heads": x.heads, "batch": x.batch, **x.bindings}
    return an.compile(an.catalog.build(name, **x.params)).explain(x.q_len, x.k_len, tile=(8, 8), **given)


@pytest.mark.parametrize("name", NAMES)
def test_the_visits_are_those_of_the_programs(name: str) -> None:
    e = explained(name)
    launches, call = e.arrangement.taken.launches, e.call
    pairs = pair_map([p for programs in launches for p in programs], call)
    counted = {s: 0 for s in Status}
    for sample in range(call.batch):
        for head in range(call.heads):
            tiles = walked(launches, call, sample, head)
            assert sorted(q for t in tiles for q in indices(t.rows)) == list(range(call.q_len)), "each query once"
            found = {s: torch.zeros(call.q_len, call.k_len, dtype=torch.int64) for s in Status}
            for tile in tiles:
                for visit in tile.visits:
                    counted[visit.status] += 1
                    for q in indices(tile.rows):
                        found[visit.status][q, indices(visit.columns)] += 1
            assert torch.equal(found[Status.FULL], pairs.full[sample, head])
            assert torch.equal(found[Status.PARTIAL], pairs.partial[sample, head])
    assert (counted[Status.FULL], counted[Status.PARTIAL]) == (e.tiles.full, e.tiles.partial)


def test_one_of_them_is_in_the_order_of_a_label() -> None:
    """Otherwise the case above says nothing of places."""
    cluster = an.field("cluster")
    e = an.compile(an.mask(lambda q, k: cluster(q) == cluster(k))).explain(
        32, tile=(8, 8), cluster=torch.arange(32) % 4
    )
    ((program,),) = e.arrangement.taken.launches
    assert program.label is not None
    tiles = walked(e.arrangement.taken.launches, e.call)
    assert [indices(t.rows) for t in tiles] == [list(range(c, 32, 4)) for c in range(4)]
    assert [[indices(v.columns) for v in t.visits] for t in tiles] == [[list(range(c, 32, 4))] for c in range(4)]


def columns(tile: RowTile) -> list[tuple[str, Runs]]:
    return [(v.status.value, v.columns) for v in tile.visits]


def test_visits_are_in_the_order_of_the_sweeps() -> None:
    e = an.compile(an.causal() & (an.window(24, 0) | an.mask(lambda q, k: k < 4))).explain(64, tile=(16, 16))
    *_, last = walked(e.arrangement.taken.launches, e.call)
    assert last.rows == ((48, 64),)
    assert columns(last) == [
        ("partial", ((0, 16),)),
        ("partial", ((16, 32),)),
        ("partial", ((32, 48),)),
        ("partial", ((48, 64),)),
    ]
    e = an.compile(an.causal()).explain(40, tile=(16, 16))
    tiles = walked(e.arrangement.taken.launches, e.call)
    assert [t.rows for t in tiles] == [((0, 16),), ((16, 32),), ((32, 40),)]
    assert columns(tiles[2]) == [("full", ((0, 16),)), ("full", ((16, 32),)), ("partial", ((32, 40),))]


def test_programs_of_a_launch_follow_each_other() -> None:
    e = explained("clear")
    first, second = e.arrangement.taken.launches
    tiles = walked((first, second), e.call)
    assert [t.launch for t in tiles] == sorted(t.launch for t in tiles) and {t.launch for t in tiles} == {0, 1}
    for launch, programs in enumerate((first, second)):
        alone = [walked(((p,),), e.call) for p in programs]
        together = [t for t in tiles if t.launch == launch]
        for i, tile in enumerate(together):
            assert tile.visits == tuple(v for walk in alone for v in walk[i].visits)
