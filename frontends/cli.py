"""The command line: one command a file, in `commands/`."""

from __future__ import annotations

import typer

from attnir.frontends.commands.explain import explain
from attnir.frontends.commands.gallery import gallery
from attnir.frontends.commands.plot import plot
from attnir.frontends.commands.source import source

app = typer.Typer(help="Declare an attention pattern, see its tiles, read its kernels.", no_args_is_help=True)

for command in (explain, source, plot, gallery):
    app.command()(command)

if __name__ == "__main__":
    app()
