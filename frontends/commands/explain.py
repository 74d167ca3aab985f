"""`attnir explain`: the tile programs, exact counts and cost of a pattern, or the stages of a graph, at a length."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from attnir.compiled_graph import CompiledGraph
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
    pattern_or_graph_of,
)
from attnir.frontends.values import Given


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
    found = pattern_or_graph_of(pattern)
    if isinstance(found, CompiledGraph):
        if tile is not None:
            raise typer.BadParameter("a graph has a tile for each of its attentions; leave --tile out")
        heads = 1 if heads is None else heads
        shape: dict[str, Any] = {"heads": heads, "batch": batch, "q_start": q_start, "d": d, "dv": dv}
        with in_words():
            given = Given(set_ or (), field or (), tensor or ()).bind_graph(length, keys)
            kind = {"dtype": DTYPES[dtype], "target": target, "backend": backend}
            typer.echo(found.explain(length, keys, **shape, **kind, **given))
        return
    attention = attention_of(pattern)
    sizes: dict[str, Any] = {"k_len": keys, "q_start": q_start, "heads": heads, "batch": batch}
    kernel: dict[str, Any] = {"d": d, "dv": dv, "dtype": DTYPES[dtype], "target": target, "backend": backend}
    bindings = bound(attention, length, keys, q_start, set_, field, tensor, counted=True)
    with in_words():
        typer.echo(attention.explain(length, tile=tile, **sizes, **kernel, **bindings))
