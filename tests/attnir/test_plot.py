"""Pictures: a file is written whose colours are those of the tiles."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import attnir as an
from attnir.plot import COLOURS


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_picture_is_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"mask.{suffix}"
    an.compile(an.causal() & an.window(20)).plot(100, path, tile=(16, 16))
    assert path.stat().st_size > 2000


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
