"""The command line: explain, source, plot, and what it says to bad input."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from attnir.frontends.cli import app


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_explain_prints_the_counts() -> None:
    code, text = run("explain", "causal & window(1023, 0)", "16384", "--tile", "128", "64")
    assert code == 0 and "over-compute 1.125" in text and "sweep k tiles" in text


def test_parameters_are_set() -> None:
    code, text = run("explain", "w = param(); causal & window(w, 0)", "256", "--set", "w=15", "--tile", "16", "16")
    assert code == 0 and "live pairs    3,976" in text


def test_sizes_are_given() -> None:
    code, text = run("explain", "(h < 2) | causal", "64", "--tile", "16", "16", "--heads", "4", "--batch", "3")
    assert code == 0 and f"live pairs    {3 * (2 * 64 * 64 + 2 * 64 * 65 // 2):,}" in text
    code, text = run("explain", "causal", "16", "--tile", "16", "16", "--keys", "64")
    assert code == 0 and "16 queries from position 48, 64 keys" in text
    code, text = run("explain", "causal", "16", "--tile", "16", "16", "--keys", "64", "--q-start", "0")
    assert code == 0 and "live pairs    136" in text


def test_source_prints_a_kernel() -> None:
    code, text = run("source", "causal", "--kind", "dkv", "--target", "gfx942")
    assert code == 0 and "def dkv(" in text


def test_source_needs_no_values_of_fields() -> None:
    code, text = run("source", "doc = field(sorted=True); doc(q) == doc(k)")
    assert code == 0 and "def forward(" in text and "table_0" in text


def test_plot_writes_a_picture(tmp_path: Path) -> None:
    code, text = run("plot", "causal", "64", str(tmp_path / "m.png"))
    assert code == 0 and (tmp_path / "m.png").exists(), text


def test_plot_says_what_it_wrote(tmp_path: Path) -> None:
    code, text = run("plot", "causal", "64", str(tmp_path / "m"))
    assert code == 0 and f"wrote {tmp_path / 'm.png'}" in text.replace("\n", "") and (tmp_path / "m.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["explain", "causal &", "64"], "not an expression"),
        (["explain", "k <= j", "64"], "unknown name `j`"),
        (["explain", "causal", "0"], "greater than or equal to 1"),
        (["explain", "w = param(); window(w)", "64"], "`w`"),
        (["explain", "w = param(); window(w)", "64", "--set", "w=x"], "name=integer"),
        (["explain", "doc = field(); doc(q) == doc(k)", "64"], "--field doc=FILE.npy"),
        (["explain", "n = tensor(b); causal & (k < n[b])", "64"], "--tensor n=1,2,3"),
        (["plot", "n = tensor(b, h); causal & (k < n[b, h])", "64", "x.png"], "needed for n, "),
        (["explain", "causal", "64", "--heads", "-1"], "heads"),
        (["explain", "causal", "64", "--q-start", "-1"], "q_start=-1"),
        (["explain", "causal", "64", "--target", "sm_1"], "sm_1"),
        (["source", "causal", "--kind", "fwd"], "fwd"),
        (["source", "causal", "--d", "0"], "D = 0"),
        (["plot", "causal", "100000", "x.png"], "4096"),
        (["plot", "causal", "64", "nowhere/x.png"], "nowhere"),
        (["plot", "causal", "64", "x.foo"], "foo"),
    ],
)
def test_bad_input_is_said_in_words(arguments: list[str], words: str) -> None:
    code, text = run(*arguments)
    assert code == 2 and words in text and "Traceback" not in text
