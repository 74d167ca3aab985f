"""One mutant, hunted: the fuzzer alone against a planted bug, then its shrunk script without the bug and with it.

A script that fails without the bug as well is a false alarm, and one that passes with it needs what went before: they
show nothing, and the hunt goes on with another seed.
What the fuzzer does not find in its time is left to the test suite: to the tests of what kernels compute, or of the
analysis, not to those that hold texts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.mutants.mutant import LEVELS, Mutant
from tests.mutants.server import ROOT, Ended, forked

SHRINKING = 5  # seconds that the fuzzer may take to make what it found small
CLOSING = 10  # seconds of a hunt in which no new case begins: for the last one, or for shrinking
SUITE = 900  # seconds of the test suite, for a bug that the fuzzer did not find
COMPUTED = (
    "probes",
    "metadata",
    "selections",
    "route",
    "runtime",
    "score_kernels",
    "layout_kernels",
    "weights",
    "learned",
    "heads",
    "landmarks",
    "statistics",
    "wide_heads",
    "compositions",
)
SUITES = {level: tuple(f"tests/test_{name}.py" for name in COMPUTED) for level in LEVELS}
SUITES["graph"] = (
    "tests/test_graph.py",
    "tests/test_by_unit.py",
    "tests/attnir/catalog/test_graphs.py",
    *SUITES["graph"],
)
SUITES |= dict.fromkeys(("language", "analysis", "program"), ("tests/attnir", *SUITES["torch"]))
COMPUTES = ("kernel", "kernel, listed", "torch", "graph")  # levels of bugs that no property of the analysis can see
BEYOND = 180  # seconds for a script, a test, or the fuzzer without a bug, beyond what they should take


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a mutant fared.

    caught_by   the property that it broke and on what, "crash" of the fuzzer, the test of the table, or that one of the
                suite which found what the fuzzer had not; empty: nothing
    cases       how many cases the last run of the fuzzer tried; 0 where it did not say
    seconds     of computing until the fuzzer had found it, and shrunk it
    reproduces  whether the shrunk script, or the test, fails with the bug and passes without it
    said        the last lines of the child
    alarms      scripts that the fuzzer found and that fail without the bug: bugs of its own, or of the package
    """

    mutant: Mutant
    caught_by: str
    cases: int
    seconds: float
    reproduces: bool
    said: str = ""
    alarms: tuple[str, ...] = ()

    @property
    def by_fuzzing(self) -> bool:
        return bool(self.caught_by) and not self.caught_by.startswith(("test ", "suite "))


def hunt(mutant: Mutant, *, limit: int, seed: int) -> Outcome:
    """Fuzz a planted bug for at most `limit` seconds, or run the test that the table names."""
    with TemporaryDirectory(prefix="attnir-hunt-") as folder:
        found = (_tested if mutant.test else _fuzzed)(mutant, Path(folder), limit, seed)
        return found if found.caught_by or mutant.test else _by_suite(found, Path(folder))


def _tested(mutant: Mutant, folder: Path, limit: int, _: int) -> Outcome:
    arguments = ["-m", "pytest", "-q", "-x", "-n", "0", "--assert=plain", mutant.test]
    ended = forked(mutant, arguments, folder, limit)
    found = f"test {mutant.test.rpartition('::')[2]}" if ended.code == 1 else ""
    reproduces = bool(found) and forked(None, arguments, folder, BEYOND).code == 0
    return Outcome(mutant, found, 0, ended.seconds, reproduces, _last(ended.said))


def suite_of(mutant: Mutant) -> tuple[str, ...]:
    """The tests that may find a bug: those of its module come first, where it has some."""
    *folders, name = mutant.module.removeprefix("attnir.codegen.").split(".")
    folders = ["codegen", *folders] if mutant.module.startswith("attnir.codegen.") else folders
    own = "/".join(["tests", *folders, f"test_{name}.py"])
    return (own, *SUITES[mutant.level]) if ROOT.joinpath(own).exists() else SUITES[mutant.level]


def _by_suite(missed: Outcome, folder: Path) -> Outcome:
    """What the test suite says of a bug that the fuzzer has missed."""
    arguments = ["-m", "pytest", "-q", "-x", "-n", "0", "--assert=plain"]
    ended = forked(missed.mutant, [*arguments, *suite_of(missed.mutant)], folder, SUITE)
    failed = re.search(r"^FAILED (.+?)(?: - |$)", ended.said, re.MULTILINE)
    if ended.code != 1 or failed is None:
        return missed
    reproduces = forked(None, [*arguments, failed[1]], folder, BEYOND).code == 0
    return replace(missed, caught_by=f"suite {failed[1].rpartition('::')[2]}", reproduces=reproduces)


def _fuzzed(mutant: Mutant, folder: Path, limit: int, seed: int) -> Outcome:
    """The first script that shows the bug: one that does not, or a death without one, is followed by another seed."""
    seconds, alarms, died = 0.0, [], False
    for run in count():
        corpus = folder / str(run)
        arguments = _fuzzer(corpus, limit - seconds - CLOSING, seed + run, target_of(mutant))
        arguments += ["--properties", "kernel"] * (mutant.level in COMPUTES)
        ended = forked(mutant, arguments, folder, limit - seconds)
        seconds += ended.seconds
        scripts = sorted(corpus.glob("*.py"))
        caught_by, cases = _told(ended, scripts)
        alarm = bool(scripts) and forked(None, [str(scripts[0])], folder, BEYOND).code != 0
        if alarm:
            alarms.append(scripts[0].read_text())
        shown = bool(scripts) and not alarm and forked(mutant, [str(scripts[0])], folder, BEYOND).code == 1
        if scripts and not shown:
            caught_by = ""
        died = died or caught_by == "crash"
        if shown or not (scripts or caught_by == "crash") or seconds + CLOSING >= limit:
            break
    return Outcome(mutant, caught_by or "crash" * died, cases, seconds, shown, _last(ended.said), tuple(alarms))


def target_of(mutant: Mutant) -> str:
    """What is fuzzed: the Triton kernels where the bug is in them, else the torch target, which is faster."""
    return "triton" if mutant.level.startswith("kernel") else "torch"


def passes_without(*, limit: int, seed: int) -> Ended:
    """What the fuzzer says for `limit` seconds of the package as it is; where its code is not 0, no hunt means much."""
    with TemporaryDirectory(prefix="attnir-hunt-") as folder:
        corpus = Path(folder) / "corpus"
        return forked(None, _fuzzer(corpus, limit, seed, "torch,triton"), Path(folder), limit + BEYOND)


def _fuzzer(corpus: Path, limit: float, seed: int, target: str) -> list[str]:
    options = {"--target": target, "--time": limit, "--shrink": SHRINKING, "--seed": seed, "--corpus": corpus}
    return ["-m", "attnir.frontends.cli", "fuzz", "--busy", *(str(word) for pair in options.items() for word in pair)]


def _told(ended: Ended, scripts: Sequence[Path]) -> tuple[str, int]:
    """(the property that was broken, cases tried). What dies, or ends in a way of its own, crashed."""
    if ended.code in (0, None):
        return "", _number(r"(\d+) cases", ended.said)
    header = scripts[0].read_text() if scripts else ""
    named = re.match(r"# `(\w+)` on (\w+): ", header)
    return f"{named[1]}, {named[2]}" if named else "crash", _number(r"(\d+) cases", ended.said)


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    return int(found[1]) if found else 0


def _last(said: str) -> str:
    return "\n".join(said.strip().splitlines()[-4:])
