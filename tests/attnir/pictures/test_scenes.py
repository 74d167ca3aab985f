"""What a page holds: the pairs of the dense meaning, the counts of `explain`, at every length, tile and head."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import attnir as an
from attnir.errors import ShapeError
from attnir.pictures.page import MOST_TOKENS
from tests.attnir.pictures.unpacked import data_of, live_of, unpacked

doc = an.field("doc", sorted=True)
DOCS = torch.arange(96) // 20
n = an.tensor("n", "h")
VIDEO = an.grid(t=3, y=4, x=5)

CASES: dict[str, tuple[an.Mask, int, dict[str, Any]]] = {
    "causal": (an.causal(), 96, {}),
    "heads": (an.causal() & an.mask(lambda q, k, h: q - k < 8 * (h + 1)), 64, {"heads": 3}),
    "documents": (an.causal() & an.mask(lambda q, k: doc(q) == doc(k)), 96, {"doc": DOCS}),
    "a window": (an.window(an.param("w"), 0), 40, {"w": 7, "tile": (8, 24)}),
    "a tensor": (an.mask(lambda q, k, h: q - k <= n[h]), 32, {"n": torch.tensor([3, 9]), "head": "all"}),
    "more keys": (an.causal(), 32, {"k_len": 80}),
    "a start": (an.causal(), 32, {"q_start": 0, "k_len": 80}),
    "a video": (an.neighborhood(VIDEO, kernel=(3, 3, 3)), 60, {}),
    "one token": (an.causal(), 1, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_counts_and_pairs_are_those_of_explain_and_of_the_dense_mask(name: str, tmp_path: Path) -> None:
    mask, q_len, given = CASES[name]
    attention = an.compile(mask)
    data = data_of(attention.plot(q_len, tmp_path / "page.html", **given).read_text())
    call = {k: v for k, v in given.items() if k not in ("head", "tile", "k_len")}
    call["heads"] = data["all_heads"]
    for i, sizes in enumerate(data["lengths"]):
        bound = {k: v[: sizes["q_len"]] if k == "doc" else v for k, v in call.items()}
        for j, tile in enumerate(data["tiles"]):
            e = attention.explain(sizes["q_len"], sizes["k_len"], tile=tuple(tile), **bound)
            said = json.loads(unpacked(data["texts"][f"{i}.{j}"]))
            wanted = {"live": e.live_pairs, "visited": e.visited_pairs, "metadata": e.metadata_bytes}
            assert said["counts"] == wanted | {"full": e.tiles.full, "partial": e.tiles.partial, "empty": e.tiles.empty}
            assert said["explain"] == str(e)
            walks = [json.loads(unpacked(data["walks"][f"{i}.{j}.{n}"])) for n in range(len(data["heads"]))]
            copies = 1 if len(walks) == data["all_heads"] else data["all_heads"]
            for what in ("live", "visited", "full", "partial", "empty"):
                assert sum(w["counts"][what] for w in walks) * copies == said["counts"][what], what
        q, k = torch.zeros(1, data["all_heads"], sizes["q_len"], 1), torch.zeros(1, 1, sizes["k_len"], 1)
        for head in data["heads"]:
            live = live_of(data["live"][f"{i}.{data['heads'].index(head)}"], sizes["q_len"], sizes["k_len"])
            assert torch.equal(live, dense(mask, q, k, head, bound)), f"head {head} at {sizes['q_len']}"


def dense(mask: an.Mask, q: torch.Tensor, k: torch.Tensor, head: int, bound: dict[str, Any]) -> torch.Tensor:
    """Which pairs of a head the reference sees: with the identity as values, what is not 0."""
    given = {name: value for name, value in bound.items() if name != "heads"}
    o = an.reference(mask)(q, k, torch.eye(k.shape[2])[None, None], **given)
    return o[0, head] > 0


def test_walks_hold_the_row_tiles(tmp_path: Path) -> None:
    data = data_of(an.compile(an.causal()).plot(48, tmp_path / "page.html").read_text())
    walk = json.loads(unpacked(data["walks"]["2.0.0"]))
    assert data["lengths"][2]["q_len"] == 48 and data["tiles"][0] == [16, 16]
    assert walk["tiles"][1] == [0, [[16, 32]], [[2, [[0, 16]]], [1, [[16, 32]]]]]


def test_lengths_tiles_and_heads_that_are_offered(tmp_path: Path) -> None:
    def offered(mask: an.Mask, q_len: int, **given: Any) -> dict[str, Any]:
        return data_of(an.compile(mask).plot(q_len, tmp_path / "page.html", **given).read_text())

    far = an.mask(lambda q, k, h: q - k < 8 * (h + 1))
    free = offered(far, 256, heads=12, tile=(32, 64), head=10, query=100)
    assert [s["q_len"] for s in free["lengths"]] == [64, 128, 256]
    assert free["tiles"] == [[16, 16], [32, 32], [32, 64], [64, 64], [128, 128]]
    assert free["heads"] == [0, 1, 2, 3, 4, 5, 6, 10] and free["all_heads"] == 12
    assert free["start"] == {"length": 2, "tile": 2, "head": 7, "query": 100, "order": False}
    assert offered(far, 16, heads=12, head="all")["heads"] == list(range(8))
    assert offered(far, 16, heads=12, head=[11, 3])["heads"] == [11, 3]
    assert offered(an.causal(), 16, heads=12)["heads"] == [0], "every head is alike"
    assert [s["q_len"] for s in offered(an.neighborhood(VIDEO, kernel=3), 60)["lengths"]] == [60]
    assert offered(an.neighborhood(VIDEO, kernel=3), 60, query=(2, 1, 4))["start"]["query"] == 49


@pytest.mark.slow
def test_the_largest_page_is_small(tmp_path: Path) -> None:
    """The worst there is: pairs without a rule at the longest length, for as many heads as a page has."""
    noise = an.mask(lambda q, k, h: (q * 7919 + k * 104729 + h * 1299709 + q * k * 31) % 61 < 30)
    path = an.compile(noise).plot(MOST_TOKENS, tmp_path / "page.html", heads=8)
    assert len(data_of(path.read_text())["heads"]) == 8 and path.stat().st_size < 5e6


def test_a_page_loads_nothing(tmp_path: Path) -> None:
    text = an.compile(an.causal()).plot(16, tmp_path / "page.html").read_text()
    assert not re.search(r"https?://|\bsrc=|@import|\burl\(|\bfetch\(|XMLHttpRequest|\bimport\b", text)
    assert "default-src 'none'" in text, "a browser holds it to that, too"


def test_a_pattern_cannot_leave_its_place(tmp_path: Path) -> None:
    text = an.compile(an.mask(lambda q, k: (k < q) & (k > 3))).plot(16, tmp_path / "page.html").read_text()
    assert "(k &lt; q) &amp; (k &gt; 3)" in text
    assert "<" not in text.split('id="data">')[1].split("</script>")[0]
    assert data_of(text)["pattern"] == "(k < q) & (k > 3)"


def test_a_page_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="a page shows 1 to 1024 tokens, not 1025 by 1025"):
        an.compile(an.causal()).plot(1025, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
