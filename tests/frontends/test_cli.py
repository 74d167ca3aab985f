"""The commands that take a pattern, and the catalog: their options, and what they say to bad input."""

from __future__ import annotations

import re
import shlex
import sys
from inspect import signature
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import attnir as an
from attnir.frontends.arguments import attention_of
from attnir.frontends.cli import app
from attnir.frontends.commands import verify as verifying


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


def test_the_kernels_of_grouped_heads_are_shown_where_they_are_asked_for() -> None:
    code, text = run("source", "causal", "--kind", "dkv", "--grouped")
    assert code == 0 and text.rstrip() == an.compile(an.causal()).source("dkv", grouped=True).rstrip()
    assert text != run("source", "causal", "--kind", "dkv")[1]


def test_source_needs_no_values_of_fields() -> None:
    code, text = run("source", "doc = field(sorted=True); doc(q) == doc(k)")
    assert code == 0 and "def forward(" in text and "table_0" in text


def test_fields_and_tensors_are_given() -> None:
    sizes = ("64", "--tile", "16", "16")
    code, text = run("explain", "doc = field(sorted=True); causal & (doc(q) == doc(k))", *sizes, "--field", "doc=i//32")
    assert code == 0 and f"live pairs    {32 * 33:,}" in text
    code, text = run("explain", "n = tensor(b); causal & (k < n[b])", *sizes, "--tensor", "n=1,2", "--batch", "2")
    assert code == 0 and f"live pairs    {64 + 64 + 63}" in text


def test_the_kernel_that_is_meant_is_given() -> None:
    code, text = run("explain", "causal", "64", "--d", "128", "--dv", "64", "--dtype", "fp32", "--backend", "torch")
    assert code == 0 and "torch tiles" in text and "D = 128, Dv = 64" in text
    code, text = run("source", "causal", "--d", "128", "--dv", "64", "--dtype", "fp16")
    assert code == 0 and "fp16, D = 128, Dv = 64" in text


def test_a_source_is_written_to_a_file(tmp_path: Path) -> None:
    out = tmp_path / "kernel.py"
    code, text = run("source", "causal", "--kind", "dq", "--out", str(out))
    assert code == 0 and "kernel.py" in text
    assert out.read_text() == run("source", "causal", "--kind", "dq")[1]


def test_the_catalog_is_listed_and_searched() -> None:
    code, text = run("catalog")
    assert code == 0 and f"{len(an.catalog.names())} entries" in text
    assert all(f"  {name} " in text and an.catalog.get(name).summary in text for name in an.catalog.names())
    code, text = run("catalog", "--search", "LONGFORMER")
    assert code == 0 and "dilated-window" in text and "halo" not in text
    assert run("catalog", "--search", "no such thing")[0] == 1


@pytest.mark.parametrize("name", an.catalog.names())
def test_an_entry_is_shown_in_full(name: str) -> None:
    code, text = run("catalog", name)
    words, entry = " ".join(text.split()), an.catalog.get(name)
    assert code == 0 and entry.summary in words and " ".join(entry.source.split()) in words
    assert all(f"{parameter}=" in words or f" {parameter} " in words for parameter in signature(entry.build).parameters)
    assert "".join(str(entry.build(**entry.example.params)).split()) in "".join(text.split())


def test_times_are_measured_beside_those_of_dense_attention() -> None:
    short = ("--length", "48", "--heads", "2", "--d", "16", "--repeat", "2")
    code, text = run("bench", "causal", *short)
    assert code == 0 and re.search(r"^attnir +[\d.]+ ms  1.00x +[\d.]+ ms  1.00x", text, re.MULTILINE)
    assert re.search(r"^dense, masked +[\d.]+ ms +[\d.]+x", text, re.MULTILINE) and "left out" not in text
    code, text = run("bench", "window(5)", *short)
    assert code == 0 and "dense, masked " in text and "dense, unmasked is left out" in text
    code, text = run("bench", "causal; score = 0.5 * s", *short)
    assert code == 0 and "dense, masked is left out: the pattern changes scores" in text
    code, text = run(
        "bench",
        "doc = field(); n = tensor(h); (doc(q) == doc(k)) & (k < n[h])",
        *short,
        "--field",
        "doc=i//9",
        "--tensor",
        "n=30,40",
    )
    assert code == 0 and "dense, masked " in text


