"""`attnir source`: the Triton source of a kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.syntax import Syntax

from attnir.frontends.arguments import (
    DTYPES,
    Dtype,
    Grouped,
    Kind,
    PatternText,
    Target,
    ValueWidth,
    Width,
    attention_of,
    in_words,
)


def source(
    pattern: PatternText,
    kind: Annotated[Kind, typer.Option(help="which kernel")] = "forward",
    d: Width = 64,
    dv: ValueWidth = None,
    dtype: Dtype = "bf16",
    target: Target = None,
    grouped: Grouped = False,
    out: Annotated[Path | None, typer.Option(help="write it to this file")] = None,
) -> None:
    """Print the Triton source of a kernel."""
    with in_words():
        attention = attention_of(pattern)
        text = attention.source(kind, d=d, dv=dv, dtype=DTYPES[dtype], target=target, grouped=grouped)
        text = text.rstrip("\n")
        if out is not None:
            out.write_text(f"{text}\n", encoding="utf-8")
    if out is not None:
        typer.echo(f"wrote {out}, {len(text.splitlines())} lines")
        return
    console = Console()
    if console.is_terminal:
        console.print(Syntax(text, "python", background_color="default"), soft_wrap=True)
    else:
        typer.echo(text)
