"""Walking a tile program: which tiles its row tiles visit, in one call, as tensors or as a plain loop."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnir.blocks import BlockList, list_blocks
from attnir.call import Call
from attnir.evaluate import Evaluator, dense_mask, token_axes
from attnir.program import Status, Sweep, TileProgram


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One sweep in every row tile: column tile indices [start, stop), int64 [B or 1, H or 1, row tiles]."""

    start: Tensor
    stop: Tensor
    status: Status


def tiles_of(length: int, tile: int) -> int:
    return -(-length // tile)


def tile_tokens(program: TileProgram, call: Call, row_tiles: slice | None = None) -> dict[str, Tensor]:
    """The scalars of every row tile, [1, 1, tiles, 1], and the row token itself, [1, 1, tiles, rows of a tile]."""
    axis, size = program.rows, program.tile[0]
    start, length = call.start(axis.side), call.length(axis.side)
    index = torch.arange(tiles_of(length, size), device=call.device)
    first = start + index[row_tiles or slice(None)].view(1, 1, -1, 1) * size
    last = (first + size - 1).clamp(max=start + length - 1)
    rows = torch.minimum(first + torch.arange(size, device=call.device), last)
    return {**token_axes(call), str(axis.first.value): first, str(axis.last.value): last, axis.side.value: rows}


def runs(program: TileProgram, call: Call) -> list[Run]:
    """The sweeps of a program in every row tile."""
    evaluate = Evaluator(call, tile_tokens(program, call))
    for name, value in program.lets:
        evaluate.define(name, value)
    tiles = tiles_of(call.length(program.rows.side), program.tile[0])
    found = []
    for v in program.visits:
        assert isinstance(v, Sweep), "a listed program has block lists, not runs"
        start, stop = evaluate(v.start), evaluate(v.stop)
        shape = torch.broadcast_shapes(start.shape, stop.shape, (1, 1, tiles, 1))
        start = start.expand(shape)[..., 0]
        found.append(Run(start, torch.maximum(start, stop.expand(shape)[..., 0]), v.status))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class TileMap:
    """How often each tile is visited, by status: int [B or 1, H or 1, row tiles, column tiles]."""

    full: Tensor
    partial: Tensor


def tile_map(program: TileProgram, call: Call) -> TileMap:
    """The visits of every tile. Needs memory for every tile; for pictures, tests and small sizes."""
    if program.listed:
        blocks = list_blocks(program, call)
        return TileMap(_expand_list(blocks.full, blocks), _expand_list(blocks.partial, blocks))
    columns = tiles_of(call.length(program.columns.side), program.tile[1])
    rows = tiles_of(call.length(program.rows.side), program.tile[0])
    index = torch.arange(columns, device=call.device)
    totals = {s: torch.zeros(1, 1, rows, columns, dtype=torch.int64, device=call.device) for s in Status}
    for run in runs(program, call):
        inside = (index >= run.start[..., None]) & (index < run.stop[..., None])
        totals[run.status] = totals[run.status] + inside.long()
    return TileMap(*torch.broadcast_tensors(totals[Status.FULL], totals[Status.PARTIAL]))


def _expand_list(indices: tuple[Tensor, Tensor], blocks: BlockList) -> Tensor:
    offsets, columns = indices
    b, h, rows = blocks.shape
    counts = torch.zeros(b * h * rows, blocks.columns, dtype=torch.int64, device=offsets.device)
    row = torch.repeat_interleave(torch.arange(b * h * rows, device=offsets.device), offsets.diff().long())
    counts.index_put_((row, columns.long()), torch.ones_like(row), accumulate=True)
    return counts.view(b, h, rows, blocks.columns)


def walk_pairs(program: TileProgram, call: Call) -> Tensor:
    """How often the program counts each pair as live: int [B, H, q_len, k_len]; for small sizes.

    The plain loop: in a FULL tile every pair counts, in a PARTIAL one those that the predicate allows.
    """
    tiles = tile_map(program, call)
    live = dense_mask(program.predicate, call)
    if program.transposed:
        live = live.transpose(-1, -2)
    full, partial = (_pairs(t, program.tile, live.shape[-2:]) for t in (tiles.full, tiles.partial))
    counts = (full + partial * live.long()).expand(call.batch, call.heads, -1, -1)
    return counts.transpose(-1, -2) if program.transposed else counts


def _pairs(tiles: Tensor, tile: tuple[int, int], shape: torch.Size) -> Tensor:
    spread = tiles.repeat_interleave(tile[0], -2).repeat_interleave(tile[1], -1)
    return spread[..., : shape[0], : shape[1]]
