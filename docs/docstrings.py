"""Docstrings of attnir as Markdown for the reference: aligned lists become lists, doctests become code.

A docstring of attnir lists names, two or more spaces, and what they mean; a line that is further in goes on. Markdown
would run all of that together.
"""

from __future__ import annotations

from typing import Any

import griffe

from attnir.frontends.gallery import listed


class Docstrings(griffe.Extension):
    """Rewrites every docstring when it is loaded."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """An object was loaded."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(docstring: str) -> str:
    """A docstring as Markdown.

    >>> print(as_markdown("Words.\\n\\na, b   two\\n       things\\nc      one"))
    Words.
    <BLANKLINE>
    - `a, b`: two things
    - `c`: one
    """
    return "\n\n".join(map(_paragraph, docstring.strip().split("\n\n")))


def _paragraph(text: str) -> str:
    if text.lstrip().startswith(">>>"):
        return f"```pycon\n{text}\n```"
    return listed(text)
