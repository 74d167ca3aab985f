"""`attnir source`: the Triton source of a kernel."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.syntax import Syntax

from attnir.frontends.arguments import PatternText, Target, attention_of, in_words


def source(
    pattern: PatternText,
    kind: Annotated[str, typer.Option(help="forward, delta, dq or dkv")] = "forward",
    d: Annotated[int, typer.Option(help="the width of a head, 1 to 256")] = 64,
    target: Target = None,
) -> None:
    """Print the Triton source of a kernel."""
    with in_words():
        text = attention_of(pattern, tensors=True).source(kind, d=d, target=target)
    console = Console()
    console.print(Syntax(text, "python", background_color="default") if console.is_terminal else text, soft_wrap=True)
