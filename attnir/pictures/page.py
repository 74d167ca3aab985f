"""A pattern as one self-contained HTML page: hover over a query and see its keys, change length, head and tile.

The page is `page.html` with `page.css`, the scripts and the data written into it. It loads nothing.
"""

from __future__ import annotations

import json
import re
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from attnir.pictures.near import Query, index_of
from attnir.pictures.scenes import Asked, scenes

if TYPE_CHECKING:
    from attnir.api import Attention

MOST_TOKENS = 1024  # on a page
SCRIPTS = ("page_data.js", "page_mask.js", "page_query.js", "page.js")
PLACE = re.compile("@([A-Z]+)@")  # of a part in page.html; nothing is looked for in what is put there


def page(attention: Attention, asked: Asked, *, order: bool = False, query: Query | None = None) -> str:
    """The page of an attention, which begins with the length, tile, head and query that are asked for."""
    content = scenes(attention, asked)
    content["start"] = _start(attention, asked, content, query) | {"order": order}
    content["pattern"] = str(attention.pattern)
    content["sample"], content["samples"], content["all_heads"] = asked.sample, asked.batch, asked.heads
    data = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    script = "\n".join(map(_part, SCRIPTS))
    parts = {"PATTERN": escape(str(attention.pattern)), "CSS": _part("page.css"), "JS": script, "DATA": data}
    return PLACE.sub(lambda found: parts[found[1]], _part("page.html"))


def _part(name: str) -> str:
    return (files("attnir.pictures") / name).read_text(encoding="utf-8")


def _start(attention: Attention, asked: Asked, content: dict[str, Any], query: Query | None) -> dict[str, int]:
    """What the page begins with, as indices; the middle query where none is asked for."""
    e = attention.explain(asked.q_len, asked.k_len, tile=(16, 16), **asked.call)
    tiles = content["tiles"]
    fitting = [i for i, (rows, _) in enumerate(tiles) if rows * 16 >= asked.q_len]
    return {
        "length": len(content["lengths"]) - 1,
        "tile": tiles.index(asked.tile) if asked.tile else (fitting or [len(tiles) - 1])[0],
        "head": content["heads"].index(asked.shown[0]),
        "query": asked.q_len // 2 if query is None else index_of(query, attention.pattern.spaces[0], e.call),
    }
