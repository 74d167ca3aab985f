"""Notebooks: HTML of patterns, attentions and explanations; quick, well formed, and never an error."""

from __future__ import annotations

import re
import time
from html import unescape
from xml.etree import ElementTree

import pytest
import torch

import attnir as an
from attnir.notebook import never_raises

VIDEO = an.grid(t=3, y=6, x=8)
WINDOW = an.causal() & an.window(16)


def svg_of(html: str) -> ElementTree.Element:
    (text,) = re.findall(r"<svg.*?</svg>", html)
    return ElementTree.fromstring(text)


def live_of(svg: ElementTree.Element, q_len: int, k_len: int) -> torch.Tensor:
    """The pairs that the path of an SVG covers."""
    live = torch.zeros(q_len, k_len, dtype=torch.bool)
    for x, y, n in re.findall(r"M(\d+) (\d+)h(\d+)v1", svg.find("path").get("d")):
        live[int(y), int(x) : int(x) + int(n)] = True
    return live


def test_the_picture_shows_the_dense_mask() -> None:
    svg = svg_of(WINDOW._repr_html_())
    assert svg.get("viewBox") == "0 0 64 64"
    row, column = torch.arange(64)[:, None], torch.arange(64)
    assert torch.equal(live_of(svg, 64, 64), (column <= row) & (row - column <= 16))


def test_tiles_are_coloured_by_whether_their_pairs_are_live() -> None:
    svg = svg_of(WINDOW._repr_html_())
    colours = {(int(r.get("x")), int(r.get("y"))): r.get("fill") for r in svg.findall("rect")}
    assert len(colours) == 256
    names = {"#f4f4f2": "none", "#f2c14e": "some", "#5b8e7d": "all"}
    found = {names[colours[x, y]] for y in range(0, 64, 4) for x in range(0, 64, 4) if x > y}
    assert found == {"none"}, "no tile above the diagonal has a live pair"
    assert names[colours[0, 0]] == "some" and names[colours[4, 8]] == "all"


def test_a_length_is_chosen_in_which_a_window_can_be_seen() -> None:
    assert svg_of(an.window(60, 0)._repr_html_()).get("viewBox") == "0 0 256 256"
    assert "64 queries, 64 keys" in an.causal()._repr_html_()


def test_a_grid_shows_the_keys_of_its_middle() -> None:
    html = an.neighborhood(VIDEO, kernel=(3, 3, 3))._repr_html_()
    images = svg_of(html).findall("g")
    assert "the keys of query 76, t = 0 to t = 2" in html and len(images) == 3  # 1 * 48 + 3 * 8 + 4
    for image in images:
        live = torch.zeros(6, 8, dtype=torch.bool)
        live[2:5, 3:6] = True
        assert torch.equal(live_of(image, 6, 8), live)
    marks = [[(r.get("x"), r.get("y")) for r in i.findall("rect") if r.get("width") == "1"] for i in images]
    assert marks == [[], [("4", "3")], []]


def test_texts_are_escaped() -> None:
    html = an.mask(lambda q, k: (k < q) & (k > 3))._repr_html_()
    (text,) = re.findall(r"<pre.*?>(.*?)</pre>", html)
    assert text == "(k &lt; q) &amp; (k &gt; 3)" and unescape(text) == "(k < q) & (k > 3)"


def test_parameters_have_a_value_for_the_picture() -> None:
    html = an.window(an.param("w", high=5), 0)._repr_html_()
    assert "w = 5" in html
    row, column = torch.arange(64)[:, None], torch.arange(64)
    assert torch.equal(live_of(svg_of(html), 64, 64), (column <= row) & (row - column <= 5))
    assert "w = 8" in an.window(an.param("w"), 0)._repr_html_()


def test_what_reads_tensors_is_shown_as_text() -> None:
    doc = an.field("doc")
    html = an.mask(lambda q, k: doc(q) == doc(k))._repr_html_()
    assert "<svg" not in html and "doc(q) == doc(k)" in html


def test_heads_say_which_one_is_shown() -> None:
    assert "head 0" in an.mask(lambda q, k, h: q - k < h + 1)._repr_html_()


def test_scores_patterns_and_attentions() -> None:
    score = an.score(lambda s, q, k: s - 0.5)
    assert "score = s - 0.5" in score._repr_html_()
    pattern = an.pattern(WINDOW, score=score)
    assert "<svg" in pattern._repr_html_() and "score = s - 0.5" in pattern._repr_html_()
    html = an.compile(pattern, backend="torch")._repr_html_()
    assert pattern._repr_html_() in html and "compiled for torch" in html
    assert "triton on a GPU, torch tiles on a CPU" in an.compile(WINDOW)._repr_html_()


def test_an_explanation_is_a_table_and_its_text() -> None:
    e = an.compile(WINDOW).explain(1000, tile=(64, 32))
    html = e._repr_html_()
    rows = dict(re.findall(r"<tr><th.*?>(.*?)</th><td.*?>(.*?)</td></tr>", html))
    assert rows["live pairs"] == f"{e.live_pairs:,}" and rows["visited pairs"] == f"{e.visited_pairs:,}"
    assert rows["over-compute"] == f"{e.over_compute:.3f}" and rows["tile"] == "64 x 32"
    assert rows["tiles"].startswith(f"{e.tiles.full:,} full, {e.tiles.partial:,} partial")
    (text,) = re.findall(r"<pre.*?>(.*?)</pre>", html, re.DOTALL)
    assert unescape(text) == str(e)


def test_no_error_comes_of_it() -> None:
    class Broken:
        @never_raises
        def _repr_html_(self) -> str:
            raise RuntimeError

    assert Broken()._repr_html_() is None, "a notebook shows the plain text then"
    assert "<svg" not in an.mask(lambda q, k: k >= 0, grid=an.grid(x=2**27))._repr_html_()


def test_values_that_a_pattern_does_not_take_leave_its_text() -> None:
    html = an.parse("w1 = param(low=20); w2 = param(); assert w1 <= w2; (k <= q) & (q - k <= w1)")._repr_html_()
    assert "<svg" not in html and "assert w1 &lt;= w2" in html


@pytest.mark.parametrize("name", an.catalog.names(graphs=False))
def test_every_entry_of_the_catalog_is_shown_quickly(name: str) -> None:
    mask = an.catalog.build(name, **an.catalog.get(name).example.params)
    mask._repr_html_()
    start = time.perf_counter()
    html = mask._repr_html_()
    assert time.perf_counter() - start < 0.3 and html is not None
    assert len(html) < 200_000 and unescape(html).count(str(mask)) == 1
