"""`attnir plot`: a picture of a pattern, or a page to look around in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from attnir.frontends.arguments import (
    Fields,
    Length,
    Params,
    PatternText,
    Tensors,
    TileSize,
    attention_of,
    bound,
    in_words,
)

Out = Annotated[Path, typer.Argument(help="a file: .png (as well without an ending), .svg, .pdf, or .html, a page")]


def plot(
    pattern: PatternText,
    length: Length,
    path: Out,
    set_: Params = None,
    field: Fields = None,
    tensor: Tensors = None,
    tile: TileSize = None,
    head: Annotated[str, typer.Option(help="a head, several, or all: 3, 0,2,5, all; a panel for each")] = "0",
    order: Annotated[bool, typer.Option("--order", help="colour tiles by when their row of tiles visits them")] = False,
    query: Annotated[
        str | None, typer.Option(help="the keys of one query: its position, or coordinates on a grid, 3,10,12")
    ] = None,
    html: Annotated[bool, typer.Option("--html", help="write a page; a path without an ending gets .html")] = False,
    heads: Annotated[int | None, typer.Option(help="query heads; default: those of the pattern, or as needed")] = None,
    batch: Annotated[int | None, typer.Option(help="samples; default: as many as needed")] = None,
    sample: Annotated[int, typer.Option(help="the sample to show")] = 0,
    keys: Annotated[int | None, typer.Option(help="the number of keys; default: as many as queries")] = None,
    q_start: Annotated[int | None, typer.Option(help="the first query's position; default: as in a call")] = None,
) -> None:
    """Write a picture of the pattern: tiles FULL, PARTIAL or EMPTY over the mask; or a page, to look around in."""
    path = _page(path) if html else path
    sizes: dict[str, Any] = {"heads": heads, "batch": batch, "sample": sample, "q_start": q_start}
    shown: dict[str, Any] = {"head": _heads(head), "order": order, "query": None if query is None else _query(query)}
    attention = attention_of(pattern)
    bindings = bound(attention, length, keys, q_start, set_, field, tensor, counted=True)
    with in_words():
        written = attention.plot(length, path, keys, tile=tile, **sizes, **shown, **bindings)
    typer.echo(f"wrote {written}")


def _page(path: Path) -> Path:
    """The path of a page."""
    if path.suffix not in ("", ".html"):
        raise typer.BadParameter(f"--html writes a page, and {path} is none; give a path that ends in .html")
    return path.with_suffix(".html")


def _heads(text: str) -> int | str | list[int]:
    """One head, all, or several."""
    if text == "all":
        return text
    numbers = _integers(text, "--head takes a head, several, or all: 3, 0,2,5, all")
    return numbers[0] if len(numbers) == 1 else numbers


def _query(text: str) -> int | tuple[int, ...]:
    """A position, or coordinates."""
    numbers = _integers(text, "--query takes a position, or coordinates on a grid: 200, or 3,10,12")
    return numbers[0] if len(numbers) == 1 else tuple(numbers)


def _integers(text: str, wanted: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{wanted}; not {text!r}") from None
