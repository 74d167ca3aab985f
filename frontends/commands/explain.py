"""`attnir explain`: the tile programs, exact counts and cost of a pattern at a length."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from attnir.frontends.arguments import (
    Length,
    Params,
    PatternText,
    Target,
    TileSize,
    attention_of,
    bindings_of,
    in_words,
)


def explain(
    pattern: PatternText,
    length: Length,
    set_: Params = None,
    tile: TileSize = None,
    target: Target = None,
    keys: Annotated[int | None, typer.Option(help="the number of keys; default: as many as queries")] = None,
    q_start: Annotated[int | None, typer.Option(help="the first query's position; default: as in a call")] = None,
    heads: Annotated[int | None, typer.Option(help="query heads; default: 1, or those of the pattern")] = None,
    batch: Annotated[int, typer.Option(help="samples")] = 1,
) -> None:
    """Print the tile programs, exact counts and cost of a pattern at a length."""
    attention = attention_of(pattern)
    sizes: dict[str, Any] = {"k_len": keys, "q_start": q_start, "heads": heads, "batch": batch}
    with in_words():
        typer.echo(attention.explain(length, tile=tile, target=target, **sizes, **bindings_of(set_)))
