"""The gallery: the committed page is what the command writes, and every picture that it shows is there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import attnir as an
from attnir.frontends.cli import app
from attnir.frontends.gallery import TILE, call_of, description, grouped, view_of, write_gallery

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("docs")
    write_gallery(out)
    return out


def test_the_committed_page_is_what_the_command_writes(written: Path) -> None:
    page = (written / "gallery.md").read_text()
    assert page == (DOCS / "gallery.md").read_text(), "the catalog changed; write the page again: attnir gallery"


def test_every_picture_of_the_page_is_there_and_no_other(written: Path) -> None:
    shown = re.findall(r"!\[.*?\]\(gallery/(.*?)\)", (DOCS / "gallery.md").read_text())
    assert sorted(shown) == sorted(f"{name}.png" for name in an.catalog.names(graphs=False))
    for folder in (DOCS, written):
        assert sorted(p.name for p in (folder / "gallery").iterdir()) == sorted(shown)
    assert sum(p.stat().st_size for p in (DOCS / "gallery").iterdir()) < 2**20


def test_a_picture_has_the_same_bytes_each_time(tmp_path: Path, written: Path) -> None:
    from attnir.pictures.figure import plot_small

    plot_small({"": view_of(an.catalog.get("window")).panel(0, 0)}, tmp_path / "window.png")
    assert (tmp_path / "window.png").read_bytes() == (written / "gallery" / "window.png").read_bytes()


def test_every_entry_has_one_place() -> None:
    placed = [e.name for entries in grouped().values() for e in entries]
    assert sorted(placed) == list(an.catalog.names())


@pytest.mark.parametrize("name", an.catalog.names())
def test_the_call_that_is_shown_builds_the_example(name: str) -> None:
    entry = an.catalog.get(name)
    assert eval(call_of(entry), {"an": an}) == entry.build(**entry.example.params)


@pytest.mark.parametrize("name", an.catalog.names())
def test_every_parameter_and_field_is_explained(name: str) -> None:
    entry = an.catalog.get(name)
    shown = description(entry)
    listed = {n for p in shown for names in re.findall(r"^- `(.*?)`: \S", p, re.MULTILINE) for n in names.split(", ")}
    assert listed == set(inspect.signature(entry.build).parameters)
    named = set(re.findall(r"\w+", " ".join(shown)))
    assert set(entry.example.bindings) <= named


def test_a_description_lists_parameters_on_a_line_each() -> None:
    *_, parameters = description(an.catalog.get("halo"))
    assert parameters.splitlines()[:3] == [
        "- `height, width`: the image's tokens, multiples of the block",
        "- `block`: tokens along a side of a block",
        "- `halo`: how many tokens around its block a query sees on each side",
    ]
    assert "- `prefix`: how many tokens the prefix has, in every sample; may be a parameter. Where left out, each " in (
        "".join(description(an.catalog.get("prefix-lm")))
    )


@pytest.mark.parametrize("name", ["window", "sink-lora", "freeswim", "cab-nc"])
def test_a_panel_shows_what_the_reference_sees(name: str) -> None:
    """Live pairs are in visited tiles, and are those of the dense meaning; every head and sample has its own."""
    x = an.catalog.get(name).example
    seen = view_of(an.catalog.get(name))
    k_len = x.k_len or x.q_len
    assert seen.live.shape == (x.batch, x.heads, x.q_len, k_len)
    q, k = torch.zeros(x.batch, x.heads, x.q_len, 1), torch.zeros(x.batch, x.heads, k_len, 1)
    _, lse = an.reference(an.catalog.build(name, **x.params))(q, k, k, return_lse=True, **x.bindings)
    for sample in range(x.batch):
        for head in range(x.heads):
            panel = seen.panel(sample, head)
            torch.testing.assert_close(lse[sample, head].exp(), panel.live.sum(-1).double())
            assert (panel.status[panel.live] > 0).all() and panel.live[panel.status == 2].all()


def test_the_command_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"Windows": [an.catalog.get("causal"), an.catalog.get("window")]}
    monkeypatch.setattr("attnir.frontends.gallery.grouped", lambda: few)
    result = CliRunner().invoke(app, ["gallery", "--out", str(tmp_path / "new")])
    assert result.exit_code == 0 and "2 pictures" in result.output
    assert f"Tiles of {TILE[0]} x {TILE[1]}" in (tmp_path / "new" / "gallery.md").read_text()
