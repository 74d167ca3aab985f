"""`attnir verify`: one pattern, tried on random calls."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

import attnir as an
from attnir.errors import VerificationError
from attnir.frontends.arguments import PatternText, in_words, pattern_of


def verify(
    pattern: PatternText,
    target: Annotated[
        Literal["torch", "triton"] | None, typer.Option(help="what computes it; default: Triton on a GPU, else torch")
    ] = None,
    cases: Annotated[int, typer.Option(help="how many calls", min=1)] = 40,
    seed: Annotated[int, typer.Option(help="of the calls that are drawn", min=0)] = 0,
) -> None:
    """Try a pattern on random calls, each held to every property; exit code 1, and a script, where one fails."""
    found = pattern_of(pattern)
    with in_words():
        attention = found if isinstance(found, an.Attention) else an.compile(found)
        plan = attention.plan
        try:
            report = an.verify(plan.pattern, backend=target or plan.backend, heads=plan.heads, cases=cases, seed=seed)
        except VerificationError as error:
            typer.echo(str(error))
            raise typer.Exit(1) from None
    typer.echo(str(report))
