"""The command line: `attnir explain`, `source` and `plot` for a pattern given as text, `gallery` for the catalog."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.syntax import Syntax

import attnir as an
from attnir.frontends.gallery import write_gallery

app = typer.Typer(help="Declare an attention pattern, see its tiles, read its kernels.", no_args_is_help=True)

PatternText = Annotated[str, typer.Argument(help='a pattern as text: "causal & ((abs(q - k) <= 256) | (k < 4))"')]
Length = Annotated[int, typer.Argument(help="the number of tokens", min=1, max=2**28)]
Params = Annotated[
    list[str] | None, typer.Option("--set", help="a parameter of the pattern, name=value; may be repeated")
]
TileSize = Annotated[tuple[int, int] | None, typer.Option(help="query rows and key columns of a tile")]


Target = Annotated[str | None, typer.Option(help="sm_80, sm_90, sm_100, gfx942; default: the GPU here, else sm_90")]


@contextmanager
def _in_words() -> Iterator[None]:
    """Errors as the command line says them."""
    try:
        yield
    except (an.AttnirError, OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None


def _attention(text: str, *, tensors: bool = False) -> an.Attention:
    """The attention of a text; `tensors`: whether it may read some, as fields or by sample and head."""
    with _in_words():
        attention = an.compile(an.parse(text))
    if tensors:
        return attention
    if needed := [f.name for f in attention.pattern.fields] + [t.name for t in attention.pattern.tensors]:
        raise typer.BadParameter(f"a tensor is needed for {', '.join(needed)}, and a command line has none; use Python")
    return attention


def _bindings(given: list[str] | None) -> dict[str, Any]:
    pairs = [text.partition("=") for text in given or []]
    try:
        return {name.strip(): int(value) for name, _, value in pairs}
    except ValueError:
        raise typer.BadParameter(f"--set takes name=integer, not {' '.join(given or [])}") from None


@app.command()
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
    attention = _attention(pattern)
    sizes: dict[str, Any] = {"k_len": keys, "q_start": q_start, "heads": heads, "batch": batch}
    with _in_words():
        typer.echo(attention.explain(length, tile=tile, target=target, **sizes, **_bindings(set_)))


@app.command()
def source(
    pattern: PatternText,
    kind: Annotated[str, typer.Option(help="forward, delta, dq or dkv")] = "forward",
    d: Annotated[int, typer.Option(help="the width of a head, 1 to 256")] = 64,
    target: Target = None,
) -> None:
    """Print the Triton source of a kernel."""
    with _in_words():
        text = _attention(pattern, tensors=True).source(kind, d=d, target=target)
    console = Console()
    console.print(Syntax(text, "python", background_color="default") if console.is_terminal else text, soft_wrap=True)


@app.command()
def plot(pattern: PatternText, length: Length, path: Path, set_: Params = None, tile: TileSize = None) -> None:
    """Write a picture of the pattern: tiles FULL, PARTIAL or EMPTY over the mask."""
    attention = _attention(pattern)
    with _in_words():
        written = attention.plot(length, path, tile=tile, **_bindings(set_))
    typer.echo(f"wrote {written}")


@app.command()
def gallery(out: Annotated[Path, typer.Option(help="the folder of the page and its pictures")] = Path("docs")) -> None:
    """Write a page with a picture and the call of every pattern of the catalog."""
    with _in_words():
        written = write_gallery(out)
    typer.echo(f"wrote {written[0]} and {len(written) - 1} pictures")


if __name__ == "__main__":
    app()
