"""How patterns look in a notebook: HTML with its styles inline, which takes the notebook's own text colour."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from html import escape
from typing import TypeVar

from attnir.errors import AttnirError
from attnir.expr import Expr
from attnir.signature import Signature
from attnir.thumbnail import picture

PRE_STYLE = "margin:0;max-height:24em;overflow:auto;white-space:pre-wrap;overflow-wrap:anywhere;background:none"

T = TypeVar("T")


def never_raises(show: Callable[[T], str]) -> Callable[[T], str | None]:
    """A notebook asks for HTML unasked, and shows the plain text where it gets None: no error may come of it."""

    @wraps(show)
    def shown(self: T) -> str | None:
        try:
            return show(self)
        except Exception:
            return None

    return shown


def text_and_picture(text: str, predicate: Expr, signature: Signature) -> str:
    """The text of a pattern, and the picture of its mask where that needs no tensors.

    A picture chooses values for parameters. Where the pattern does not take them, there is none.
    """
    try:
        drawn = picture(predicate, signature)
    except AttnirError:
        drawn = ""
    return beside(drawn, preformatted(text))


def preformatted(text: str) -> str:
    return f'<pre style="{PRE_STYLE};color:inherit">{escape(text)}</pre>'


def beside(left: str, right: str) -> str:
    """Two pieces of HTML next to each other, the right one as wide as there is room."""
    style = "display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start"
    return f'<div style="{style}">{left}<div style="flex:1 1 220px;min-width:0">{right}</div></div>'


def table(rows: dict[str, str]) -> str:
    """Names and values, a row each."""
    cells = (
        f'<tr><th scope="row" style="text-align:left;font-weight:500">{escape(name)}</th>'
        f'<td style="text-align:right;font-variant-numeric:tabular-nums">{escape(value)}</td></tr>'
        for name, value in rows.items()
    )
    return f"<table>{''.join(cells)}</table>"


def folded(title: str, text: str) -> str:
    """A text behind its title, open."""
    return f"<details open><summary>{escape(title)}</summary>{preformatted(text)}</details>"
