"""Every command in a real terminal: what it shows, its colours, its exit code, and what it says to bad input."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.frontends.terminal import COMMAND, environment, pipe, show, spawn

MASKS = """
import time

import attnir as an

near = an.causal() & an.window(7)
greedy = an.compile(near, config={"forward": an.Config(128, 128, 4, 2)})


def slow():
    print("asleep", flush=True)
    time.sleep(300)
"""


@dataclass(frozen=True)
class Row:
    """A command: a call that works, what it shows, whether in colours; one that does not, and what it is told."""

    good: str
    shows: tuple[str, ...]
    bad: str
    told: str
    coloured: bool = False


# A new command takes a row here.
ROWS = {
    "explain": Row("explain masks:near 64 --tile 16 16", ("live pairs", "sweep k tiles"), "explain 'causal &' 64", "^"),
    "source": Row("source causal --d 32", ("def forward(", "tl.dot"), "source causal --kind fwd", "fwd", True),
    "plot": Row("plot causal 64 mask.png", ("wrote mask.png",), "plot causal 64 mask.foo", "foo"),
    "verify": Row("verify masks:near --cases 2", ("verified 2 calls", "seed 0"), "verify 'causal &'", "^"),
    "fuzz": Row(
        "fuzz --cases 2 --seed 1 --corpus corpus", ("fuzzing torch", "seed 1"), "fuzz --target flex", "not 'flex'"
    ),
    "bench": Row(
        "bench causal --length 64 --heads 2 --d 16 --repeat 1",
        ("attnir", "dense, masked", "dense, unmasked", "1.00x", "forward + backward"),
        "bench causal --length 0",
        "--length",
        True,
    ),
    "inspect": Row(
        "inspect causal --target sm_90 --kind delta",
        ("registers", "spills", "every other promise is kept"),
        "inspect causal --target sm_1",
        "unknown target 'sm_1'",
        True,
    ),
    "catalog": Row(
        "catalog", ("Windows along the sequence", "streaming-llm", "causal"), "catalog windwo", "near it: window", True
    ),
    "gallery": Row(
        "gallery --help", ("the folder of the page and its pictures",), "gallery --out masks.py", "masks.py", True
    ),
    "doctor": Row("doctor", ("torch tiles", "interpreter", "attention runs here"), "doctor please", "please", True),
    "cache": Row("cache list", ("0 entries, 0 bytes", "kernels"), "cache prune --older-than -1", "--older-than"),
}

SLOW = ("doctor",)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATTNIR_CACHE_DIR", str(tmp_path / "kernels"))
    (tmp_path / "masks.py").write_text(MASKS)
    return tmp_path


def test_every_command_has_a_row(folder: Path) -> None:
    shown = show("--help", columns=120)
    commands = shown.text.partition("Commands")[2]
    assert set(re.findall(r"^│ (\w+) ", commands, re.MULTILINE)) == set(ROWS), shown.text
    assert shown.code == 0


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in ROWS])
def test_a_call_that_works(folder: Path, name: str) -> None:
    row = ROWS[name]
    shown = show(*shlex.split(row.good), columns=80, cwd=folder)
    assert shown.code == 0, shown.text
    assert [w for w in row.shows if w not in shown.words] == [], shown.text
    assert shown.coloured == row.coloured


@pytest.mark.parametrize("name", ROWS)
def test_a_call_that_does_not(folder: Path, name: str) -> None:
    shown = show(*shlex.split(ROWS[name].bad), columns=120, cwd=folder)
    assert shown.code == 2 and ROWS[name].told in shown.words, shown.text
    assert "Traceback" not in shown.text and f"attnir {name}" in shown.words
    assert shown.coloured


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.coloured and name not in SLOW])
def test_a_pipe_has_no_colours(folder: Path, name: str) -> None:
    done = pipe(*shlex.split(ROWS[name].good), cwd=folder)
    assert done.returncode == 0 and "\x1b" not in done.stdout + done.stderr, done.stderr
    words = " ".join(done.stdout.split())
    assert [w for w in ROWS[name].shows if w not in words] == []


@pytest.mark.parametrize("call", ["catalog", "catalog halo", "inspect masks:near --target gfx942 --kind delta"])
def test_a_table_fits_the_terminal(folder: Path, call: str) -> None:
    """Nothing is cut off and no word is broken: what a narrow terminal shows are the words of a wide one."""
    narrow, usual, wide = (show(*call.split(), columns=n, cwd=folder) for n in (80, 120, 300))
    for shown in (narrow, usual):
        assert "…" not in shown.text and shown.code == wide.code == 0
        assert sorted(set(shown.words.split())) == sorted(set(wide.words.split()))


def test_a_broken_promise_is_told_and_counts_as_found(folder: Path) -> None:
    call = "inspect masks:greedy --kind forward --d 128 --target sm_90 --assembly kernel.sass"
    shown = show(*call.split(), cwd=folder)
    assert shown.code == 1 and re.search(r"broken promises forward: \d+ spills", shown.words), shown.text
    assert "// forward on sm_90" in (folder / "kernel.sass").read_text()


def test_colours_can_be_refused(folder: Path) -> None:
    assert not show("catalog", "halo", NO_COLOR="1").coloured


def test_an_interrupt_ends_quietly(folder: Path) -> None:
    child = spawn("explain", "masks:slow", "64", cwd=folder)
    child.expect("asleep")
    child.sendintr()
    rest = child.read().decode()
    child.close()
    assert child.exitstatus == 130 and "Traceback" not in rest, rest


def test_a_reader_that_leaves_ends_it_quietly(folder: Path) -> None:
    command = f"{shlex.join([*COMMAND, 'catalog'])} | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment(), check=False)
    assert done.stdout == "Windows along the sequence\n" and done.stderr == ""


def test_the_version_is_said(folder: Path) -> None:
    shown = show("--version")
    assert shown.code == 0 and re.fullmatch(r"attnir \d+\.\d+\.\d+", shown.text)


def test_nothing_is_helped_with_the_commands(folder: Path) -> None:
    shown = show()
    assert shown.code == 2 and all(name in shown.text for name in ROWS)


KERNELS = """
import torch
import attnir as an

t = torch.randn(1, 1, 20, 16)
for pattern in (an.causal(), an.causal() & an.mask(lambda q, k: (q + 12345) * 678 != k * (k + 90123) + 45678)):
    an.compile(pattern, backend="triton")(t, t, t)
"""


def test_a_cache_with_kernels_is_listed_within_the_width(folder: Path) -> None:
    """Names, sizes and ages stand whole; what a kernel is for takes what is left."""
    made = environment({"TRITON_INTERPRET": "1"})
    subprocess.run([COMMAND[0], "-c", KERNELS], env=made, check=True, capture_output=True)
    for columns in (80, 120):
        shown = show("cache", "list", columns=columns, cwd=folder)
        long, short = sorted(shown.lines[1:3], key=lambda line: not line.endswith("…"))
        entry = r"forward_[0-9a-f]{20}\.py +[\d,]+ +just now +fp32, D = 16"
        assert re.match(entry, long) and len(long) <= columns, shown.text
        assert re.match(entry + r", Dv = (16; where k <= q)?" if columns == 120 else entry, short), shown.text
        assert "2 entries, " in shown.text
