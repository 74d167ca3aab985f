"""The command line: one command a file, in `commands/`.

Exit codes: 0 all is well, 1 something wrong was found, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

from typing import Annotated

import typer

import attnir as an
from attnir.frontends.commands.bench import bench
from attnir.frontends.commands.cache import cache
from attnir.frontends.commands.catalog import catalog
from attnir.frontends.commands.doctor import doctor
from attnir.frontends.commands.explain import explain
from attnir.frontends.commands.fuzz import fuzz
from attnir.frontends.commands.gallery import gallery
from attnir.frontends.commands.inspect import inspect
from attnir.frontends.commands.plot import plot
from attnir.frontends.commands.source import source
from attnir.frontends.commands.verify import verify

app = typer.Typer(no_args_is_help=True)

for command in (explain, source, plot, verify, fuzz, bench, inspect, catalog, gallery, doctor):
    app.command()(command)
app.add_typer(cache, name="cache")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"attnir {an.__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version and stop")
    ] = False,
) -> None:
    """Declare an attention pattern, see its tiles, read its kernels."""


if __name__ == "__main__":
    app(prog_name="attnir")