def test_the_tokens_of_a_grid_are_as_many_as_it_has() -> None:
    small = ("--heads", "2", "--d", "16", "--repeat", "1")
    code, text = run("bench", "q, k = grid(y=6, x=8); q.y == k.y", *small)
    assert code == 0 and "48 tokens" in text
    code, text = run("bench", "n = param(low=1); q, k = grid(y=n, x=8); q.y == k.y", *small, "--set", "n=5")
    assert code == 0 and "40 tokens" in text
    code, text = run("bench", "n = param(low=1); q, k = grid(y=n, x=8); q.y == k.y", *small)
    assert code == 2 and "--set n=16" in text
    code, text = run("bench", "q, k = grid(y=6, x=8); q.y == k.y", *small, "--length", "40")
    assert code == 2 and "arranges 48" in text


def test_what_dense_attention_cannot_hold_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("no memory is left\nand more words")

    monkeypatch.setattr("attnir.frontends.contest.scaled_dot_product_attention", full)
    code, text = run("bench", "causal", "--length", "48", "--repeat", "1", "--d", "16")
    assert code == 0 and "dense, masked is left out: no memory is left\n" in text and "more words" not in text


def test_what_no_memory_holds_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("attnir.frontends.contest.torch.randn", full)
    code, text = run("bench", "causal")
    assert code == 2 and "there is no memory for q, k and v of 8 x 2048 x 64" in text


def test_a_dense_mask_that_is_too_large_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attnir.frontends.contest.MOST_BYTES", 1000)
    code, text = run("bench", "window(5)", "--length", "48", "--repeat", "1", "--d", "16")
    assert code == 0 and "a shorter --length has it" in text and "attnir" in text


