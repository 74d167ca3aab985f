"""A terminal for the tests: a command runs in one, and its screen is read as a person would see it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pexpect
import pyte

ROOT = Path(__file__).parents[2]
ROWS = 500  # lines of the screen: enough that none scrolls away
PATIENCE = 300  # seconds
COMMAND = [sys.executable, "-m", "attnir.frontends.cli"]
COLOURING = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "COLUMNS", "LINES", "CI")


@dataclass(frozen=True)
class Shown:
    """What a command showed: its lines, without trailing blanks, whether some of it was coloured, and its exit code."""

    lines: tuple[str, ...]
    coloured: bool
    code: int | None

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def words(self) -> str:
        """All of it in one line, without the frames of boxes, so that it does not matter where lines are broken."""
        return re.sub(r"[\s─│╭╮╰╯]+", " ", self.text)


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a command: no settings of colours or widths but those of the terminal."""
    kept = {name: value for name, value in os.environ.items() if name not in COLOURING}
    return {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **(more or {})}


def spawn(*arguments: str, columns: int = 80, cwd: Path | None = None, **more: str) -> pexpect.spawn[bytes]:
    """A command in a terminal, running."""
    folder = str(cwd) if cwd else None
    return pexpect.spawn(
        COMMAND[0],
        [*COMMAND[1:], *arguments],
        env=environment(more),
        cwd=folder,
        dimensions=(ROWS, columns),
        timeout=PATIENCE,
        preexec_fn=_interruptible,
    )


def _interruptible() -> None:
    """A terminal's commands can be interrupted, also where the tests run in the background of a shell."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def show(*arguments: str, columns: int = 80, cwd: Path | None = None, **more: str) -> Shown:
    """What a command shows in a terminal so many columns wide."""
    child = spawn(*arguments, columns=columns, cwd=cwd, **more)
    output = child.read()
    child.close()
    return seen(output, columns, child.exitstatus)


def seen(output: bytes, columns: int, code: int | None) -> Shown:
    """What a terminal shows of an output."""
    screen = pyte.Screen(columns, ROWS)
    pyte.ByteStream(screen).feed(output)
    lines = [line.rstrip() for line in screen.display]
    while lines and not lines[-1]:
        lines.pop()
    assert len(lines) < ROWS, "the screen is too short"
    used = (cell for row in screen.buffer.values() for cell in row.values())
    return Shown(tuple(lines), any(cell.fg != "default" for cell in used), code)


def pipe(*arguments: str, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    """A command whose output goes into a pipe."""
    command = [*COMMAND, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment(more), cwd=cwd, timeout=PATIENCE, check=False
    )
