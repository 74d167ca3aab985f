"""What the site's builder calls: every page goes through `docs.blocks` before it is written."""

from __future__ import annotations

import re
from typing import Any

from docs.blocks import executed

ROW = re.compile(r"^\|.*\|$", re.MULTILINE)
CODE = re.compile(r"`[^`]*`")


def on_page_markdown(markdown: str, *, page: Any, **_: object) -> str:
    """The Markdown of a page with its code run."""
    return with_bars(executed(markdown, page.file.src_uri))


def with_bars(markdown: str) -> str:
    r"""Tables whose code has no escaped bars. In the sources it has: elsewhere, Markdown asks for them.

    >>> print(with_bars(r"| `a \| b` | a \| b |"))
    | `a | b` | a \| b |
    """

    def unescaped(found: re.Match[str]) -> str:
        return CODE.sub(lambda code: code[0].replace(r"\|", "|"), found[0])

    return ROW.sub(unescaped, markdown)
