"""`attnir gallery`: the page of the catalog."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attnir.frontends.arguments import in_words
from attnir.frontends.gallery import write_gallery


def gallery(out: Annotated[Path, typer.Option(help="the folder of the page and its pictures")] = Path("docs")) -> None:
    """Write a page with a picture and the call of every pattern of the catalog."""
    with in_words():
        written = write_gallery(out)
    typer.echo(f"wrote {written[0]} and {len(written) - 1} pictures")
