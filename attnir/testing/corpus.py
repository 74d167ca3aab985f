"""The corpus: a folder of stand-alone scripts, each a failure that was once found. Every run replays them first.

A script that has a line `# waived: why` is known to fail; once it passes, the waiver has to go.
"""

from __future__ import annotations

import hashlib
import re
import runpy
from dataclasses import dataclass
from pathlib import Path

from attnir.testing.engine import Failure
from attnir.testing.script import HEAD

_HEADED = re.compile(f"^{HEAD}", re.MULTILINE)
_WAIVED = re.compile(r"^# waived: (\S.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of a script: the error, or none; and why it may fail, if it may."""

    path: Path
    error: str
    waived: str

    @property
    def problem(self) -> str:
        """What is wrong; empty when nothing is."""
        if self.waived:
            return "" if self.error else f"it passes, so its waiver has to go: {self.waived}"
        return self.error


def scripts_of(folder: Path) -> list[Path]:
    """The scripts of a corpus, by name; none where there is no such folder. Other files are left alone."""
    return sorted(path for path in folder.glob("*.py") if _HEADED.search(path.read_text(encoding="utf-8")))


def replay(path: Path) -> Replay:
    """Run a script."""
    waived = _WAIVED.search(path.read_text(encoding="utf-8"))
    try:
        runpy.run_path(str(path))
        error = ""
    except (Exception, SystemExit) as raised:  # whatever a script raises is its result
        error = f"{type(raised).__name__}: {raised}"
    return Replay(path, error, waived[1] if waived else "")


def keep(failure: Failure, folder: Path) -> Path:
    """Write the script of a failure into a corpus; where it was written."""
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(failure.script.encode()).hexdigest()[:8]
    path = folder / f"{failure.name}_{failure.backend}_{digest}.py"
    path.write_text(failure.script, encoding="utf-8")
    return path
