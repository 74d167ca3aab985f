"""What commands share: the arguments that say a pattern and a call, and how errors are said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

import attnir as an

PatternText = Annotated[str, typer.Argument(help='a pattern as text: "causal & ((abs(q - k) <= 256) | (k < 4))"')]
Length = Annotated[int, typer.Argument(help="the number of tokens", min=1, max=2**28)]
Params = Annotated[
    list[str] | None, typer.Option("--set", help="a parameter of the pattern, name=value; may be repeated")
]
TileSize = Annotated[tuple[int, int] | None, typer.Option(help="query rows and key columns of a tile")]
Target = Annotated[str | None, typer.Option(help="sm_80, sm_90, sm_100, gfx942; default: the GPU here, else sm_90")]


@contextmanager
def in_words() -> Iterator[None]:
    """Errors as the command line says them."""
    try:
        yield
    except (an.AttnirError, OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None


def attention_of(text: str, *, tensors: bool = False) -> an.Attention:
    """The attention of a text; `tensors`: whether it may read some, as fields or by sample and head."""
    with in_words():
        attention = an.compile(an.parse(text))
    if tensors:
        return attention
    if needed := [f.name for f in attention.pattern.fields] + [t.name for t in attention.pattern.tensors]:
        raise typer.BadParameter(f"a tensor is needed for {', '.join(needed)}, and a command line has none; use Python")
    return attention


def bindings_of(given: list[str] | None) -> dict[str, Any]:
    """The parameters that --set gives."""
    pairs = [text.partition("=") for text in given or []]
    try:
        return {name.strip(): int(value) for name, _, value in pairs}
    except ValueError:
        raise typer.BadParameter(f"--set takes name=integer, not {' '.join(given or [])}") from None
