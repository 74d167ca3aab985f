"""`attnir cache`: what is kept on disk, and removing it."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from attnir.codegen.entries import DAY, Entry, clear, entries, prune
from attnir.codegen.store import cache_folder
from attnir.frontends.arguments import in_words

cache = typer.Typer(
    no_args_is_help=True,
    help="Show and prune the generated kernels and certificates that are kept on disk. Other files are never touched.",
)


@cache.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="as JSON, for programs")] = False) -> None:
    """List the entries, those used last first."""
    with in_words():
        found = entries()
    if as_json:
        typer.echo(json.dumps({"folder": str(cache_folder()), "entries": [_as_json(e) for e in found]}, indent=1))
        return
    console = Console()
    if found:
        table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
        table.add_column("name", no_wrap=True)
        table.add_column("bytes", justify="right", no_wrap=True)
        table.add_column("used", no_wrap=True)
        table.add_column("what", overflow="ellipsis", no_wrap=True, ratio=1)  # the others come first
        for e in found:
            table.add_row(e.name, f"{e.size:,}", _ago(time.time() - e.used), Text(e.about() or e.kind))
        console.print(table, highlight=False)
    typer.echo(_total(found))


@cache.command()
def size() -> None:
    """Say how many entries there are, by kind, and how large they are."""
    with in_words():
        found = entries()
    for kind in sorted({e.kind for e in found}):
        of_kind = [e for e in found if e.kind == kind]
        typer.echo(f"{kind:12} {len(of_kind):8,} {_bytes(sum(e.size for e in of_kind)):>24}")
    typer.echo(_total(found))


@cache.command("prune")
def prune_(
    older_than: Annotated[
        float | None, typer.Option(metavar="DAYS", min=0, help="remove what was not used for so many days")
    ] = None,
    keep_bytes: Annotated[
        int | None, typer.Option(metavar="BYTES", min=0, help="then what was used least lately, until so much is left")
    ] = None,
) -> None:
    """Remove what was not used lately, and what killed processes left half written."""
    with in_words():
        removed = prune(older_than=older_than, keep_bytes=keep_bytes)
    _removed(removed)


@cache.command("clear")
def clear_() -> None:
    """Remove every entry. Running processes keep what they have loaded."""
    with in_words():
        removed = clear()
    _removed(removed)


def _removed(removed: tuple[Entry, ...]) -> None:
    typer.echo(f"removed {_counted(len(removed))}, {_bytes(sum(e.size for e in removed))}")
    typer.echo(_total(entries()))


def _total(found: tuple[Entry, ...]) -> str:
    return f"{_counted(len(found))}, {_bytes(sum(e.size for e in found))}, in {cache_folder()}"


def _counted(n: int) -> str:
    return f"{n:,} {'entry' if n == 1 else 'entries'}"


def _bytes(n: int) -> str:
    return f"{n:,} bytes"


def _ago(seconds: float) -> str:
    """How long ago, in the largest unit that fits.

    >>> _ago(40), _ago(7300), _ago(3 * DAY)
    ('just now', '2 hours ago', '3 days ago')
    """
    for unit, length in (("day", DAY), ("hour", 3600.0), ("minute", 60.0)):
        if (n := int(seconds // length)) >= 1:
            return f"{n} {unit}{'s' * (n > 1)} ago"
    return "just now"


def _as_json(e: Entry) -> dict[str, object]:
    used = datetime.fromtimestamp(e.used, UTC).isoformat(timespec="seconds")
    return {"name": e.name, "kind": e.kind, "bytes": e.size, "used": used, "about": e.about()}
