"""`attnir doctor`: what works on this machine, and what to do about what does not."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from attnir.frontends.health import BROKEN, COLOURS, MISSING, checks


def doctor() -> None:
    """Say what works on this machine, and what to do about what does not. Exits with 1 if no attention can run."""
    console = Console(highlight=False)
    found = checks()
    table = Table(box=None, show_header=False, pad_edge=False)
    for column in ("what", "state"):
        table.add_column(column, no_wrap=True)
    table.add_column("words", overflow="fold")
    for f in found:
        table.add_row(f.what, Text(f.state, style=COLOURS[f.state]), Text(f.words))
    console.print(table)
    stopped = [f.what for f in found if f.needed and f.state in (MISSING, BROKEN)]
    if stopped:
        console.print(f"\nno attention runs here: see {', '.join(stopped)}", markup=False)
        raise typer.Exit(1)
    console.print("\nattention runs here", markup=False)
