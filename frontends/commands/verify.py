"""`attnir verify`: one pattern, tried on random calls."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import typer

import attnir as an
from attnir.errors import VerificationError
from attnir.frontends.arguments import PatternText, in_words, pattern_of
from attnir.verify import verified


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
        try:
            if isinstance(found, an.Attention):  # with the heads and the configurations that it has
                report = verified(replace(found.plan, backend=target or found.plan.backend), cases, seed)
            else:
                report = an.verify(found, backend=target, cases=cases, seed=seed)
        except VerificationError as error:
            typer.echo(str(error))
            raise typer.Exit(1) from None
    typer.echo(str(report))
