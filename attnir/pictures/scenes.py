"""What a page holds: for each of a few lengths, heads and tiles the live pairs, the walk and the counts, compactly.

Live pairs are a bit each, walks are JSON of runs; both are compressed (zlib) and written in base64.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from attnir.count import all_tiles
from attnir.explanation import Explanation
from attnir.grids import grids_of
from attnir.pictures.panels import CODES, Panel, View
from attnir.program import Status
from attnir.traverse import reads

if TYPE_CHECKING:
    from attnir.api import Attention

MOST_HEADS = 8  # on a page
TILES = (16, 32, 64, 128)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a picture is asked to show: sizes of the call, the tile, the heads and the sample."""

    q_len: int
    k_len: int
    tile: tuple[int, int] | None
    heads: int
    batch: int
    q_start: int | None
    sample: int
    shown: tuple[int, ...]
    bindings: Mapping[str, Any]

    @property
    def call(self) -> dict[str, Any]:
        """What `explain` takes besides lengths and tile."""
        return {"heads": self.heads, "batch": self.batch, "q_start": self.q_start, **self.bindings}


def lengths_of(attention: Attention, asked: Asked) -> list[int]:
    """The numbers of queries that are offered: a quarter, a half, all; one where the call fixes it."""
    fixed = any(attention.pattern.spaces) or asked.q_start is not None or asked.k_len != asked.q_len
    return [asked.q_len] if fixed else sorted({max(1, asked.q_len // n) for n in (4, 2, 1)})


def tiles_of(asked: Asked) -> list[tuple[int, int]]:
    """The tiles that are offered: squares no longer than the queries, and the tile that is asked for."""
    squares = {(n, n) for n in TILES if n <= asked.q_len} or {(TILES[0], TILES[0])}
    return sorted(squares | ({asked.tile} if asked.tile else set()))


def reads_heads(attention: Attention) -> bool:
    """Whether the pattern differs from head to head."""
    return "h" in frozenset().union(*map(reads, attention.pattern.roots))


def heads_of(attention: Attention, asked: Asked) -> list[int]:
    """The heads that are offered: those asked for, or where it is one, those beside it as well; at most 8."""
    if not reads_heads(attention):
        return [asked.shown[0]]
    if len(asked.shown) > 1:
        return list(asked.shown[:MOST_HEADS])
    (chosen,) = asked.shown
    beside = [h for h in range(asked.heads) if h != chosen]
    return sorted([chosen, *beside[: MOST_HEADS - 1]])


def scenes(attention: Attention, asked: Asked) -> dict[str, Any]:
    """Everything that a page shows of an attention, as JSON.

    live    by length and head: which pairs are live
    walks   by length, tile and head: the row tiles, what they visit, the head's counts
    texts   by length and tile: what `explain` counts and says
    """
    tiles, heads = tiles_of(asked), heads_of(attention, asked)
    content: dict[str, Any] = {"lengths": [], "tiles": tiles, "heads": heads, "live": {}, "walks": {}, "texts": {}}
    content["alike"] = not reads_heads(attention)
    for i, length in enumerate(lengths_of(attention, asked)):
        views = [View(_explained(attention, asked, length, tile)) for tile in tiles]
        content["lengths"].append(_sizes(views[0].explained))
        for j, view in enumerate(views):
            content["texts"][f"{i}.{j}"] = packed_json(_said(view.explained))
        for n, head in enumerate(heads):
            live = views[0].live_of(asked.sample, head)
            content["live"][f"{i}.{n}"] = packed(np.packbits(live.numpy()).tobytes())
            for j, view in enumerate(views):
                panel = view.panel(asked.sample, head, live)
                content["walks"][f"{i}.{j}.{n}"] = packed_json(_walk(panel, view.explained))
    return content


def _explained(attention: Attention, asked: Asked, length: int, tile: tuple[int, int]) -> Explanation:
    """The explanation of a part of the tokens: the first ones."""
    if length == asked.q_len:
        return attention.explain(length, asked.k_len, tile=tile, **asked.call)
    fields = {f.name for f in attention.pattern.fields}
    unseen = {*attention.signature.names} - {*attention.pattern.mask.signature.names}  # by the mask
    given: dict[str, Any] = {
        name: _first(value, length) if name in fields else value
        for name, value in asked.call.items()
        if name not in unseen
    }
    return attention.explain(length, tile=tile, **given)


def _first(field: object, length: int) -> object:
    """A field of the first tokens."""
    if isinstance(field, tuple):
        return tuple(_first(part, length) for part in field)
    return field[..., :length] if isinstance(field, Tensor) else field


def _sizes(e: Explanation) -> dict[str, Any]:
    """The sizes of a call, and how its queries and keys are arranged."""
    call, (queries, keys) = e.call, e.attention.pattern.spaces
    arranged = {
        side: [[g.name, g.start, g.axes, g.sizes] for g in grids_of(space, call.params, length)] if space else []
        for side, space, length in (("queries", queries, call.q_len), ("keys", keys, call.k_len))
    }
    return {"q_len": call.q_len, "k_len": call.k_len, "q_start": call.q_start, "same": queries == keys, **arranged}


def _said(e: Explanation) -> dict[str, Any]:
    """What `explain` counts and says, over all samples and heads."""
    programs = [p for launch in e.arrangement.taken.launches for p in launch]
    reasons = list(dict.fromkeys(p.reason for p in programs if p.reason))
    counts = {"live": e.live_pairs, "visited": e.visited_pairs, "metadata": e.metadata_bytes}
    tiles = {"full": e.tiles.full, "partial": e.tiles.partial, "empty": e.tiles.empty}
    return {"counts": counts | tiles, "layout": e.arrangement.taken.name, "reasons": reasons, "explain": str(e)}


def _walk(panel: Panel, e: Explanation) -> dict[str, Any]:
    """The row tiles of a head with what they visit, and the head's counts: [launch, rows, [[status, columns], ...]]."""
    tiles = [[t.launch, t.rows, [[CODES[v.status], v.columns] for v in t.visits]] for t in panel.tiles]
    made = [v.status for t in panel.tiles for v in t.visits]
    full, partial = made.count(Status.FULL), made.count(Status.PARTIAL)
    every = sum(all_tiles(programs[0], e.call) for programs in e.arrangement.taken.launches)
    counts = {
        "live": int(panel.live.sum()),
        "visited": (full + partial) * e.tile[0] * e.tile[1],
        "full": full,
        "partial": partial,
        "empty": max(0, every - full - partial),
    }
    return {"counts": counts, "tiles": tiles}


def packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 9)).decode()


def packed_json(value: object) -> str:
    return packed(json.dumps(value, separators=(",", ":")).encode())
