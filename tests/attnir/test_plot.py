"""Pictures: a file is written whose colours are those of the tiles."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import attnir as an
from attnir.errors import BackendError, ShapeError
from attnir.pictures.figure import COLOURS
from attnir.visits import walked


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_picture_is_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"mask.{suffix}"
    an.compile(an.causal() & an.window(20)).plot(100, path, tile=(16, 16))
    assert path.stat().st_size > 2000


def test_a_path_without_an_ending_gets_one(tmp_path: Path) -> None:
    written = an.compile(an.causal()).plot(32, tmp_path / "mask")
    assert written == tmp_path / "mask.png" and [*tmp_path.iterdir()] == [written]
    assert an.compile(an.causal()).plot(32, tmp_path / "mask.svg") == tmp_path / "mask.svg"


def test_a_long_pattern_is_cut(tmp_path: Path) -> None:
    from matplotlib.image import imread

    x = an.catalog.get("bigbird").example
    an.compile(an.catalog.build("bigbird", **x.params)).plot(x.q_len, tmp_path / "mask.png")
    height, width, _ = imread(tmp_path / "mask.png").shape
    assert width < 1600 and height < 1600
    an.compile(an.catalog.build("bigbird", **x.params)).plot(x.q_len, tmp_path / "mask.svg")
    assert "grid(block=24, token=4)" in (tmp_path / "mask.svg").read_text()


def test_a_picture_without_live_pairs(tmp_path: Path) -> None:
    an.compile(an.window(an.param("w"), 0)).plot(32, tmp_path / "mask.svg", tile=(32, 32), w=-1)
    assert "1,024 visited, none live" in (tmp_path / "mask.svg").read_text()


def test_the_picture_shows_full_partial_and_empty_tiles(tmp_path: Path) -> None:
    from matplotlib.image import imread

    path = tmp_path / "mask.png"
    doc = an.field("doc", sorted=True)
    pattern = an.causal() & an.mask(lambda q, k: doc(q) == doc(k))
    an.compile(pattern).plot(128, path, tile=(16, 16), doc=torch.arange(128) // 64)
    pixels = {tuple(round(255 * float(c)) for c in p[:3]) for p in imread(path).reshape(-1, 4)}
    empty = tuple(int(COLOURS["empty"][i : i + 2], 16) for i in (1, 3, 5))
    partial = tuple(int(COLOURS["partial"][i : i + 2], 16) for i in (1, 3, 5))
    assert empty in pixels and partial in pixels, "tiles without a live pair keep their colour"


def test_each_head_has_a_picture_of_its_own(tmp_path: Path) -> None:
    attention = an.compile(an.causal() & an.mask(lambda q, k, h: q - k < 16 * (h + 1)))
    for head in (0, 3):
        attention.plot(64, tmp_path / f"{head}.svg", tile=(16, 16), head=head)
    alone, far = ((tmp_path / f"{head}.svg").read_bytes() for head in (0, 3))
    assert alone != far
    with_others = tmp_path / "others.svg"
    attention.plot(64, with_others, tile=(16, 16), head=3, heads=8)
    shown = [part for part in with_others.read_text().splitlines() if "<!--" in part]  # the texts, as comments
    assert shown == [part for part in far.decode().splitlines() if "<!--" in part], "counts are of the head shown"


def test_a_long_sequence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="4096"):
        an.compile(an.causal()).plot(5000, tmp_path / "mask.png")


def test_each_panel_is_of_one_head(tmp_path: Path) -> None:
    attention = an.compile(an.causal() & an.mask(lambda q, k, h: q - k < 16 * (h + 1)))
    visited, live = (7, 9, 10, 10), [sum(min(q + 1, 16 * (h + 1)) for q in range(64)) for h in range(4)]  # tiles, pairs
    words = [f"<!-- head {h}: {256 * visited[h] / live[h]:.3f} visited to a live pair -->" for h in range(4)]
    every = attention.plot(64, tmp_path / "every.svg", tile=(16, 16), head="all", heads=4).read_text()
    some = attention.plot(64, tmp_path / "some.svg", tile=(16, 16), head=[0, 3], heads=4).read_text()
    assert every.count("<!-- head ") == 4 and some.count("<!-- head ") == 2
    assert all(w in every for w in words) and words[0] in some and words[3] in some


def test_all_heads_are_those_of_the_pattern_or_of_a_tensor(tmp_path: Path) -> None:
    n = an.tensor("n", "h")
    given = an.compile(an.causal() & an.mask(lambda q, k, h: q - k < n[h]))
    text = given.plot(32, tmp_path / "a.svg", head="all", n=torch.tensor([3, 9, 20])).read_text()
    assert text.count("<!-- head ") == 3
    fixed = an.compile(an.per_head({0: an.causal(), 1: an.window(3, 0)}))
    assert fixed.plot(32, tmp_path / "b.svg", head="all").read_text().count("<!-- head ") == 2


def test_the_order_of_visits_is_numbered(tmp_path: Path) -> None:
    text = an.compile(an.causal()).plot(64, tmp_path / "mask.svg", tile=(16, 16), order=True).read_text()
    numbers = [line.strip() for line in text.splitlines() if line.strip() in {f"<!-- {n} -->" for n in range(1, 6)}]
    assert [numbers.count(f"<!-- {n} -->") for n in (1, 2, 3, 4, 5)] == [4, 3, 2, 1, 0], "a row of tiles has 1, 2, ..."
    assert "visited first" in text and "visited last" in text


def test_launches_have_colours_of_their_own(tmp_path: Path) -> None:
    x = an.catalog.get("clear").example
    attention = an.compile(an.catalog.build("clear", **x.params))
    text = attention.plot(x.q_len, tmp_path / "mask.svg", x.k_len, tile=(8, 8), order=True).read_text()
    assert "launch 1: visited first" in text and "launch 2: visited last" in text


def test_the_keys_of_a_query_on_a_grid(tmp_path: Path) -> None:
    video = an.grid(t=3, y=6, x=8)
    attention = an.compile(an.neighborhood(video, kernel=(3, 3, 3)))
    text = attention.plot(144, tmp_path / "near.svg", query=(1, 2, 3), tile=(16, 16)).read_text()
    assert "the keys of query 67 at (1, 2, 3)" in text and "dark: 27 live keys" in text and "the query" in text
    assert [f"<!-- t = {t} -->" in text for t in range(4)] == [True, True, True, False]
    e = attention.explain(144, tile=(16, 16))
    (tile,) = [t for t in walked(e.arrangement.taken.launches, e.call) if any(a <= 67 < b for a, b in t.rows)]
    partial = {k for v in tile.visits for a, b in v.columns for k in range(a, b)}
    assert f"partial: {len(partial)} keys" in text and "full: 0 keys" in text


def test_the_keys_of_a_query_in_a_row(tmp_path: Path) -> None:
    attention = an.compile(an.causal() & an.window(20, 0))
    text = attention.plot(64, tmp_path / "row.svg", query=50, tile=(8, 8)).read_text()
    assert "the keys of query 50" in text and "dark: 21 live keys" in text
    assert "partial: 24 keys" in text and "full: 8 keys" in text and "empty: 32 keys" in text
    later = attention.plot(8, tmp_path / "row.svg", 64, query=60, tile=(8, 8)).read_text()
    assert "the keys of query 60" in later, "a position, not an index"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"head": "some"}, 'head is one head, "all", or several'),
        ({"head": []}, 'head is one head, "all", or several'),
        ({"head": [0, 1.5]}, 'head is one head, "all", or several'),
        ({"head": "all"}, 'say how many there are: head="all", heads=8'),
        ({"head": [0, 9], "heads": 4}, "head 0, 9 of 4"),
        ({"head": -1}, "head -1 of"),
        ({"head": "all", "heads": 17}, r"at most 16 panels, not 17; take some of the heads: head=range\(16\)"),
        ({"head": [0, 1], "query": 3}, "the keys of a query are those of one head"),
        ({"query": 64}, "no query stands at position 64; queries stand at positions 0 to 63"),
        ({"query": (1, 2)}, "none has as many"),
        ({"sample": 2, "batch": 2}, "sample 2 of 2"),
    ],
)
def test_what_is_not_there_cannot_be_shown(given: dict[str, object], words: str, tmp_path: Path) -> None:
    attention = an.compile(an.mask(lambda q, k, h: q - k < 16 * (h + 1)))
    with pytest.raises(ShapeError, match=words):
        attention.plot(64, tmp_path / "mask.svg", **given)
    assert not [*tmp_path.iterdir()]


def test_without_matplotlib_an_image_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    attention = an.compile(an.causal())
    with pytest.raises(BackendError, match=r"pip install attnir\[plot\]; a page, .html, needs nothing"):
        attention.plot(16, tmp_path / "mask.png")
    assert attention.plot(16, tmp_path / "mask.html").stat().st_size > 10_000


def test_a_pdf_is_written(tmp_path: Path) -> None:
    assert an.compile(an.causal()).plot(16, tmp_path / "mask.pdf").read_bytes().startswith(b"%PDF")
