"""`attnir catalog`: the mechanisms of the literature, and one of them in full."""

from __future__ import annotations

import inspect
import re
from typing import Annotated

import typer
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table

import attnir as an
from attnir.catalog import Entry
from attnir.frontends.arguments import in_words
from attnir.frontends.gallery import call_of, description, grouped

ITEM = re.compile(r"^- (.*?): (.*)$", re.MULTILINE)  # a parameter in a description


def catalog(
    name: Annotated[str | None, typer.Argument(help="an entry to show in full")] = None,
    search: Annotated[str | None, typer.Option(metavar="WORD", help="list entries that mention this")] = None,
) -> None:
    """List the mechanisms of the catalog, or show one: its parameters, its source, a call, its pattern."""
    console = Console(highlight=False)
    if name is not None:
        if search is not None:
            raise typer.BadParameter("give a name or --search, not both")
        with in_words():
            _show(console, an.catalog.get(name))
        return
    found = {title: [e for e in among if _mentions(e, search or "")] for title, among in grouped().items()}
    count = sum(map(len, found.values()))
    if search is not None and not count:
        console.print(f"no entry mentions {search!r}; all of them: attnir catalog", markup=False)
        raise typer.Exit(1)
    _list(console, {title: among for title, among in found.items() if among})
    console.print(f"\n{count} {'entry' if count == 1 else 'entries'}; attnir catalog NAME shows one", markup=False)


def _mentions(entry: Entry, word: str) -> bool:
    text = f"{entry.name} {inspect.getdoc(entry.build)} {entry.source}"
    return word.lower() in text.lower()


def _list(console: Console, found: dict[str, list[Entry]]) -> None:
    width = max(len(e.name) for among in found.values() for e in among)
    for i, (title, among) in enumerate(found.items()):
        console.print(f"{'' if i == 0 else chr(10)}[bold]{escape(title)}[/bold]")
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(width=width + 2, no_wrap=True, style="cyan")
        table.add_column()
        for e in among:
            table.add_row(f"  {e.name}", escape(e.summary))
        console.print(table)


def _show(console: Console, entry: Entry) -> None:
    """One entry: what it is, its parameters, the paper, the call of its example, the pattern that the call gives."""
    x = entry.example
    console.print(f"[bold cyan]{entry.name}[/bold cyan]  {escape(entry.summary)}")
    paragraphs = [p.replace("`", "") for p in description(entry)]
    meanings: dict[str, str] = {}
    for paragraph in paragraphs:
        if found := ITEM.findall(paragraph):
            meanings |= found
        else:
            console.print(Padding(escape(" ".join(paragraph.split())), (1, 2, 0, 2)))
    _titled(console, "parameters", _parameters(entry, meanings))
    _titled(console, "example", Syntax(call_of(entry), "python", background_color="default", word_wrap=True))
    _titled(console, "its stages" if entry.is_graph else "its pattern", escape(str(entry.build(**x.params))))
    copies = [f"{n} {what}" for n, what in ((x.batch, "samples"), (x.heads, "heads")) if n > 1]
    sizes = ", ".join([f"{x.q_len} queries, {x.k_len or x.q_len} keys", *copies])
    _titled(console, "called with", f"{sizes}; {', '.join(x.bindings)} given" if x.bindings else sizes)
    _titled(console, "source", escape(entry.source))


def _titled(console: Console, title: str, body: RenderableType) -> None:
    console.print(f"\n[bold]{title}[/bold]")
    console.print(Padding(body, (0, 2)))


def _parameters(entry: Entry, meanings: dict[str, str]) -> RenderableType:
    """The builder's arguments with their defaults, and what they mean."""
    defaults = {p.name: p.default for p in inspect.signature(entry.build).parameters.values()}
    if not defaults:
        return "none"
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="cyan")
    table.add_column()
    for names, meaning in meanings.items():
        given = [n if defaults[n] is inspect.Parameter.empty else f"{n}={defaults[n]!r}" for n in names.split(", ")]
        table.add_row("\n".join(given), escape(meaning))
    return table
