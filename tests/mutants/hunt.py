"""One mutant, hunted: the fuzzer alone against a planted bug, then its shrunk script with the bug and without it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.mutants.mutant import Mutant

ROOT = Path(__file__).parents[2]
SHRINKING = 8  # seconds that the fuzzer may take to make what it found small
BEYOND = 180  # that a child may take beyond its time: it starts, ends a case, and shrinks
ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    "TRITON_INTERPRET": "1",
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a mutant fared.

    caught_by   the property that it broke and on what, "crash" of the fuzzer, or the test of the table; empty: nothing
    cases       how many cases were tried; 0 where the fuzzer did not say
    reproduces  whether the shrunk script fails with the bug and passes without it
    said        the last lines of the child
    """

    mutant: Mutant
    caught_by: str
    cases: int
    seconds: float
    reproduces: bool
    said: str = ""

    @property
    def by_fuzzing(self) -> bool:
        return bool(self.caught_by) and not self.mutant.test


@dataclass(frozen=True, slots=True)
class Ended:
    """A child process that has ended. code is None where it took too long."""

    code: int | None
    said: str


def hunt(mutant: Mutant, *, limit: int, seed: int) -> Outcome:
    """Fuzz a planted bug for at most `limit` seconds, or run the test that the table names."""
    began = time.monotonic()
    with TemporaryDirectory(prefix="attnir-hunt-") as folder:
        if mutant.test:
            ended = _planted(mutant, ["-m", "pytest", "-q", "-x", "-n", "0", mutant.test], limit)
            found = f"test {mutant.test.rpartition('::')[2]}" if ended.code == 1 else ""
            return Outcome(mutant, found, 0, time.monotonic() - began, ended.code == 1, _last(ended.said))
        corpus = Path(folder)
        ended = _planted(mutant, _fuzzer(corpus, limit, seed, target_of(mutant)), limit)
        seconds = time.monotonic() - began
        scripts = sorted(corpus.rglob("*.py"))
        caught_by, cases = _told(ended, scripts)
        reproduces = bool(caught_by and scripts) and _reproduces(mutant, scripts[0], limit)
    return Outcome(mutant, caught_by, cases, seconds, reproduces, _last(ended.said))


def target_of(mutant: Mutant) -> str:
    """What is fuzzed: the Triton kernels where the bug is in them, else the torch target, which is faster."""
    return "triton" if mutant.level.startswith("kernel") else "torch"


def passes_without(*, limit: int, seed: int) -> Ended:
    """What the fuzzer says for `limit` seconds of the package as it is; where its code is not 0, no hunt means much."""
    with TemporaryDirectory(prefix="attnir-hunt-") as folder:
        return _run([sys.executable, *_fuzzer(Path(folder), limit, seed, "torch,triton")], limit)


def _fuzzer(corpus: Path, limit: int, seed: int, target: str) -> list[str]:
    options = {"--target": target, "--time": limit, "--shrink": SHRINKING, "--seed": seed, "--corpus": corpus}
    return ["-m", "attnir.frontends.cli", "fuzz", *(str(word) for pair in options.items() for word in pair)]


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


def _reproduces(mutant: Mutant, script: Path, limit: int) -> bool:
    with_bug, without = _planted(mutant, [str(script)], limit), _run([sys.executable, str(script)], limit)
    return with_bug.code == 1 and without.code == 0


def _planted(mutant: Mutant, arguments: Sequence[str], limit: int) -> Ended:
    return _run([sys.executable, "-m", "tests.mutants.plant", mutant.name, *arguments], limit)


def _run(command: Sequence[str], limit: int) -> Ended:
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=limit + BEYOND,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        said = late.output or ""
        return Ended(None, said.decode(errors="replace") if isinstance(said, bytes) else said)
    return Ended(done.returncode, done.stdout)


def _last(said: str) -> str:
    return "\n".join(said.strip().splitlines()[-4:])
