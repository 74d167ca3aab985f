"""The engine of `verify`, of certificates and of the fuzzer: draws cases, checks properties, shrinks what fails.

A round is one run of hypothesis with a seed of its own. The first failure of a round is shrunk: only the property that
failed, on the executor where it did, is checked again, and the last case that fails in the same way is kept.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from attnir.testing.case import Case, DoesNotApply
from attnir.testing.coverage import Coverage
from attnir.testing.executor import Executor
from attnir.testing.properties import PROPERTIES, SMALLEST, Property
from attnir.testing.script import script

EXAMPLES = 10  # of a round; from the eleventh on hypothesis mostly repeats parts of the ones before
SHRINKING = 60.0  # seconds, at most, for one failure, where nothing else is said
SHARE = 0.5  # of the time that each executor but the first may take: the cheap properties see every case

Strategy = st.SearchStrategy[Case]


@dataclass(frozen=True, slots=True)
class Failure:
    """A property that a case does not have on an executor. `error` is what was raised."""

    case: Case
    name: str
    backend: str
    error: str
    kind: str

    @property
    def script(self) -> str:
        """A stand-alone Python script that fails in the same way."""
        return script(self.case, self.backend, self.name, self.error)

    def like(self, other: Failure) -> bool:
        """Whether it is the same property, executor and exception."""
        return (self.name, self.backend, self.kind) == (other.name, other.backend, other.kind)


@dataclass
class Tally:
    """What a run has done so far.

    names       the properties that it checks; all of them, where none is said
    checks      how often each property was checked, by (property, backend)
    seconds     what that took
    figures     the largest error of each result, by (backend, dtype, result), beside the norm of its row
    """

    names: frozenset[str] = frozenset()
    cases: int = 0
    checks: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: dict[tuple[str, str], float] = field(default_factory=dict)
    figures: dict[tuple[str, str, str], float] = field(default_factory=dict)
    covered: Coverage = field(default_factory=Coverage)
    failures: list[Failure] = field(default_factory=list)  # one of each sort, as small as shrinking made it
    seen: set[str] = field(default_factory=set)

    def share(self, on: Executor) -> float:
        """The share of the time that an executor has taken."""
        every = sum(self.seconds.values())
        own = sum(seconds for (_, backend), seconds in self.seconds.items() if backend == on.backend)
        return own / every if every else 0.0

    def is_new(self, case: Case) -> bool:
        """Whether the case was not there before; hypothesis repeats itself."""
        known = len(self.seen)
        self.seen.add(script(case, "", "", ""))
        return len(self.seen) > known

    def add_figures(self, case: Case, backend: str, found: object) -> None:
        for name, error in found.items() if isinstance(found, dict) else ():
            at = (backend, str(case.dtype).removeprefix("torch."), name)
            self.figures[at] = max(error, self.figures.get(at, 0.0))


def first_failure(case: Case, executors: Sequence[Executor], tally: Tally | None = None) -> Failure | None:
    """The first property that a case does not have; those of kernels are checked on every executor that has time."""
    for i, on in enumerate(executors):
        if i and tally is not None and tally.share(on) > SHARE:
            continue
        for p in PROPERTIES.values():
            named = tally is None or not tally.names or p.name in tally.names
            if named and (i == 0 or p.level == "kernel") and (failure := checked(p, case, on, tally)):
                return failure
    return None


def checked(p: Property, case: Case, on: Executor, tally: Tally | None = None) -> Failure | None:
    """The failure of a property on an executor, if it applies and fails; any exception is one."""
    began = time.monotonic()
    backend = on.backend if p.level == "kernel" else ""
    try:
        if not p.applies(case) or (p.level == "kernel" and not on.affords(case)):
            return None
        found = p.holds(case, on)
    except DoesNotApply:
        return None
    except Exception as error:
        kind = type(error).__name__
        said = str(error) if isinstance(error, AssertionError) else f"{kind}: {error}"
        return Failure(case, p.name, on.backend, said, kind)
    if tally is not None:
        tally.checks[p.name, backend] += 1
        tally.seconds[p.name, backend] = tally.seconds.get((p.name, backend), 0.0) + time.monotonic() - began
        tally.add_figures(case, backend, found)
    return None


@dataclass(frozen=True, slots=True)
class End:
    """When a round ends: when `reached` says so, or else after EXAMPLES; it shrinks a failure for `shrinking` seconds,
    by a clock.

    The first example of every round is the same, the simplest one: shorter rounds would try less that is new.
    """

    reached: Callable[[], bool]
    shrinking: float = SHRINKING
    clock: Callable[[], float] = time.monotonic


class _Enough(KeyboardInterrupt):
    """Ends a round, whatever hypothesis still would try: it stops for an interrupt alone."""


class _Round:
    """One run of hypothesis: the first failure, and the smallest that shrinking found like it."""

    def __init__(self, strategy: Strategy, executors: Sequence[Executor], tally: Tally, end: End) -> None:
        self.strategy, self.executors, self.tally, self.end = strategy, executors, tally, end
        self.first: Failure | None = None
        self.smallest: Failure | None = None
        self.stop = float("inf")

    def __call__(self, data: st.DataObject) -> None:
        if self.end.reached() if self.first is None else self.end.clock() > self.stop:
            raise _Enough
        case = data.draw(self.strategy)
        failure = self._again(case) if self.first else self._anew(case)
        if failure is not None:
            self.smallest = failure
            raise AssertionError(failure.error)

    def _anew(self, case: Case) -> Failure | None:
        if not self.tally.is_new(case):
            return None
        self.tally.cases += 1
        failure = first_failure(case, self.executors, self.tally)
        if failure is None:
            self.tally.covered.add(case, next((e.tile(case, "forward") for e in self.executors), SMALLEST))
        if failure is None or any(failure.like(known) for known in self.tally.failures):
            return None
        self.first, self.stop = failure, self.end.clock() + self.end.shrinking
        return failure

    def _again(self, case: Case) -> Failure | None:
        assert self.first is not None
        on = next(e for e in self.executors if e.backend == self.first.backend)
        failure = checked(PROPERTIES[self.first.name], case, on)
        return failure if failure is not None and failure.like(self.first) else None


def run_round(strategy: Strategy, executors: Sequence[Executor], seed: int, tally: Tally, end: End) -> Failure | None:
    """Check drawn cases until the end is reached; the smallest failure, which joins the tally."""
    body = _Round(strategy, executors, tally, end)

    def test(data: st.DataObject) -> None:
        body(data)

    configured = settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        derandomize=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,
    )
    try:
        seeded(seed)(configured(given(st.data())(test)))()
    except (_Enough, Unsatisfiable):  # no case fits: the tally shows that none was checked
        pass
    except Exception:  # the failure, which is kept; else an error of what draws
        if body.smallest is None:
            raise
    if body.smallest is not None:
        tally.failures.append(body.smallest)
    return body.smallest
