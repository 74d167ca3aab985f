"""`attnir fuzz`: what it finds is kept at once, and replayed the next time."""

from __future__ import annotations

from collections import Counter
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from attnir.frontends.cli import app
from attnir.frontends.fuzz_report import Watch
from attnir.testing import Case
from attnir.testing import engine as rounds
from attnir.testing.engine import Failure, Tally
from attnir.testing.fuzzing import Limits


def run(corpus: Path, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["fuzz", "--seed", "0", "--shrink", "0", "--corpus", str(corpus), *options])
    return result.exit_code, result.output


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Case]:
    """The cases in their order; none of them is computed, and all fail, the third by an interrupt."""
    cases: list[Case] = []

    def first_failure(case: Case, *_: object) -> Failure:
        cases.append(case)
        if len(cases) == 3:
            raise KeyboardInterrupt
        return Failure(case, "walks", "torch", "planted", "AssertionError")

    monkeypatch.setattr(rounds, "first_failure", first_failure)
    monkeypatch.setattr(rounds, "checked", lambda *_: None)
    return cases


def test_a_failure_is_shown_and_kept_and_replayed(tried: list[Case], tmp_path: Path) -> None:
    code, text = run(tmp_path, "--cases", "1")
    (script,) = tmp_path.glob("walks_torch_*.py")
    assert code == 1 and str(script) in text.replace("\n", "") and "1 failures" in text
    script.write_text("# `walks` on torch: still there\nassert False, 'still there'")
    code, text = run(tmp_path, "--cases", "1")
    assert code == 1 and "still there" in text and "replayed 1 scripts" in text


def test_an_interrupt_loses_nothing(tried: list[Case], tmp_path: Path) -> None:
    code, _ = run(tmp_path, "--cases", "9", "--keep-going")
    assert code == 130 and len(tried) == 3
    assert len(list(tmp_path.glob("walks_torch_*.py"))) == 1


def test_properties_are_chosen_by_name_or_level(tmp_path: Path) -> None:
    code, text = run(tmp_path, "--cases", "2", "--properties", "text,counts")
    assert code == 0 and "text" in text and "counts" in text and "keys" not in text
    code, text = run(tmp_path, "--cases", "2", "--properties", "kernel")
    assert code == 0 and "keys" in text and "walks" not in text
    code, text = run(tmp_path, "--properties", "lokks")
    assert code == 2 and "'lokks' is no property" in text and "analysis" in text


def test_the_bar_counts() -> None:
    written = StringIO()
    with Watch(Console(file=written, force_terminal=True, width=120), Limits(cases=5)) as watch:
        watch(Tally(cases=3, checks=Counter({("keys", "torch"): 12})))
        watch.bar.refresh()
        assert watch.bar.tasks[0].completed == 3
    assert "3 cases, 12 checks, 0 failures" in written.getvalue()
