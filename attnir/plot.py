"""`attn.plot`: the picture of a pattern, as an image or as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnir.errors import ShapeError
from attnir.explain import given_heads
from attnir.explanation import said_of_chance
from attnir.grids import grids_of
from attnir.pictures.figure import draw_order, draw_panels, draw_status
from attnir.pictures.near import Query, index_of
from attnir.pictures.page import MOST_TOKENS, page
from attnir.pictures.panels import View
from attnir.pictures.query_figure import draw_query
from attnir.pictures.scenes import Asked, reads_heads
from attnir.printing import wrapped

if TYPE_CHECKING:
    from attnir.api import Attention

MOST_PIXELS = 4096  # a picture is dense; longer sequences are better read as counts
MOST_PANELS = 16  # heads in one picture
TITLE = (90, 5)  # the width and most lines of the pattern above a picture

Heads = int | str | Sequence[int]  # one, "all", or some


def plot(
    attention: Attention,
    q_len: int,
    path: str | PathLike[str],
    k_len: int | None = None,
    *,
    tile: tuple[int, int] | None = None,
    head: Heads = 0,
    sample: int = 0,
    order: bool = False,
    query: Query | None = None,
    heads: int | None = None,
    batch: int | None = None,
    q_start: int | None = None,
    **bindings: Any,
) -> Path:
    """Write the picture of heads of one sample to `path`: live pairs dark, tiles by status.

    path            ends in .png, .svg or .pdf, or gets .png; a page to look around in where it ends in .html: one file
                    without links, in which lengths, heads, tiles and queries are chosen. The path written is returned
    q_len, k_len    lengths from 1 to 4096, of a page to 1024
    tile            as in `explain`, by default a sixteenth of the length; the one a page begins with
    head            one head, "all", or several: a panel for each, at most 16. A page begins with the first
    order           colour tiles by when their row of tiles visits them, in the order of the tile program
    query           the keys of one query instead, where they lie in their space: its position, or its coordinates
                    (3, 10, 12) on the grid of the queries. A page begins with it
    heads, batch    of the call; by default those of the pattern, or just as many as it takes to have `head`, `sample`

    The legend counts what is shown.

    >>> import attnir as an, tempfile
    >>> path = an.compile(an.causal() & an.window(20)).plot(128, f"{tempfile.mkdtemp()}/window.svg", order=True)
    >>> path.name
    'window.svg'

    Raises ShapeError for other lengths, and for a head, a sample or a query that is not there; BackendError where an
    image is asked for and matplotlib is not installed.
    """
    written = Path(path) if Path(path).suffix else Path(f"{path}.png")
    on_page = written.suffix == ".html"
    k_len = q_len if k_len is None else k_len
    _check_lengths(q_len, k_len, "page" if on_page else "picture", MOST_TOKENS if on_page else MOST_PIXELS)
    shown, heads = _heads(attention, head, heads, bindings)
    batch = sample + 1 if batch is None else batch
    if not (all(0 <= h < heads for h in shown) and 0 <= sample < batch):
        some = ", ".join(map(str, shown))
        raise ShapeError(f"head {some} of {heads} and sample {sample} of {batch} are not both there")
    asked = Asked(q_len, k_len, tile, heads, batch, q_start, sample, shown, bindings)
    if on_page:
        written.write_text(page(attention, asked, order=order, query=query), encoding="utf-8")
        return written
    tile = tile or (max(1, q_len // 16), max(1, k_len // 16))
    view = View(attention.explain(q_len, k_len, tile=tile, **asked.call))
    figure = _pairs(view, asked, order) if query is None else _near(view, asked, query)
    figure.savefig(written, dpi=160, bbox_inches="tight")
    return written


def _check_lengths(q_len: int, k_len: int, what: str, most: int) -> None:
    if not all(isinstance(n, int) and 1 <= n <= most for n in (q_len, k_len)):
        raise ShapeError(f"a {what} shows 1 to {most} tokens, not {q_len} by {k_len}; plot another length")


def _heads(
    attention: Attention, head: Heads, heads: int | None, given: Mapping[str, Any]
) -> tuple[tuple[int, ...], int]:
    """The heads to show, and how many there are."""
    known = heads if heads is not None else attention.pattern.heads or given_heads(attention, given)
    if head == "all":
        if known is None and reads_heads(attention):
            raise ShapeError('the pattern differs from head to head; say how many there are: head="all", heads=8')
        return tuple(range(known or 1)), known or 1
    asked = (head,) if isinstance(head, int) else () if isinstance(head, str) else tuple(head)
    if not asked or not all(type(h) is int for h in asked):
        raise ShapeError(f'head is one head, "all", or several: 0, "all", [0, 4]; not {head!r}')
    return asked, known if known is not None else max(asked) + 1


def _words(view: View, *more: str) -> str:
    """What stands above a picture."""
    e = view.explained
    said = ", ".join([*more, f"tiles of {e.tile[0]} x {e.tile[1]}"])
    said += f"\nlists {said_of_chance(e.by_chance)}" if e.by_chance else ""
    return "\n".join([*wrapped(str(e.attention.pattern), *TITLE), said])


def _pairs(view: View, asked: Asked, order: bool) -> Any:
    """Every pair of the heads that are asked for."""
    if len(asked.shown) > MOST_PANELS:
        many = f"a picture has at most {MOST_PANELS} panels, not {len(asked.shown)}"
        raise ShapeError(f"{many}; take some of the heads: head=range({MOST_PANELS})")
    panels = {h: view.panel(asked.sample, h) for h in asked.shown}
    draw = draw_order if order else draw_status
    if len(panels) == 1:
        (panel,) = panels.values()
        return draw_panels({_words(view, panel.ratio()): panel}, "", draw)
    return draw_panels({f"head {h}: {p.ratio()}": p for h, p in panels.items()}, _words(view), draw)


def _near(view: View, asked: Asked, query: Query) -> Any:
    """The keys of one query of one head."""
    if len(asked.shown) > 1:
        raise ShapeError(f"the keys of a query are those of one head, not of {len(asked.shown)}; take one: head=0")
    call, (queries, keys) = view.explained.call, view.explained.attention.pattern.spaces
    index = index_of(query, queries, call)
    position = call.q_start + index
    own = position if queries == keys and position < call.k_len else None
    panel = view.panel(asked.sample, asked.shown[0])
    at = f" at {query}" if isinstance(query, tuple | list) else ""
    title = _words(view, f"the keys of query {position}{at}", f"head {asked.shown[0]}")
    return draw_query(panel, index, own, grids_of(keys, call.params, call.k_len), title)
