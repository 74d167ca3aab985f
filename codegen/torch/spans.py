"""What a launch visits, as one table: a row for each run of keys that a tile of queries visits, whoever's it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray

from attnir.blocks import BlockList
from attnir.call import Call
from attnir.codegen.lists import block_list
from attnir.codegen.torch.schedule import Indices, Span, Visit
from attnir.program import Status, TileProgram
from attnir.walk import runs, tiles_of


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """Runs of keys, by member, tile and first key; those of one status that touch are one.

    shape: (B or 1, H or 1), and `member` is a flat index of it; tiles: how many each member has, of `height` queries;
    start, stop: the keys, by their places; full: every pair is live, else the predicate decides. listed: they come
    from a list of tiles, in no regular steps.
    """

    listed: bool
    shape: tuple[int, int]
    tiles: int
    height: int
    member: Indices
    tile: Indices
    start: Indices
    stop: Indices
    full: NDArray[np.bool_]

    @property
    def width(self) -> float:
        """Keys of a run, on average."""
        return float((self.stop - self.start).mean()) if len(self.start) else 0.0

    def visits(self, q_len: int) -> list[tuple[Visit, ...]]:
        """The visits of every member, among so many queries."""
        count = self.shape[0] * self.shape[1]
        spans: list[list[list[Span]]] = [[[] for _ in range(self.tiles)] for _ in range(count)]
        columns = (c.tolist() for c in (self.member, self.tile, self.start, self.stop, self.full))
        for member, tile, start, stop, full in zip(*columns, strict=True):
            spans[member][tile].append(Span(start, stop, full))
        ends = [(t * self.height, min((t + 1) * self.height, q_len)) for t in range(self.tiles)]
        return [tuple(Visit(*e, tuple(s)) for e, s in zip(ends, found, strict=True)) for found in spans]


def spans(program: TileProgram, call: Call) -> Spans:
    """The runs of a program whose tiles are runs of tokens; of places, where the call is in the order of a label."""
    shape, tiles, columns = _listed(block_list(program, call)) if program.listed else _swept(program, call)
    kept = np.flatnonzero(columns[2] < columns[3])
    kept = kept[np.lexsort(tuple(c[kept] for c in columns[2::-1]))]
    member, tile, start, stop = (c[kept] for c in columns[:4])
    full = columns[4][kept]
    touches = (member[1:] == member[:-1]) & (tile[1:] == tile[:-1]) & (full[1:] == full[:-1]) & (start[1:] == stop[:-1])
    first, last = np.append(True, ~touches)[: len(start)], np.append(~touches, True)[: len(start)]
    width = program.tile[1]
    return Spans(
        program.listed,
        shape,
        tiles,
        program.tile[0],
        member[first],
        tile[first],
        start[first] * width,
        np.minimum(stop[last] * width, call.k_len),
        full[first],
    )


Columns = tuple[Indices, Indices, Indices, Indices, NDArray[np.bool_]]  # member, row tile, column tiles, full


def _swept(program: TileProgram, call: Call) -> tuple[tuple[int, int], int, Columns]:
    tiles = tiles_of(call.q_len, program.tile[0])
    found = runs(program, call)
    ends = [t for r in found for t in (r.start[0], r.stop[0])]
    shape = reduce(torch.broadcast_shapes, (t.shape for t in ends), torch.Size((1, 1, tiles)))
    values = np.stack([t.expand(shape).cpu().numpy() for t in ends] or [np.zeros((0, *shape), dtype=np.int64)])
    values = values.reshape(len(found), 2, shape[0] * shape[1] * tiles)
    place = np.broadcast_to(np.arange(values.shape[2]), (len(found), values.shape[2])).ravel()
    full = np.repeat([r.status is Status.FULL for r in found], values.shape[2]).astype(bool)
    columns = (place // tiles, place % tiles, values[:, 0].ravel(), values[:, 1].ravel(), full)
    return (shape[0], shape[1]), tiles, columns


def _listed(blocks: BlockList) -> tuple[tuple[int, int], int, Columns]:
    batch, heads, tiles = blocks.shape
    rows, columns, full = [], [], []
    for (offsets, indices), status in ((blocks.full, True), (blocks.partial, False)):
        bounds = offsets.cpu().numpy().astype(np.int64)
        rows.append(np.repeat(np.arange(len(bounds) - 1), np.diff(bounds)))
        columns.append(indices.cpu().numpy().astype(np.int64)[: bounds[-1]])
        full.append(np.full(int(bounds[-1]), status))
    place, column = np.concatenate(rows), np.concatenate(columns)
    return (batch, heads), tiles, (place // tiles, place % tiles, column, column + 1, np.concatenate(full))
