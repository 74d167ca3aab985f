"""Explanations: exact counts, over-compute, metadata; at a million tokens too."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import attnir as an

DOC = an.field("doc", sorted=True)
S, TILE = 16384, (128, 64)


def test_over_compute_of_causal_window_and_packed_documents() -> None:
    """Must show 2, first half: the bounds at S = 16384 and tiles of 128 x 64."""
    causal = an.compile(an.causal()).explain(S, tile=TILE)
    window = an.compile(an.causal() & an.window(1023, 0)).explain(S, tile=TILE)
    packed = an.compile(an.causal() & an.mask(lambda q, k: DOC(q) == DOC(k)))
    ids = (torch.arange(S) // (S // 16)).int()
    documents = packed.explain(S, tile=TILE, doc=ids)
    for name, e in (("causal", causal), ("window 1023", window), ("16 documents", documents)):
        print(f"{name:14} over-compute {e.over_compute:.4f}, metadata {e.metadata_bytes} bytes, tiles {e.tiles}")
    assert causal.live_pairs == S * (S + 1) // 2 and causal.over_compute <= 1.02
    assert window.live_pairs == S * 1024 - 1023 * 1024 // 2 and window.over_compute <= 1.15
    assert documents.live_pairs == 16 * 1024 * 1025 // 2 and documents.over_compute <= 1.15
    assert causal.metadata_bytes == window.metadata_bytes == 0
    assert documents.metadata_bytes == 3 * 4 * S, "the field and two tables of positions: O(S)"
    assert "row tables" in str(documents) and "closed ranges" in str(window)


def test_a_million_tokens() -> None:
    n = 1 << 20
    for pattern in (an.causal(), an.causal() & an.window(1023, 0)):
        e = an.compile(pattern).explain(n, tile=TILE)
        assert e.metadata_bytes == 0
        assert e.over_compute < 1.13
        assert (e.tiles.full + e.tiles.partial + e.tiles.empty) == (n // 128) * (n // 64)
    assert e.live_pairs == n * 1024 - 1023 * 1024 // 2


def test_counts_cover_samples_and_heads() -> None:
    pattern = an.mask(lambda q, k, h, b: k < 10 * (h + 1) + b)
    e = an.compile(pattern).explain(64, heads=3, batch=2, tile=(16, 16))
    assert e.live_pairs == 64 * sum(10 * (h + 1) + b for h in range(3) for b in range(2))
    assert e.visited_pairs == 64 * 16 * sum(-(-(10 * (h + 1) + b) // 16) for h in range(3) for b in range(2))


def test_a_tensor_over_heads_says_how_many_there_are() -> None:
    w = an.tensor("w", "h")
    attn = an.compile(an.causal() & an.mask(lambda q, k, h: q - k < w[h]))
    given = torch.tensor([1, 2, 3, 4])
    e = attn.explain(10, w=given)
    assert e.live_pairs == 10 + 19 + 27 + 34 and ", 1 sample x 4 heads" in str(e)
    with pytest.raises(an.errors.FieldError, match="over 2 query heads"):
        attn.explain(10, heads=2, w=given)


def test_what_visits_less_is_not_said_to_visit_more() -> None:
    board = an.grid(t=16, r=8, c=8)
    same = an.mask(lambda q, k: (q.t == k.t) & ((q.r == k.r) | (q.c == k.c)), grid=board)
    before = an.mask(lambda q, k: (q.r == k.r) & (q.c == k.c) & (k.t <= q.t), grid=board)
    e = an.compile(same | before).explain(1024, target="sm_90")
    listed = [c for c in e.transposed.others if c.visited < e.transposed.taken.visited]
    assert listed and all(c.listed for c in listed)
    forward, transposed = [line for line in str(e).splitlines() if line.startswith("  layout: ")]
    assert "boxes, which visits least" in forward
    assert "without a list, as a list leaves out too little" in transposed and "visits least" not in transposed


def test_block_lists_are_explained_with_their_reason_and_their_bytes() -> None:
    e = an.compile(an.mask(lambda q, k: (q // 64 + k // 64) % 2 == 0)).explain(512, tile=(64, 64))
    assert e.tiles.full == e.tiles.empty == 32 and e.tiles.partial == 0
    assert e.over_compute == 1.0 and e.metadata_bytes > 0
    assert "block lists: `(q // 64 + k // 64) % 2 == 0` bounds k by no expression of q" in str(e)


def test_it_says_which_lists_are_by_chance() -> None:
    """Those of a route that are not given, alone and in a graph."""
    route = an.route.topk_blocks(block=16, k=2)
    attn = an.compile(an.causal(), route=route)
    graph = an.compile(an.graph(lambda q, k, v: an.attend(an.causal(), q, k, v, route=route)))
    lists = torch.zeros(1, 1, 4, 2, dtype=torch.int32)
    for e in (attn.explain(64), graph.explain(64)):
        assert e.by_chance == ("picks",) and "picks by random scores" in str(e)
    for e in (attn.explain(64, picks=lists), graph.explain(64, picks=lists), an.compile(an.causal()).explain(64)):
        assert not e.by_chance and "random scores" not in str(e)


def test_it_describes_the_target_that_is_asked_for() -> None:
    attention = an.compile(an.causal())
    tiles = {t: attention.explain(1024, target=t, d=128).tile for t in ("sm_80", "sm_90", "sm_100", "gfx942")}
    assert "gfx942" in str(attention.explain(1024, target="gfx942"))
    assert all(rows >= 64 for rows, _ in tiles.values())
    assert "torch" in str(attention.explain(1024, backend="torch"))


IMAGE = an.grid(y=8, x=8)
EMPTY = {
    "false": an.mask(lambda q, k: False),
    "contradiction": an.mask(lambda q, k: (k <= q) & (k > q)),
    "no such key": an.mask(lambda q, k: k < 0),
    "no such row": an.mask(lambda q, k: q.y == 9, grid=IMAGE),
}


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_pattern_visits_nothing(name: str) -> None:
    e = an.compile(EMPTY[name]).explain(64)
    assert (e.live_pairs, e.visited_pairs, e.over_compute) == (0, 0, 0.0)
    assert "nothing: the kernels write zeros" in str(e)


def test_visits_without_a_live_pair_have_no_ratio() -> None:
    e = an.compile(an.window(an.param("w"), 0)).explain(64, tile=(64, 64), w=-1)
    assert (e.live_pairs, e.visited_pairs, e.over_compute) == (0, 4096, math.inf)
    assert "4,096 pairs, none of them live" in str(e)


def test_the_reference_has_no_tiles_of_its_own() -> None:
    text = str(an.compile(an.causal(), backend="reference").explain(64, target="sm_90"))
    assert "reference, which computes every pair; shown here: triton on sm_90" in text
    assert "for           torch tiles\n" in str(an.compile(an.causal(), backend="torch").explain(64))
    assert "for           triton on sm_90" in str(an.compile(an.causal(), backend="triton").explain(64, target="sm_90"))


@pytest.mark.parametrize("sizes", [{"heads": 0}, {"batch": 0}], ids=str)
@pytest.mark.parametrize(
    "pattern",
    [
        an.mask(lambda q, k, h, b: k < 10 * (h + 1) + b),
        an.mask(lambda q, k, h, b: (q * k + h + b) % 5 == 0),
        an.neighborhood(an.grid(y=8, x=8), 3) & an.mask(lambda k, h, b: k % (h + 1) <= b),
    ],
    ids=["ranges", "block lists", "boxes"],
)
def test_no_heads_and_no_samples_have_no_pairs(pattern: an.Mask, sizes: dict[str, Any]) -> None:
    e = an.compile(pattern).explain(64, **sizes)
    assert (e.live_pairs, e.visited_pairs, e.tiles.empty) == (0, 0, 0)
    assert "live pairs    0 of 0" in str(e)


def test_it_says_when_one_head_stands_for_many() -> None:
    attention = an.compile(an.mask(lambda q, k, h: q - k < 16 * (h + 1)))
    assert "head 0 alone: give heads=" in str(attention.explain(64))
    assert "alone" not in str(attention.explain(64, heads=2)) + str(an.compile(an.causal()).explain(64))


@pytest.mark.parametrize("is_sorted", [True, False])
def test_no_samples_of_fields_of_their_own_have_no_pairs(is_sorted: bool) -> None:
    doc = an.field("doc", sorted=is_sorted)
    same = an.compile(an.mask(lambda q, k: doc(q) == doc(k)))
    e = same.explain(40, batch=0, doc=torch.zeros(0, 40, dtype=torch.int64))
    assert (e.live_pairs, e.visited_pairs) == (0, 0)


def test_a_field_that_is_not_sorted_as_declared_has_no_counts() -> None:
    own = an.compile(an.mask(lambda q, k: DOC(q) == DOC(k)))
    with pytest.raises(an.AttnirError, match="declared sorted"):
        own.explain(64, doc=9 - torch.arange(64) // 10)
