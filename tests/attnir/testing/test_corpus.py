"""The corpus: failures are kept as scripts, and replayed; a waiver has a reason, and goes once its script passes."""

from __future__ import annotations

from pathlib import Path

import pytest

import attnir as an
from attnir.testing import Case
from attnir.testing.corpus import keep, replay, scripts_of
from attnir.testing.engine import Failure

FAILURE = Failure(Case(an.causal(), q_len=3), "walks", "torch", "a live pair is lost", "AssertionError")


def test_a_failure_that_is_kept_is_replayed(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "corpus"
    assert scripts_of(folder) == []
    path = keep(FAILURE, folder)
    assert keep(FAILURE, folder) == path and scripts_of(folder) == [path]
    assert replay(path).problem == ""  # the bug is gone


def test_a_waiver_may_stand_above_the_script(tmp_path: Path) -> None:
    path = keep(FAILURE, tmp_path)
    path.write_text(f"# waived: the hardware rounds\n{path.read_text()}")
    assert scripts_of(tmp_path) == [path] and replay(path).waived == "the hardware rounds"


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("assert 1 == 1", ""),
        ("raise AssertionError('lost')", "AssertionError: lost"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("(", "SyntaxError"),
        ("# waived: the hardware rounds\nassert 0", ""),
        ("# waived: the hardware rounds\nassert 1", "it passes, so its waiver has to go: the hardware rounds"),
        ("# waived:\nassert 0", "AssertionError"),
    ],
)
def test_what_a_script_says(script: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "one.py"
    path.write_text(script)
    found = replay(path).problem
    assert found.startswith(problem) and bool(found) == bool(problem)
