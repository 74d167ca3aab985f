"""A small picture of a mask as SVG, where it can be evaluated without tensors.

It comes from the dense meaning alone, so that it costs no compilation: green tiles have live pairs only, yellow ones
some, grey ones none. Of a grid it shows the keys of the query in the middle.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from html import escape

import numpy as np
import torch
from torch import Tensor

from attnir.call import Call
from attnir.evaluate import live_block, of_pairs
from attnir.expr import Expr
from attnir.grids import Grid, grids_of
from attnir.ops import Op, ParamDecl
from attnir.signature import Signature, value_of
from attnir.traverse import nodes, reads

COLOURS = ("#f4f4f2", "#f2c14e", "#5b8e7d")  # of tiles with no live pair, some, live pairs only
SIDE = 168  # pixels
TILES = 16  # along a side
LENGTHS = (64, 128, 256)
FAST, MOST_WORK = 2**21, 2**23  # pairs times operations: of a length that may be shorter, and of any
MOST_KEYS = 2**18  # of one query
AT_ONCE = 2**14  # pairs: torch takes no other thread for so few, and nothing waits for busy ones
MOST_RUNS = 4096  # of live pairs that are drawn one by one
MOST_IMAGES = 9


def picture(predicate: Expr, signature: Signature) -> str:
    """A small SVG with a line that says what it shows; empty where the mask reads tensors or takes too long."""
    if signature.fields or signature.tensors:
        return ""
    signature = replace(signature, reals=(), numbers=())  # which no mask reads
    params = {p.name: _value(p) for p in signature.params}
    q_len, k_len = _lengths(predicate, signature, params)
    call = signature.bind(params, batch=1, heads=signature.heads or 1, q_len=q_len, k_len=k_len, q_start=0)
    keys = grids_of(signature.spaces[1], params, k_len)
    if any(len(grid.sizes) > 1 for grid in keys):
        drawn, what = _near(predicate, call, keys, same=signature.spaces[0] == signature.spaces[1])
    else:
        drawn, what = _matrix(predicate, call)
    if not drawn:
        return ""
    at = [f"{name} = {value}" for name, value in params.items()]
    at += [f"{word} 0" for letter, word in (("h", "head"), ("b", "sample")) if letter in reads(predicate)]
    said = ", ".join([what, *at])
    return f'<div style="width:{SIDE}px">{drawn}<div style="font-size:11px;opacity:.75">{escape(said)}</div></div>'


def _value(p: ParamDecl) -> int:
    """A value for a parameter, for a picture."""
    return min(max(8, p.low), p.high)


def _lengths(predicate: Expr, signature: Signature, params: dict[str, int]) -> tuple[int, int]:
    """As many queries and keys as the spaces have; else as many as it takes to see what the constants say."""
    constants = [abs(n.const) for n in nodes(predicate) if n.op is Op.CONST] + list(params.values())
    wanted = 3 * max((c for c in constants if c <= LENGTHS[-1]), default=0)
    work = _operations(predicate)
    fast = [n for n in LENGTHS if n * n * work <= FAST] or [LENGTHS[0]]
    free = next((n for n in fast if n >= wanted), fast[-1])
    queries, keys = (space and value_of(space.length, params) for space in signature.spaces)
    return queries or keys or free, keys or queries or free


def _operations(predicate: Expr) -> int:
    return sum(1 for _ in nodes(predicate))


def _matrix(predicate: Expr, call: Call) -> tuple[str, str]:
    """Every pair: tiles by whether their pairs are live, live pairs dark."""
    q_len, k_len = call.q_len, call.k_len
    if q_len * k_len * _operations(predicate) > MOST_WORK:
        return "", ""
    live = _live(predicate, call)
    tile = max(1, math.ceil(max(q_len, k_len) / TILES))
    parts = []
    for y in range(0, q_len, tile):
        for x in range(0, k_len, tile):
            pairs = live[y : y + tile, x : x + tile]
            colour = COLOURS[int(pairs.any()) + int(pairs.all())]
            parts.append(_rectangle(x, y, pairs.shape[1], pairs.shape[0], colour))
    drawn = _svg(k_len, q_len, "".join(parts) + _dark(live))
    return drawn, f"{q_len} queries, {k_len} keys, tiles of {tile}"


def _near(predicate: Expr, call: Call, grids: tuple[Grid, ...], *, same: bool) -> tuple[str, str]:
    """The keys of the query in the middle of the last grid, image by image; those around it where there are many."""
    if call.k_len > MOST_KEYS:
        return "", ""
    grid = max(grids, key=lambda g: g.length)
    place = sum((n // 2) * math.prod(grid.sizes[i + 1 :]) for i, n in enumerate(grid.sizes))
    query = min(grid.start + place, call.q_len - 1) if same else call.q_len // 2
    images = grid.images()
    middle = min(max(0, len(images) // 2 - MOST_IMAGES // 2), max(0, len(images) - MOST_IMAGES))
    shown = images[middle : middle + MOST_IMAGES]
    if sum(positions.numel() for _, positions in shown) * _operations(predicate) > MOST_WORK:
        return "", ""
    drawn = _album([(positions, _keys(predicate, call, query, positions)) for _, positions in shown], query, same)
    some = f", {shown[0][0]} to {shown[-1][0]}" if len(shown) > 1 else ""
    return drawn, f"the keys of query {query}{some}"


def _album(images: list[tuple[Tensor, Tensor]], query: int, marked: bool) -> str:
    """Images, given as positions and which of them are seen, three in a row; the query's own token marked."""
    (height, width), across = images[0][0].shape, 1 if len(images) == 1 else 3
    gap = max(1, width // 12)
    parts = []
    for i, (positions, live) in enumerate(images):
        x, y = i % across * (width + gap), i // across * (height + gap)
        own = (positions == query).nonzero().tolist() if marked else []
        inside = _rectangle(0, 0, width, height, COLOURS[0]) + _dark(live, COLOURS[2], 1)
        inside += "".join(_rectangle(column, row, 1, 1, "#b3261e") for row, column in own)
        parts.append(f'<g transform="translate({x} {y})">{inside}</g>')
    down = math.ceil(len(images) / across)
    return _svg(across * (width + gap) - gap, down * (height + gap) - gap, "".join(parts))


def _live(predicate: Expr, call: Call) -> Tensor:
    """Which pairs of head 0 of sample 0 are live, [q_len, k_len]."""
    step, every, first = max(1, AT_ONCE // call.k_len), slice(0, call.k_len), slice(0, 1)
    rows = [slice(at, min(call.q_len, at + step)) for at in range(0, call.q_len, step)]
    return torch.cat([live_block(predicate, call, some, every, first, first)[0, 0] for some in rows])


def _keys(predicate: Expr, call: Call, query: int, positions: Tensor) -> Tensor:
    """Which keys a query of head 0 of sample 0 sees, of the shape of their positions."""
    row, zero = (torch.tensor(at, device="cpu") for at in (query, 0))
    parts = positions.flatten().split(AT_ONCE)
    live = [of_pairs(predicate, call, zero, zero, row, keys).expand(keys.shape) for keys in parts]
    return torch.cat(live).view(positions.shape)


def _svg(width: int, height: int, inside: str) -> str:
    scale = SIDE / max(width, height)
    wide, high = max(8, round(scale * width)), max(8, round(scale * height))
    size = f'viewBox="0 0 {width} {height}" width="{wide}" height="{high}"'
    return f'<svg {size} role="img" aria-label="the mask" shape-rendering="crispEdges">{inside}</svg>'


def _rectangle(x: int, y: int, width: int, height: int, colour: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{colour}"/>'


def _dark(live: Tensor, colour: str = "#000", opacity: float = 0.45) -> str:
    """Live pairs, run by run; nothing where there are too many runs."""
    runs = list(_runs(live))
    if len(runs) > MOST_RUNS:
        return ""
    path = "".join(f"M{x} {y}h{n}v1h-{n}z" for y, x, n in runs)
    return f'<path d="{path}" fill="{colour}" fill-opacity="{opacity}"/>' if path else ""


def _runs(live: Tensor) -> Iterator[tuple[int, int, int]]:
    """(row, first column, length) of every run of live pairs."""
    edges = np.diff(np.pad(live.numpy().astype(np.int8), ((0, 0), (1, 1))), axis=1)  # numpy waits for no thread, either
    for (y, x), (_, stop) in zip(np.argwhere(edges == 1), np.argwhere(edges == -1), strict=True):
        yield int(y), int(x), int(stop - x)
