"""`attnir plot`: pictures and pages from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import attnir as an
from attnir.frontends.cli import app
from tests.attnir.pictures.unpacked import data_of, live_of

FAR = "q - k < 16 * (h + 1)"
VIDEO = "q, k = grid(t=3, y=6, x=8); (q.t == k.t) & (abs(q.x - k.x) < 2)"


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["plot", *map(str, arguments)], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_heads_are_named(tmp_path: Path) -> None:
    out = tmp_path / "mask.svg"
    for head, count in (("all", 4), ("1,3", 2)):
        code, text = run(FAR, 64, out, "--heads", 4, "--head", head)
        assert code == 0 and out.read_text().count("<!-- head ") == count, text


def test_the_order_and_sizes_are_given(tmp_path: Path) -> None:
    out = tmp_path / "mask.svg"
    code, text = run("causal", 16, out, "--order", "--keys", 64, "--q-start", 0, "--tile", 8, 8)
    assert code == 0 and "visited last" in out.read_text(), text
    code, text = run("w = param(); window(w, 0)", 32, out, "--set", "w=3", "--batch", 2, "--sample", 1, "--query", 20)
    assert code == 0 and "dark: 4 live keys" in out.read_text(), text


def test_fields_and_tensors_are_given(tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    code, text = run("doc = field(sorted=True); doc(q) == doc(k)", 64, out, "--field", "doc=i // 10")
    assert code == 0, text
    live = live_of(data_of(out.read_text())["live"]["2.0"], 64, 64)
    tokens = torch.arange(64) // 10
    assert torch.equal(live, tokens[:, None] == tokens)
    code, text = run("n = tensor(h); q - k < n[h]", 16, tmp_path / "n.svg", "--tensor", "n=1,2,3", "--head", "all")
    assert code == 0 and (tmp_path / "n.svg").read_text().count("<!-- head ") == 3, text


def test_a_query_has_coordinates(tmp_path: Path) -> None:
    code, text = run(VIDEO, 144, tmp_path / "near.svg", "--query", "1,2,3", "--tile", 16, 16)
    assert code == 0 and "the keys of query 67 at (1, 2, 3)" in (tmp_path / "near.svg").read_text(), text


@pytest.mark.parametrize("arguments", [["page.html"], ["page", "--html"], ["page.html", "--html"]])
def test_a_page_is_written(arguments: list[str], tmp_path: Path) -> None:
    code, text = run(VIDEO, 144, tmp_path / arguments[0], *arguments[1:], "--query", "1,2,3")
    assert code == 0 and f"wrote {tmp_path / 'page.html'}" in text.replace("\n", "")
    assert [*tmp_path.iterdir()] == [tmp_path / "page.html"]
    assert data_of((tmp_path / "page.html").read_text())["start"]["query"] == 67


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["causal", 64, "x.svg", "--head", "first"], "--head takes a head, several, or all"),
        (["causal", 64, "x.svg", "--head", "0,9", "--heads", 4], "head 0, 9 of 4"),
        (["causal", 64, "x.svg", "--query", "1;2"], "--query takes a position"),
        (["causal", 64, "x.svg", "--query", "1,2"], "give a position"),
        (["causal", 64, "x.png", "--html"], "give a path that ends in .html"),
        (["causal", 2000, "x.html"], "a page shows 1 to 1024 tokens"),
        ([FAR, 64, "x.svg", "--head", "all"], "say how many there are"),
        (["causal", 64, "nowhere/x.html"], "nowhere"),
    ],
)
def test_bad_input_is_said_in_words(arguments: list[object], words: str) -> None:
    code, text = run(*arguments)
    assert code == 2 and words in " ".join(text.replace("│", " ").split()) and "Traceback" not in text


def test_a_page_of_shorter_lengths_has_no_tensor_that_a_score_reads(tmp_path: Path) -> None:
    t = an.tensor("t", "k")
    attn = an.compile(an.causal(), score=an.score(lambda s, k: s + t[k]))
    out = attn.plot(64, tmp_path / "page.html", t=torch.zeros(64))
    assert len(data_of(out.read_text())["lengths"]) == 3