def test_what_triton_interprets_is_not_inspected(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of its own compiles whatever the environment says: see test_terminal.py."""
    monkeypatch.setattr("attnir.codegen.triton.launch.interpreted", lambda: True)
    code, text = run("inspect", "causal", "--kind", "delta")
    assert code == 2 and "Triton is interpreting in this process" in text


def test_plot_writes_a_picture(tmp_path: Path) -> None:
    code, text = run("plot", "causal", "64", str(tmp_path / "m.png"))
    assert code == 0 and (tmp_path / "m.png").exists(), text


def test_plot_says_what_it_wrote(tmp_path: Path) -> None:
    code, text = run("plot", "causal", "64", str(tmp_path / "m"))
    assert code == 0 and f"wrote {tmp_path / 'm.png'}" in text.replace("\n", "") and (tmp_path / "m.png").exists()


README = (Path(__file__).parents[2] / "README.md").read_text()
QUICK = [
    line
    for line in re.findall(r"^.venv/bin/attnir (.*)$", README, re.MULTILINE)
    if not line.startswith(("bench", "inspect"))
]


@pytest.mark.parametrize("line", QUICK)
def test_the_shell_of_the_readme_runs(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, text = run(*shlex.split(line, comments=True))
    assert code == 0, text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["explain", "causal &", "64"], "not an expression"),
        (["explain", "k <= j", "64"], "unknown name `j`"),
        (["explain", "causal", "0"], "greater than or equal to 1"),
        (["explain", "w = param(); window(w)", "64"], "`w`"),
        (["explain", "w = param(); window(w)", "64", "--set", "w=x"], "name=number"),
        (["explain", "doc = field(); doc(q) == doc(k)", "64"], "--field doc=FILE.npy"),
        (["explain", "n = tensor(b); causal & (k < n[b])", "64"], "--tensor n=1,2,3"),
        (["explain", "causal", "64", "--dtype", "int8"], "int8"),
        (["explain", "causal", "64", "--backend", "reference"], "reference"),
        (["explain", "doc = field(sorted=True); doc(q) == doc(k)", "64", "--field", "doc=-i"], "declared sorted"),
        (["explain", "nowhere:mask", "64"], "no module 'nowhere'"),
        (["source", "causal", "--out", "nowhere/kernel.py"], "nowhere/kernel.py"),
        (["bench", "doc = field(); doc(q) == doc(k)"], "--field doc=FILE.npy"),
        (["bench", "causal", "--d", "600"], "D = 600"),
        (["bench", "causal", "--backend", "flex"], "flex"),
        (["bench", "h = heads(3); h < 2", "--heads", "4", "--length", "16"], "3 query heads"),
        (["inspect", "causal", "--d", "0"], "D = 0"),
        (["inspect", "causal", "--target", "sm_70"], "unknown target 'sm_70'"),
        (["catalog", "windwo"], "near it: window"),
        (["catalog", "halo", "--search", "x"], "not both"),
        (["plot", "n = tensor(b, h); causal & (k < n[b, h])", "64", "x.png"], "--tensor n=1,2,3"),
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


def test_an_attention_keeps_its_heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its value heads are crossed: with plain groups another attention would be verified, or measured."""
    lines = ("import attnir as an", "crossed = an.compile(an.causal(), heads=an.Heads(k=(0, 1), v=(1, 0)))")
    tmp_path.joinpath("crossed_heads.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    maps = an.Heads(k=(0, 1), v=(1, 0))
    asked: list[object] = []
    monkeypatch.setattr(verifying, "verified", lambda plan, cases, seed: asked.append(plan.heads) or "verified")
    code, text = run("verify", "crossed_heads:crossed", "--cases", "1")
    assert (code, text) == (0, "verified\n") and asked == [maps]
    assert attention_of("crossed_heads:crossed", backend="torch").plan.heads == maps
    code, text = run("bench", "crossed_heads:crossed", "--length", "48", "--repeat", "1")
    assert code == 0 and "2 heads" in text


def test_tensors_are_typed_as_they_are_declared() -> None:
    short = ("--length", "48", "--repeat", "1", "--d", "16")
    slopes = "slopes = tensor(h, dtype=float); causal; score = s + slopes[h] * (k - q)"
    code, text = run("bench", slopes, *short, "--tensor", "slopes=1,2")
    assert code == 0 and "2 heads" in text
    code, text = run("bench", "tau = tensor(dtype=float); causal; score = tau[()] * s", *short, "--tensor", "tau=0.5")
    assert code == 0
    code, text = run("bench", "w = tensor(b, h); q - k <= w[b, h]", *short, "--tensor", "w=1,2")
    assert code == 0 and "2 heads" in text
    code, text = run("explain", slopes, "64")
    assert code == 0 and "live pairs    2,080" in text, "counts ask for what the mask reads"
    code, text = run("bench", slopes, *short)
    assert code == 2 and "--tensor slopes=0.5,0.25" in text


def test_keys_that_are_chosen_have_no_dense_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ("import attnir as an", "routed = an.compile(an.causal(), route=an.route.topk_blocks(block=16, k=2))")
    tmp_path.joinpath("some_routes.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    code, text = run("bench", "some_routes:routed", "--length", "48", "--repeat", "1")
    assert code == 0 and "its keys are chosen anew in every call" in text


def test_a_graph_has_no_tile_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.joinpath("some_graphs.py").write_text("import attnir as an\nmoba = an.catalog.build('moba')")
    monkeypatch.syspath_prepend(tmp_path)
    code, text = run("explain", "some_graphs:moba", "256", "--tile", "16", "16")
    assert code == 2 and "leave --tile out" in text
    code, text = run("explain", "some_graphs:moba", "256", "--heads", "0")
    assert code == 2


@pytest.mark.parametrize("made", ["an.selection('picks')", "an.tensor('t', 'h')", "an.param('w')"])
def test_what_is_read_is_no_pattern(made: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.joinpath("some_facts.py").write_text(f"import attnir as an\nfact = {made}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "some_facts", raising=False)
    code, text = run("explain", "some_facts:fact", "64")
    assert code == 2 and "expected a mask, a pattern" in text
