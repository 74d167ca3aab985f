"""How a run of the fuzzer looks: a bar while it runs, tables of what it covered, and what failed."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.syntax import Syntax
from rich.table import Table

from attnir.testing.engine import Failure, Tally
from attnir.testing.fuzzing import Limits
from attnir.testing.properties import PROPERTIES


class Watch:
    """A bar over the time, or the cases, with counts beside it; on a terminal alone."""

    def __init__(self, console: Console, limits: Limits) -> None:
        self.limits, self.began = limits, limits.clock()
        counts = TextColumn(
            "{task.fields[cases]} cases, {task.fields[checks]} checks, {task.fields[failures]} failures"
        )
        self.bar = Progress(BarColumn(), counts, TimeElapsedColumn(), console=console, transient=True)
        self.bar.disable = not console.is_terminal
        total = limits.cases if limits.seconds is None else limits.seconds
        self.task = self.bar.add_task("", total=total, cases=0, checks=0, failures=0)

    def __enter__(self) -> Watch:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def __call__(self, tally: Tally) -> None:
        done = tally.cases if self.limits.seconds is None else self.limits.clock() - self.began
        checks, failures = tally.checks.total(), len(tally.failures)
        self.bar.update(self.task, completed=done, cases=tally.cases, checks=checks, failures=failures)


def show_tally(console: Console, tally: Tally) -> None:
    """What was checked, how large errors were, and what the cases covered."""
    console.print(_checks(tally), _figures(tally), _covered(tally))
    for kind, names in tally.covered.missed().items():
        if names:
            console.print(f"{kind} not met: {', '.join(names)}", highlight=False, markup=False)
    total = tally.checks.total()
    console.print(f"{tally.cases} cases, {total:,} checks passed, {len(tally.failures)} failures", highlight=False)


def _checks(tally: Tally) -> Table:
    table = Table(title="properties", title_justify="left")
    for name in ("property", "says", "on", "checks", "seconds"):
        table.add_column(name, justify="right" if name in ("checks", "seconds") else "left")
    for (name, backend), n in sorted(tally.checks.items(), key=lambda item: (list(PROPERTIES).index(item[0][0]), item)):
        table.add_row(name, PROPERTIES[name].says, backend, str(n), f"{tally.seconds[name, backend]:.1f}")
    return table


def _figures(tally: Tally) -> Table:
    table = Table("on", "dtype", "o", "lse", "dq", "dk", "dv", title="largest error of a row", title_justify="left")
    for backend, dtype in sorted({(backend, dtype) for backend, dtype, _ in tally.figures}):
        errors = (tally.figures.get((backend, dtype, name)) for name in ("o", "lse", "dq", "dk", "dv"))
        table.add_row(backend, dtype, *("" if e is None else f"{e:.1e}" for e in errors))
    return table


def _covered(tally: Tally) -> Table:
    table = Table("", "met, in how many cases", title="covered", title_justify="left")
    for kind in ("nodes", "axes", "ways"):
        met = getattr(tally.covered, kind).most_common()
        table.add_row(kind, ", ".join(f"{name} {n}" for name, n in met))
    return table


def show_failure(console: Console, failure: Failure, kept: Path) -> None:
    """A failure: what it says, and its script."""
    console.print(f"\n`{failure.name}` fails on {failure.backend}: {failure.error}", markup=False, highlight=False)
    console.print(f"this script shows it; it is kept as {kept}\n", markup=False, highlight=False)
    shown = Syntax(failure.script, "python", background_color="default") if console.is_terminal else failure.script
    console.print(shown, markup=False, highlight=False)
