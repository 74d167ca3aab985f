"""`attnir plot`: a picture of a pattern."""

from __future__ import annotations

from pathlib import Path

import typer

from attnir.frontends.arguments import Length, Params, PatternText, TileSize, attention_of, bindings_of, in_words


def plot(pattern: PatternText, length: Length, path: Path, set_: Params = None, tile: TileSize = None) -> None:
    """Write a picture of the pattern: tiles FULL, PARTIAL or EMPTY over the mask."""
    attention = attention_of(pattern)
    with in_words():
        written = attention.plot(length, path, tile=tile, **bindings_of(set_))
    typer.echo(f"wrote {written}")
