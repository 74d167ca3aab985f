"""The table of mutants stays in step with the package, and planting one changes what is imported."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutants import __main__ as mutants
from tests.mutants import hunt
from tests.mutants.hunt import Outcome
from tests.mutants.mutant import LEVELS, Mutant, NoLongerAppliesError
from tests.mutants.server import Ended
from tests.mutants.table import ALL, MUTANTS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutant", ALL, ids=lambda m: m.name)
def test_a_mutant_applies_once_and_compiles(mutant: Mutant) -> None:
    path = ROOT.joinpath(*mutant.module.split(".")).with_suffix(".py")
    source = path.read_text()
    planted = mutant.planted(source)
    assert planted != source
    compile(planted, str(path), "exec", dont_inherit=True)


def test_the_table_names_every_level_and_no_name_twice() -> None:
    assert len(MUTANTS) == len(ALL) >= 60
    assert Counter(m.level for m in ALL).keys() == set(LEVELS)
    assert sum(bool(m.test) for m in ALL) <= len(ALL) // 10, "fuzzing finds nine of ten"


def test_a_mutant_that_no_longer_applies_says_so() -> None:
    gone = Mutant("gone", "analysis", "attnir.solve", "no such text", "another")
    with pytest.raises(NoLongerAppliesError, match=r"`gone` no longer applies: attnir\.solve has it 0 times"):
        gone.planted("x = 1\n")


def test_a_fuzzer_that_always_fails_catches_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mutants"])
    monkeypatch.setattr(mutants, "workers", ThreadPoolExecutor)
    monkeypatch.setattr(mutants, "passes_without", lambda **_: Ended(2, "no such option"))
    monkeypatch.setattr(mutants, "hunt", lambda *_, **__: pytest.fail("hunted"))
    assert mutants.main() == 1
    assert "fails without any bug planted" in capsys.readouterr().out


def test_the_parts_of_the_table_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    hunted: list[str] = []

    def found(mutant: Mutant, **_: object) -> Outcome:
        hunted.append(mutant.name)
        return Outcome(mutant, "walks, torch", 1, 1.0, True)

    monkeypatch.setattr(mutants, "workers", ThreadPoolExecutor)
    monkeypatch.setattr(mutants, "passes_without", lambda **_: Ended(0, ""))
    monkeypatch.setattr(mutants, "hunt", found)
    for i in (1, 2, 3):
        monkeypatch.setattr(sys, "argv", ["mutants", "--part", f"{i}/3", "--jobs", "1"])
        assert mutants.main() == 0
    assert sorted(hunted) == sorted(MUTANTS)


SCRIPT = """
from attnir.bounds import decide
from attnir.expr import Q, absolute
print(decide(absolute(Q - 9) <= 5))
"""


def test_a_planted_module_is_imported_with_its_bug(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    plant = ["-m", "tests.mutants.plant", "an absolute value is never 0"]
    found = [_printed(str(script)), _printed(*plant, str(script))]
    assert found == ["None", "False"]


def _printed(*arguments: str) -> str:
    command = [sys.executable, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout.strip()


SAID = "FAILED tests/test_probes.py::test_counts[a window, causal-triton] - AssertionError: o x live keys"


def test_what_the_fuzzer_misses_is_left_to_the_suite(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran: list[tuple[Mutant | None, list[str]]] = []

    def forked(mutant: Mutant | None, arguments: list[str], folder: Path, limit: float) -> Ended:
        ran.append((mutant, arguments))
        return Ended(0, "") if mutant is None else Ended(1, SAID)

    monkeypatch.setattr(hunt, "forked", forked)
    missed = Outcome(next(m for m in ALL if m.level == "kernel" and not m.test), "", 113, 290.0, False)
    found = hunt._by_suite(missed, tmp_path)
    assert (found.caught_by, found.reproduces) == ("suite test_counts[a window, causal-triton]", True)
    assert not found.by_fuzzing
    assert "tests/test_probes.py" in ran[0][1]
    assert ran[1] == (None, ["-m", "pytest", "-q", "-x", "-n", "0", "--assert=plain", SAID[7:].partition(" - ")[0]])
    monkeypatch.setattr(hunt, "forked", lambda *_: Ended(0, ""))
    assert not hunt._by_suite(missed, tmp_path).caught_by


def test_the_tests_of_a_module_come_first() -> None:
    of = {m.module: hunt.suite_of(m) for m in ALL}
    assert of["attnir.labels"][0] == "tests/attnir/test_labels.py"
    assert of["attnir.codegen.torch.units"][0].startswith("tests/")
    assert all(ROOT.joinpath(path).exists() for paths in of.values() for path in paths)


def test_what_was_hunted_of_a_commit_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    state = mutants.State.read(path, 300, 0)
    outcome = Outcome(ALL[0], "walks, torch", 3, 1.5, True, "said", ("a script",))
    state.keep(outcome)
    again = mutants.State.read(path, 300, 0)
    assert again.outcome(ALL[0]) == outcome and list(again.kept) == [ALL[0].name]
    for seconds, seed in ((300, 1), (60, 0)):
        with pytest.raises(SystemExit, match="take another file"):
            mutants.State.read(path, seconds, seed)
    path.write_text('{"of": {"commit": "another", "seconds": 300, "seed": 0}, "outcomes": {}}')
    with pytest.raises(SystemExit, match="another"):
        mutants.State.read(path, 300, 0)


def test_a_hunt_passes_where_all_are_caught_and_reproduced() -> None:
    found, tested, survives = (Outcome(ALL[0], by, 3, 1.5, bool(by)) for by in ("walks, torch", "test test_x", ""))
    assert mutants.passed([*9 * [found], tested], whole=True) and mutants.passed([tested], whole=False)
    assert not mutants.passed([*8 * [found], tested], whole=True), "a test finds one of nine"
    for wrong in (survives, replace(found, reproduces=False), replace(found, alarms=("a script",))):
        assert not mutants.passed([*99 * [found], wrong], whole=False)
    assert not mutants.passed([], whole=True)


def test_every_suite_is_there() -> None:
    assert all(ROOT.joinpath(path).exists() for paths in hunt.SUITES.values() for path in paths)


def test_every_module_is_found() -> None:
    assert all(importlib.util.find_spec(m.module) for m in ALL)
