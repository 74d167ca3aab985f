"""What a picture shows: status, order and live pairs of every pair, against literal matrices and the dense meaning."""

from __future__ import annotations

import pytest
import torch

import attnir as an
from attnir.pictures.panels import Panel, View


def panel(pattern: an.Mask, q_len: int, tile: tuple[int, int], head: int = 0, **given: object) -> Panel:
    return View(an.compile(pattern).explain(q_len, tile=tile, **given)).panel(0, head)


def test_a_causal_picture() -> None:
    seen = panel(an.causal(), 6, (2, 2))
    assert seen.status.tolist() == [
        [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [2, 2, 1, 1, 0, 0],
        [2, 2, 1, 1, 0, 0],
        [2, 2, 2, 2, 1, 1],
        [2, 2, 2, 2, 1, 1],
    ]
    assert seen.order.tolist() == [
        [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 2, 2, 0, 0],
        [1, 1, 2, 2, 0, 0],
        [1, 1, 2, 2, 3, 3],
        [1, 1, 2, 2, 3, 3],
    ]
    assert torch.equal(seen.live, torch.ones(6, 6).tril().bool())
    assert seen.visited == 24 and seen.ratio() == "1.143 visited to a live pair"


def test_classes_are_visited_apart() -> None:
    """Residue classes modulo 2 are two row tiles, whose keys lie between each other's."""
    seen = panel(an.mask(lambda q, k: ((q - k) % 2 == 0) & (abs(q - k) < 16)), 16, (8, 8))
    assert torch.equal(seen.status, 2 * (torch.arange(16)[:, None] % 2 == torch.arange(16) % 2).to(torch.int8))
    assert [t.rows for t in seen.tiles] == [tuple((i, i + 1) for i in range(c, 16, 2)) for c in (0, 1)]
    assert seen.tile_of(5).rows[0] == (1, 2)


@pytest.mark.parametrize("name", an.catalog.names(graphs=False))
def test_every_live_pair_is_visited_and_full_tiles_are_live(name: str) -> None:
    x = an.catalog.get(name).example
    given = {"heads": x.heads, "batch": x.batch, **x.bindings}
    attention = an.compile(an.catalog.build(name, **x.params))
    view = View(attention.explain(x.q_len, x.k_len, tile=(8, 8), **given))
    for sample in range(x.batch):
        for head in range(x.heads):
            seen = view.panel(sample, head)
            assert torch.equal(seen.live, view.live[sample, head])
            assert (seen.status[seen.live] > 0).all() and seen.live[seen.status == 2].all()
            assert torch.equal(seen.order > 0, seen.status > 0)


def test_a_launch_has_its_queries() -> None:
    x = an.catalog.get("clear").example
    e = an.compile(an.catalog.build("clear", **x.params)).explain(x.q_len, x.k_len, tile=(8, 8))
    launch = View(e).panel(0, 0).launch
    assert launch.tolist() == [0] * 8 + [1] * 64, "the text first, then the image"
