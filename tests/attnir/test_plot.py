"""Pictures: a file is written whose colours are those of the tiles."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import attnir as an
from attnir.pictures.figure import COLOURS


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
