"""Over-compute is a ratchet: pairs computed to a live pair, at real sizes, for what is promised and the whole catalog.

over_compute.json holds the figures. A change that makes one worse fails and shows both; one that makes one better asks
to be committed. ATTNIR_ACCEPT=1 rewrites the table.
"""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path

import pytest
import torch

import attnir as an
from benchmarks.over_compute import call_of, created_blocks, flex_blocks, measure
from benchmarks.realistic import Sized, cataloged, promised

TABLE = Path(__file__).with_name("over_compute.json")
ROWS = promised() | cataloged()
SLACK = 1e-6  # figures are rounded to six places


@lru_cache(maxsize=len(ROWS))
def measured(name: str) -> dict[str, float]:
    found = measure(ROWS[name])
    return {"forward": round(found.forward, 6), "transposed": round(found.transposed, 6)}


@lru_cache(maxsize=1)
def committed() -> dict[str, dict[str, float]]:
    if os.environ.get("ATTNIR_ACCEPT") == "1":
        TABLE.write_text(json.dumps({name: measured(name) for name in ROWS}, indent=1, sort_keys=True) + "\n")
    table: dict[str, dict[str, float]] = json.loads(TABLE.read_text())
    return table


@pytest.mark.parametrize("name", ROWS)
def test_nothing_computes_more(name: str) -> None:
    before, now = committed()[name], measured(name)
    changed = {d: f"{before[d]} before, {now[d]} now" for d in before if abs(now[d] - before[d]) > SLACK}
    worse = {d: told for d, told in changed.items() if now[d] > before[d]}
    assert not worse, f"{name} computes more than committed: {worse}; all that changed: {changed}"
    assert not changed, f"{name} computes less than committed; commit it with ATTNIR_ACCEPT=1: {changed}"


@pytest.mark.parametrize("name", promised())
def test_what_is_promised_is_kept(name: str) -> None:
    most = ROWS[name].promised
    assert most is not None and 1 <= measured(name)["forward"] <= most


def test_the_table_has_the_promised_patterns_and_the_whole_catalog() -> None:
    assert committed().keys() == ROWS.keys()
    assert cataloged().keys() == set(an.catalog.names(graphs=False))


def test_a_figure_is_that_of_explain() -> None:
    sized = ROWS["4 sinks + window 256, causal"]
    explained = [an.compile(sized.mask).explain(sized.q_len, tile=tile) for tile in ((64, 64), (128, 64))]
    assert measure(sized).forward == min(e.over_compute for e in explained)


SMALL = {
    "window": Sized(an.causal() & an.window(200, 0), 2048),
    "ragged": Sized(an.causal(), 1000, 1300),
    "heads": Sized(an.mask(lambda q, k, h: abs(q - k) <= 100 * h), 1024, heads=3),
    "everything": Sized(an.full(), 512, 640),
    "strided": Sized(an.catalog.build("strided", stride=640), 2048),
    "documents": Sized(an.catalog.build("packed-documents"), 2048, bindings={"doc": (torch.arange(2048) + 100) // 300}),
    "image": Sized(an.neighborhood(an.grid(y=32, x=64), 7), 2048),
}


@pytest.mark.parametrize("name", SMALL)
def test_blocks_are_counted_as_flex_attention_makes_them(name: str) -> None:
    sized = SMALL[name]
    call = call_of(sized)
    assert flex_blocks(sized.mask, call).visited == created_blocks(sized.mask, call)


def test_live_pairs_that_are_told_are_those_that_there_are() -> None:
    small = an.neighborhood(an.grid(t=6, y=12, x=20), (4, 8, 6), stride=(4, 4, 2))
    assert an.compile(small).explain(6 * 12 * 20).live_pairs == 6 * 12 * 20 * 4 * 8 * 6
    told, windows = ROWS["GNA 18 x 24 x 24 on 30 x 48 x 80"], 18 * 24 * 24
    assert told.live == told.q_len * windows
    sampled = flex_blocks(told.mask, call_of(told), most_pairs=2**25)
    assert sampled.sampled and sampled.live > 0 and sampled.live % (128 * windows) == 0
