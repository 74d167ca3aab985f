"""Hunt every mutant of the table: which property finds it, after how many cases and seconds, and does it reproduce?

    python -m tests.mutants [--only WORD] [--part I/N] [--time SECONDS] [--jobs N] [--seed N] [--out FILE.md]
                            [--state FILE.json]

What was hunted of one commit is kept in the state, and not hunted again: a hunt of all may be done in several parts.
Exit 0: all of them are caught, each script reproduces what it shows, and of the whole table at most a tenth is left to
tests. Exit 1: that is not so, or the fuzzer fails without any of them: in a run of its own, or in a script that it took
for one that shows a bug.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.mutants.hunt import CLOSING, Outcome, hunt, passes_without
from tests.mutants.mutant import LEVELS, Mutant
from tests.mutants.server import ROOT, workers
from tests.mutants.table import ALL

WIDE = 140  # columns of what is piped, so that a mutant is a line
CONTROL = 20  # seconds of fuzzing without a bug: a fuzzer that always fails would catch them all
SHARE = 0.9  # of the table, that fuzzing alone has to find
HEADINGS = ("mutant", "level", "caught by", "cases", "seconds", "reproduces")


def main() -> int:
    """Hunt, print, and say whether any survived."""
    options = _options()
    chosen = [m for m in ALL if options.only is None or any(w == m.level or w in m.name for w in options.only)]
    part, parts = options.part
    chosen = chosen[part - 1 :: parts]
    console = Console(width=None if sys.stdout.isatty() else WIDE)
    with workers(options.jobs) as pool:
        control = pool.submit(passes_without, limit=CONTROL, seed=options.seed).result()
        if control.code != 0:
            console.print(f"the fuzzer fails without any bug planted:\n{control.said}", highlight=False, markup=False)
            return 1
        outcomes = _hunted(chosen, options, pool, console, State.read(options.state, options.time, options.seed))
    console.print(_table(outcomes), _summary(outcomes), sep="\n")
    if options.out:
        Path(options.out).write_text(_page(outcomes))
    return 0 if passed(outcomes, whole=len(outcomes) == len(ALL)) else 1


def passed(outcomes: Sequence[Outcome], *, whole: bool) -> bool:
    """Whether all are caught, by what shows them again; of the whole table, enough of them by fuzzing alone."""
    enough = sum(o.by_fuzzing for o in outcomes) >= SHARE * len(outcomes) or not whole
    return bool(outcomes) and enough and all(o.caught_by and o.reproduces and not o.alarms for o in outcomes)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", action="append", help="a level, or a part of a name; may be repeated")
    parser.add_argument("--part", type=_part, default=(1, 1), help="I/N: every N-th mutant, from the I-th on")
    parser.add_argument("--time", type=_seconds, default=300, help="seconds of fuzzing for each mutant")
    parser.add_argument("--jobs", type=int, default=2, help="mutants that are hunted at once")
    parser.add_argument("--seed", type=int, default=0, help="of the fuzzer")
    parser.add_argument("--out", help="a Markdown file for the table")
    parser.add_argument(
        "--state", type=Path, help="a file in which outcomes are kept; that of another commit is refused"
    )
    return parser.parse_args()


def _seconds(text: str) -> int:
    """Enough for a few cases, before none begins any more."""
    if (found := int(text)) < 3 * CLOSING:
        raise ValueError
    return found


def _part(text: str) -> tuple[int, int]:
    """`2/4` is the second of four parts."""
    part, _, parts = text.partition("/")
    found = int(part), int(parts)
    if not 1 <= found[0] <= found[1]:
        raise ValueError
    return found


def _hunted(
    chosen: Sequence[Mutant], options: argparse.Namespace, pool: Executor, console: Console, state: State
) -> Sequence[Outcome]:
    """The outcomes in the order of the table; each one that is new is told, and kept, as it comes."""
    found = {m: state.outcome(m) for m in chosen if m.name in state.kept}
    left = [m for m in chosen if m not in found]
    hunts = [pool.submit(hunt, mutant, limit=options.time, seed=options.seed) for mutant in left]
    for ended in as_completed(hunts):
        outcome = ended.result()
        found[outcome.mutant] = outcome
        state.keep(outcome)
        _tell(outcome, console)
    return [found[m] for m in chosen]


@dataclass
class State:
    """The outcomes of one commit, time and seed, by the names of their mutants, in a file or in none.

    of: the commit, with a mark where the checkout has changes; the seconds for each mutant; the seed.
    """

    path: Path | None
    of: dict[str, Any] = field(default_factory=dict)
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)

    @staticmethod
    def read(path: Path | None, seconds: int, seed: int) -> State:
        """What a file holds; one of anything else is refused."""
        if path is None:
            return State(None)
        command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
        own = {"commit": commit, "seconds": seconds, "seed": seed}
        if not path.exists():
            return State(path, own)
        held = json.loads(path.read_text())
        if held["of"] != own:
            raise SystemExit(f"{path} holds outcomes of {held['of']}, this is {own}; take another file")
        return State(path, own, held["outcomes"])

    def outcome(self, mutant: Mutant) -> Outcome:
        """What is kept of a mutant."""
        held = self.kept[mutant.name]
        return Outcome(mutant, **{**held, "alarms": tuple(held["alarms"])})

    def keep(self, o: Outcome) -> None:
        """Add an outcome."""
        self.kept[o.mutant.name] = {f.name: getattr(o, f.name) for f in fields(o) if f.name != "mutant"}
        if self.path is not None:
            written = self.path.with_suffix(".part")
            written.write_text(json.dumps({"of": self.of, "outcomes": self.kept}, indent=1) + "\n")
            written.replace(self.path)


def _tell(o: Outcome, console: Console) -> None:
    console.print(f"{o.seconds:6.1f} s  {o.caught_by or 'SURVIVED':10}  {o.mutant.name}", highlight=False)
    for script in o.alarms:
        console.print(f"FALSE ALARM: this fails without the bug as well:\n{script}", highlight=False, markup=False)
    if not o.caught_by or not o.reproduces:
        console.print(o.said, style="dim", highlight=False, markup=False)


def _cells(o: Outcome) -> tuple[str, ...]:
    """A row of the table, as HEADINGS say."""
    reproduces = ("yes" if o.reproduces else "no") if o.caught_by else ""
    return o.mutant.name, o.mutant.level, o.caught_by or "SURVIVED", str(o.cases or ""), f"{o.seconds:.0f}", reproduces


def _table(outcomes: Iterable[Outcome]) -> Table:
    table = Table(*HEADINGS)
    for o in outcomes:
        table.add_row(*_cells(o), style=None if o.caught_by and o.reproduces and not o.alarms else "red")
    return table


def _summary(outcomes: Sequence[Outcome]) -> str:
    total, fuzzed = len(outcomes), [o for o in outcomes if o.by_fuzzing]
    seconds = sorted(o.seconds for o in fuzzed)
    median = f", half of them within {seconds[len(seconds) // 2]:.0f} s" if seconds else ""
    levels = ", ".join(
        f"{level} {sum(o.mutant.level == level for o in fuzzed)}/{count}"
        for level in LEVELS
        if (count := sum(o.mutant.level == level for o in outcomes))
    )
    return (
        f"{len(fuzzed)} of {total} mutants ({len(fuzzed) / max(1, total):.0%}) are found by fuzzing alone{median}; "
        f"{sum(o.reproduces for o in fuzzed)} scripts reproduce what they show; "
        f"{sum(not o.caught_by for o in outcomes)} survive; "
        f"{sum(len(o.alarms) for o in outcomes)} false alarms. By level: {levels}."
    )


def _page(outcomes: Sequence[Outcome]) -> str:
    """The table and its summary in Markdown."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *map(_cells, outcomes)]
    lines = [f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows]
    return "\n".join([_summary(outcomes), "", *lines, ""])


if __name__ == "__main__":
    sys.exit(main())
