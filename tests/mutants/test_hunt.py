"""A hunt: children see the bug and end in time, and what fails without the bug counts for nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.mutants import hunt as hunting
from tests.mutants.hunt import hunt
from tests.mutants.mutant import Mutant
from tests.mutants.server import Ended, forked, workers
from tests.mutants.table import MUTANTS

MUTANT = MUTANTS["an absolute value is never 0"]
SCRIPTS = {
    "bug": "from attnir.bounds import decide\nfrom attnir.expr import Q, absolute\nprint(decide(absolute(Q - 9) <= 5))",
    "exit": "raise SystemExit(3)",
    "error": "raise ValueError('of the script')",
    "late": "import time\nprint('begun', flush=True)\ntime.sleep(60)",
}


def test_each_child_is_planted_anew_and_ends_in_time(tmp_path: Path) -> None:
    for name, text in SCRIPTS.items():
        tmp_path.joinpath(f"{name}.py").write_text(text)

    before = dict(os.environ)
    with workers(1) as pool:

        def run(name: str, mutant: Mutant | None = None, limit: float = 60) -> Ended:
            return pool.submit(forked, mutant, [str(tmp_path / f"{name}.py")], tmp_path, limit).result()

        assert run("bug", MUTANT).said == "False\n"
        bug, late = run("bug"), run("late", limit=1)
        assert (bug.code, bug.said) == (0, "None\n") and 0 < bug.seconds < 60
        assert run("exit").code == 3
        assert (late.code, late.said) == (None, "begun\n")
        failed = run("error")
    assert dict(os.environ) == before, "what children need is left behind"
    assert failed.code == 1 and "ValueError: of the script" in failed.said
    assert len(list(tmp_path.glob("attnir-mutant-*"))) == 1, "only the one that was killed leaves its kernels"


class Package:
    """Stands for the children: each seed finds a script, and those of `alarms` fail without the bug as well.

    Those of `deaths` end without one, those of `silent` find one that passes with the bug.
    """

    def __init__(self, alarms: Sequence[int] = (), deaths: Sequence[int] = (), silent: Sequence[int] = ()) -> None:
        self.alarms, self.deaths, self.silent = alarms, deaths, silent
        self.seeds: list[int] = []

    def __call__(self, mutant: Mutant | None, arguments: Sequence[str], folder: Path, limit: float) -> Ended:
        if "fuzz" in arguments:
            self.seeds.append(int(arguments[arguments.index("--seed") + 1]))
            corpus = Path(arguments[arguments.index("--corpus") + 1])
            if self.seeds[-1] in self.deaths:
                return Ended(-6, "double free or corruption", 10.0)
            corpus.mkdir()
            corpus.joinpath("found.py").write_text("# `walks` on torch: a live pair is lost\n")
            return Ended(1, "7 cases, 30 checks passed, 1 failures")
        fails = mutant is not None and self.seeds[-1] not in self.silent
        return Ended(int(fails or self.seeds[-1] in self.alarms), "", 10.0)


def test_a_hunt_goes_on_after_a_false_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    package = Package(alarms=[5, 6])
    monkeypatch.setattr(hunting, "forked", package)
    found = hunt(MUTANT, limit=60, seed=5)
    assert package.seeds == [5, 6, 7]
    assert (found.caught_by, found.cases, found.reproduces, len(found.alarms)) == ("walks, torch", 7, True, 2)


def test_a_hunt_goes_on_after_a_death_that_leaves_no_script(monkeypatch: pytest.MonkeyPatch) -> None:
    package = Package(deaths=[0, 1])
    monkeypatch.setattr(hunting, "forked", package)
    found = hunt(MUTANT, limit=60, seed=0)
    assert package.seeds == [0, 1, 2] and (found.caught_by, found.reproduces) == ("walks, torch", True)
    monkeypatch.setattr(hunting, "forked", Package(deaths=range(99)))
    found = hunt(MUTANT, limit=60, seed=0)
    assert (found.caught_by, found.reproduces, found.seconds) == ("crash", False, 50.0)


def test_a_hunt_goes_on_after_a_script_that_passes_with_the_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    package = Package(silent=[0])
    monkeypatch.setattr(hunting, "forked", package)
    found = hunt(MUTANT, limit=60, seed=0)
    assert package.seeds == [0, 1] and (found.caught_by, found.reproduces, found.alarms) == ("walks, torch", True, ())


def test_a_false_alarm_in_the_last_seconds_catches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hunting, "forked", Package(alarms=[0]))
    found = hunt(MUTANT, limit=hunting.CLOSING, seed=0)
    assert (found.caught_by, found.reproduces, len(found.alarms)) == ("", False, 1)
