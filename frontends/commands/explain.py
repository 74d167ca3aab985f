"""`attnir explain`: the tile programs, exact counts and cost of a pattern at a length."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from attnir.frontends.arguments import (
    DTYPES,
    Dtype,
    Fields,
    Length,
    Params,
    PatternText,
    Target,
    Tensors,
    TileSize,
    ValueWidth,
    Width,
    attention_of,
    bound,
    in_words,
)


def explain(
    pattern: PatternText,
    length: Length,
    set_: Params = None,
    field: Fields = None,
    tensor: Tensors = None,
    tile: TileSize = None,
    d: Width = 64,
    dv: ValueWidth = None,
    dtype: Dtype = "bf16",
    target: Target = None,
    backend: Annotated[Literal["triton", "torch"] | None, typer.Option(help="whose tiles; default: Triton's")] = None,
    keys: Annotated[int | None, typer.Option(help="the number of keys; default: as many as queries")] = None,
    q_start: Annotated[int | None, typer.Option(help="the first query's position; default: as in a call")] = None,
    heads: Annotated[
        int | None, typer.Option(help="query heads; default: those of the pattern or a tensor, or 1")
    ] = None,
    batch: Annotated[int, typer.Option(help="samples")] = 1,
) -> None:
    """Print the tile programs, exact counts and cost of a pattern at a length."""
    attention = attention_of(pattern)
    sizes: dict[str, Any] = {"k_len": keys, "q_start": q_start, "heads": heads, "batch": batch}
    kernel: dict[str, Any] = {"d": d, "dv": dv, "dtype": DTYPES[dtype], "target": target, "backend": backend}
    bindings = bound(attention, length, keys, q_start, set_, field, tensor)
    with in_words():
        typer.echo(attention.explain(length, tile=tile, **sizes, **kernel, **bindings))
