"""Code in a page is run, and what it prints can stand on the page.

Python blocks run in their order, in one namespace a page; of `bash` blocks, the lines that call `attnir` run through
the command line's own application. The word after the language says what a reader sees:

    ```python               the code
    ```python show          the code, and below it what it prints; `show python`: highlighted as Python
    ```python render        what it prints alone, as Markdown
    ```bash, ```bash show   the same for commands

A block that fails fails the page.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import tempfile
from collections.abc import Iterator
from unittest import mock

from typer.testing import CliRunner

from attnir.catalog import registry
from attnir.frontends.cli import app

BLOCK = re.compile(r"^```(python|bash)(?: (show|render))?(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COLUMNS = "110"  # of a terminal
SLOW = {"bench", "inspect"}  # commands that measure and compile; tests of their own try them


def printed_by_python(source: str, page: str, names: dict[str, object]) -> str:
    """What a Python block prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, page, "exec"), names)
    return printed.getvalue()


def printed_by_commands(source: str, page: str, names: dict[str, object]) -> str:
    """What the commands of attnir in a shell block print; others are for the reader."""
    own = (words for words in commands(source) if words[0] == "attnir" and words[1] not in SLOW)
    return "".join(_output(words, page) for words in own)


RUN = {"python": printed_by_python, "bash": printed_by_commands}


def commands(source: str) -> Iterator[list[str]]:
    """The commands of a shell block as words, without comments; the program by its name alone."""
    for line in source.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words = words[1:]  # variables of the environment
        if words:
            yield [words[0].rpartition("/")[2], *words[1:]]


def _output(words: list[str], page: str) -> str:
    result = CliRunner().invoke(app, words[1:], env={"COLUMNS": COLUMNS, "TERM": "dumb"}, catch_exceptions=False)
    assert result.exit_code == 0, f"{page}: {shlex.join(words)} exits with {result.exit_code}\n{result.output}"
    return result.output


def executed(text: str, page: str) -> str:
    """A page with its code run, in a folder of its own, and its output in place."""
    names: dict[str, object] = {"__name__": page}

    def replaced(found: re.Match[str]) -> str:
        language, shown, printed_as, source = found.groups()
        printed = RUN[language](source, page, names)
        if shown == "render":
            return printed
        code = f"```{language}\n{source}```"
        return f"{code}\n\n```{printed_as or 'text'}\n{printed.rstrip()}\n```" if shown else code

    in_catalog = mock.patch.dict(registry._ENTRIES)  # what a page adds to the catalog, it adds for itself
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), in_catalog:
        return BLOCK.sub(replaced, text)
