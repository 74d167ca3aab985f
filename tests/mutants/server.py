"""Processes to hunt in: each has imported what the package needs, but not the package, and forks a child for every run.

Imports take longer than most hunts. What a child draws does not depend on the children before it.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tests.mutants.mutant import Mutant
from tests.mutants.plant import run

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    "PYTHONHASHSEED": "0",
    "TRITON_INTERPRET": "1",
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
}
IMPORTED = (
    *("torch", "torch._dynamo", "torch.fx.experimental.symbolic_shapes", "triton", "triton.language", "numpy", "sympy"),
    *("hypothesis", "pytest", "networkx", "typer", "rich.console", "rich.progress", "rich.syntax", "rich.table"),
)
PAUSE = 0.05  # seconds between two looks at a child
FRAMES = 70_000  # words for frames: CPython maps a power of two of them, here 2 ** 17
SHARED = 3  # times as long as it should, by the clock, a child may take


@dataclass(frozen=True, slots=True)
class Ended:
    """A child process that has ended. code is None where it took too long; seconds are those in which it computed."""

    code: int | None
    said: str
    seconds: float = 0.0


@contextmanager
def workers(number: int) -> Iterator[Executor]:
    """That many processes with everything imported. Threads would not survive a fork, so they have one each."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        with ProcessPoolExecutor(number, multiprocessing.get_context("spawn"), initializer=_import) as pool:
            yield pool
    finally:
        for name in ENVIRONMENT:
            del os.environ[name]
        os.environ.update({name: value for name, value in before.items() if value is not None})


def _import() -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    assert "attnir" not in sys.modules, "a bug is planted while its module is imported"
    gc.freeze()  # children need not look through what has been imported, nor copy its pages


def forked(mutant: Mutant | None, arguments: Sequence[str], folder: Path, limit: float) -> Ended:
    """Run a module or a script in a child of this process, with a bug or without; all its files lie in the folder.

    It is stopped where it takes SHARED times as long as it should: on a machine that others use, too.
    """
    said = folder / "said"
    child = os.fork()
    if not child:
        _child(mutant, arguments, folder, said)
    code, seconds = _code(child, time.monotonic() + SHARED * limit)
    return Ended(code, said.read_text(errors="replace"), seconds)


def _child(mutant: Mutant | None, arguments: Sequence[str], folder: Path, said: Path) -> NoReturn:
    """Leaves only by os._exit: what the parent would do at its end is not the child's to do."""
    code = 1
    try:
        os.setsid()
        out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.chdir(ROOT)
        tempfile.tempdir = str(folder)
        _roomy(mutant, arguments)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _roomy(mutant: Mutant | None, arguments: Sequence[str]) -> None:
    """Run with room for the frames of all calls: CPython maps 16 KiB for some of them, and unmaps these where the first
    of them returns. A call that is the first each time, in a loop, costs a hundred times as much."""
    run(mutant, arguments)


_roomy.__code__ = _roomy.__code__.replace(co_stacksize=FRAMES)


def _code(child: int, end: float) -> tuple[int | None, float]:
    """(how a child ends, the seconds in which it computed). One that has not by then is killed, with its children."""
    ended, status, used = 0, 0, None
    try:
        while not ended and time.monotonic() < end:
            time.sleep(PAUSE)
            ended, status, used = os.wait4(child, os.WNOHANG)
    finally:
        if not ended:
            os.killpg(child, signal.SIGKILL)
            _, _, used = os.wait4(child, 0)
    seconds = used.ru_utime + used.ru_stime if used is not None else 0.0
    return os.waitstatus_to_exitcode(status) if ended else None, seconds
