"""`attnir fuzz`: random patterns on random calls, for as long as one likes. What fails becomes a script and is kept."""

from __future__ import annotations

import random
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from attnir.frontends.arguments import in_words
from attnir.frontends.fuzz_report import Watch, show_failure, show_tally
from attnir.testing.cases import cases as drawn
from attnir.testing.corpus import keep, replay, scripts_of
from attnir.testing.engine import Failure
from attnir.testing.executor import Executor
from attnir.testing.fuzzing import Limits
from attnir.testing.fuzzing import fuzz as run
from attnir.testing.properties import PROPERTIES

TARGETS = ("torch", "triton")


def fuzz(
    target: Annotated[str, typer.Option(help="what computes each call: torch, triton, or both, by commas")] = "torch",
    time: Annotated[float | None, typer.Option(help="seconds; default: 60, unless --cases is given", min=0)] = None,
    cases: Annotated[int | None, typer.Option(help="how many random calls", min=1)] = None,
    seed: Annotated[int | None, typer.Option(help="of what is drawn; default: another one each time", min=0)] = None,
    corpus: Annotated[Path, typer.Option(help="scripts to replay first; where new ones go")] = Path("tests/corpus"),
    shrink: Annotated[float, typer.Option(help="seconds, at most, to make a failure small", min=0)] = 60,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="go on after a failure, for others")] = False,
    properties: Annotated[str, typer.Option(help="what is checked: names, or language, analysis, kernel")] = "",
    busy: Annotated[bool, typer.Option("--busy", help="count seconds of computing, not those of the clock")] = False,
) -> None:
    """Draw random patterns and calls, check every property on every target, shrink what fails to a script.

    Exit codes: 0 clean, 1 something failed, 2 bad input.
    """
    console = Console(soft_wrap=True)
    with in_words():
        executors = [Executor.of(name) for name in _targets(target)]
        names = _names(properties)
    seed = random.randrange(1_000_000) if seed is None else seed
    limits = Limits(60.0 if time is None and cases is None else time, cases, keep_going, shrink, busy)
    with in_words():
        failed = _replayed(console, corpus)
    console.print(f"fuzzing {', '.join(map(str, executors))}, seed {seed}", highlight=False)

    def found(failure: Failure) -> None:  # at once: who interrupts a long run has its failures
        with in_words():
            show_failure(console, failure, keep(failure, corpus))

    with Watch(console, limits) as watch:
        tally = run(drawn(), executors, limits, seed, watch, found, names)
    show_tally(console, tally)
    if tally.failures or failed:
        raise typer.Exit(1)


def _targets(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in TARGETS:
            raise typer.BadParameter(f"a target is torch or triton, or both by commas; not {name!r}")
    return names


def _names(text: str) -> set[str]:
    """The properties that are asked for, by name or by level."""
    asked = {word.strip() for word in text.split(",") if word.strip()}
    known = {word for p in PROPERTIES.values() for word in (p.name, p.level)}
    if unknown := sorted(asked - known):
        raise typer.BadParameter(
            f"{unknown[0]!r} is no property, and no level of them; there are {', '.join(sorted(known))}"
        )
    return {p.name for p in PROPERTIES.values() if asked & {p.name, p.level}}


def _replayed(console: Console, corpus: Path) -> bool:
    """Replay the scripts of the corpus; whether one of them is not as it should be."""
    scripts = scripts_of(corpus)
    if find_spec("triton") and any('"triton"' in path.read_text(encoding="utf-8") for path in scripts):
        Executor.of("triton")  # where it has to interpret it has to know before the first of them
    replays = [replay(path) for path in scripts]
    for found in replays:
        if found.problem:
            console.print(f"{found.path}: {found.problem}", markup=False, highlight=False)
    if replays:
        failed, waived = (
            sum(map(bool, marks)) for marks in zip(*((r.problem, r.waived) for r in replays), strict=True)
        )
        console.print(f"replayed {len(replays)} scripts of {corpus}: {failed} fail, {waived} waived", highlight=False)
    return any(found.problem for found in replays)
