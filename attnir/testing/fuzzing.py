"""Fuzzing: rounds of random cases until the time, or the number of cases, is used up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
from hypothesis import strategies as st

from attnir.codegen.plan import Plan
from attnir.testing.case import Case
from attnir.testing.cases import cases as drawn
from attnir.testing.engine import SHRINKING, End, Failure, Tally, run_round
from attnir.testing.executor import Executor

PATIENCE = 20.0  # seconds for a failure that somebody waits for


@dataclass(frozen=True, slots=True)
class Limits:
    """When a run ends: after a number of seconds or of cases, or at the first failure unless it is to go on.

    Seconds are those of the clock; with `busy` those in which the process computes, whatever else the machine does.
    """

    seconds: float | None = None
    cases: int | None = None
    keep_going: bool = False
    shrinking: float = SHRINKING  # seconds for each failure
    busy: bool = False

    @property
    def clock(self) -> Callable[[], float]:
        """What seconds are read from."""
        return time.process_time if self.busy else time.monotonic


def fuzz(
    strategy: st.SearchStrategy[Case],
    executors: Sequence[Executor],
    limits: Limits,
    seed: int = 0,
    watch: Callable[[Tally], None] = lambda tally: None,
    found: Callable[[Failure], None] = lambda failure: None,
    names: Iterable[str] = (),
) -> Tally:
    """Check random cases on executors, round by round; a failure of a sort that is new is shrunk, and kept.

    `watch` is called before every case, `found` with every failure, once it is shrunk; names are those of the
    properties that are checked, all of them where none is said. The same seed draws the same cases, as far as the
    limits let it; in a checkout hypothesis draws constants of loaded modules as well. No case is checked twice, so
    there may be fewer of them than the limits allow: a round that meets no new one is the last.
    """
    tally, clock = Tally(frozenset(names)), limits.clock
    end = clock() + (float("inf") if limits.seconds is None else limits.seconds)

    def done() -> bool:
        watch(tally)
        return clock() >= end or (limits.cases is not None and tally.cases >= limits.cases)

    with one_thread(), on_cpu():
        number, known = 0, -1
        while tally.cases > known and not done() and (limits.keep_going or not tally.failures):
            known = tally.cases
            failure = run_round(strategy, executors, _seed(seed, number), tally, End(done, limits.shrinking, clock))
            if failure is not None:
                found(failure)
            number += 1
    return tally


@contextmanager
def one_thread() -> Iterator[None]:
    """Cases are small: torch's threads would wait for each other more than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def on_cpu() -> AbstractContextManager[object]:
    """Cases lie on the CPU until they are moved, whatever device torch takes by default."""
    return nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu")


def tried(plan: Plan, cases: int, seed: int, *, own_tiles: bool) -> tuple[str, Tally]:
    """What computes a plan, and what came of random calls of it; own_tiles: with the tiles that it has itself."""
    on = replace(Executor.of(plan.backend or "torch"), configs=plan.configs)
    limits = Limits(cases=cases, shrinking=PATIENCE)
    return str(on), fuzz(drawn(plan.pattern, own_tiles=own_tiles, maps=plan.heads), (on,), limits, seed)


def _seed(seed: int, number: int) -> int:
    return seed * 1_000_003 + number
