"""Precision is a ratchet: what share of tiles is proved FULL or EMPTY, and how much is computed beyond the live pairs.

precision.json holds the numbers at S = 4096 and tiles of (128, 64). A change that makes one worse fails and shows both;
one that makes one better asks to be committed. ATTNIR_ACCEPT=1 rewrites the table.
"""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path

import pytest
import torch

from attnir.call import Call
from attnir.count import count_live, count_tiles
from attnir.cover import cover
from attnir.expr import Expr
from attnir.facts import field
from attnir.masks import Mask, causal, mask, window
from tests.patterns import PATTERNS, call_of

TABLE = Path(__file__).with_name("precision.json")
LENGTH, TILE, UNIT = 4096, (128, 64), 64
SLACK = 1e-6  # numbers are rounded to six places


def measure(predicate: Expr, call: Call, live: int, *, transposed: bool) -> dict[str, float]:
    """Shares of FULL and PARTIAL tiles, and visited pairs per live pair."""
    counts = count_tiles(cover(predicate, TILE, transposed=transposed), call)
    total = counts.full + counts.partial + counts.empty
    visited = (counts.full + counts.partial) * TILE[0] * TILE[1]
    numbers = {"full": counts.full / total, "partial": counts.partial / total, "over_compute": visited / max(1, live)}
    return {name: round(value, 6) for name, value in numbers.items()}


def measured(name: str) -> dict[str, dict[str, float]]:
    named = PATTERNS[name]
    predicate = named.mask(UNIT).predicate
    call = call_of(named, UNIT, LENGTH, batch=1, heads=1)
    live = count_live(predicate, call)
    return {
        "forward": measure(predicate, call, live, transposed=False),
        "transposed": measure(predicate, call, live, transposed=True),
    }


@lru_cache(maxsize=1)
def committed() -> dict[str, dict[str, dict[str, float]]]:
    if os.environ.get("ATTNIR_ACCEPT") == "1":
        table = {name: measured(name) for name in PATTERNS}
        TABLE.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")
    return json.loads(TABLE.read_text())


@pytest.mark.parametrize("name", PATTERNS)
def test_nothing_becomes_less_precise(name: str) -> None:
    before, now = committed()[name], measured(name)
    worse, better = [], []
    for direction in ("forward", "transposed"):
        for number, sign in (("full", -1), ("partial", 1), ("over_compute", 1)):
            old, new = before[direction][number], now[direction][number]
            if abs(new - old) > SLACK:
                (worse if (new - old) * sign > 0 else better).append(f"{direction} {number}: {old} before, {new} now")
    assert not worse, f"{name} is less precise than committed: {worse}; better: {better}"
    assert not better, f"{name} is more precise than committed; commit it with ATTNIR_ACCEPT=1: {better}"


def test_the_table_names_the_patterns() -> None:
    assert committed().keys() == PATTERNS.keys()


def over_compute(m: Mask, length: int, *, transposed: bool = False, **bindings: object) -> float:
    sizes = {"batch": 1, "heads": 1, "q_len": length, "k_len": length}
    call = m.signature.bind(bindings, **sizes)
    live = count_live(m.predicate, call)
    return measure(m.predicate, call, live, transposed=transposed)["over_compute"]


DOC = field("doc", sorted=True)
PACKED = causal() & mask(lambda q, k: DOC(q) == DOC(k))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    "m, most, given",
    [
        (causal(), 1.02, {}),
        (causal() & window(1023, 0), 1.15, {}),
        (PACKED, 1.15, {"doc": torch.arange(16384) // 1024}),
    ],
    ids=["causal", "window", "documents"],
)
def test_over_compute_that_is_promised(m: Mask, most: float, given: dict[str, object], transposed: bool) -> None:
    assert 1 <= over_compute(m, 16384, transposed=transposed, **given) <= most


LISTED_WHEN_TRANSPOSED = {"dead_tiles"}  # its condition on q guards whole rows forward, and bounds no column transposed


@pytest.mark.parametrize("name", PATTERNS)
def test_closed_ranges_stay_closed(name: str) -> None:
    """A pattern that loses its closed form would still be right, and slow."""
    predicate, listed = PATTERNS[name].mask(UNIT).predicate, PATTERNS[name].way == "lists"
    assert cover(predicate, TILE).listed == listed
    assert cover(predicate, TILE, transposed=True).listed == (listed or name in LISTED_WHEN_TRANSPOSED)
