"""Counting: the exact number of live pairs of a call, and the tiles that a program visits. Never S x S at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attnir.axes import KEYS, sequence
from attnir.blocks import WORKSPACE, BlockList, list_blocks
from attnir.call import Call
from attnir.evaluate import Evaluator, of_pairs, token_axes
from attnir.expr import Expr, K, Q
from attnir.labels import in_order
from attnir.ops import Side
from attnir.periods import moduli
from attnir.program import Listed, Status, TileProgram
from attnir.solve import Band, Bands, solve
from attnir.walk import runs, tile_counts, tiles_of

MOST_CLASSES = 256  # of keys by remainder, each counted on its own
TILE = 64  # rows and columns of the tiles by which pairs are counted one by one


@dataclass(frozen=True, slots=True)
class TileCounts:
    """Tiles over all samples and query heads, by what is known of them."""

    full: int
    partial: int
    empty: int


def count_tiles(program: TileProgram, call: Call, blocks: BlockList | None = None) -> TileCounts:
    """The tiles that a program visits, and those that it does not. `blocks`: its block list, if it is known."""
    return count_launches(((program,),), call, {} if blocks is None else {program: blocks})


def count_launches(
    launches: Sequence[Sequence[TileProgram]], call: Call, blocks: Mapping[TileProgram, BlockList] | None = None
) -> TileCounts:
    """The tiles that all programs of all launches visit, and those that they do not.

    A tile counts as often as it is visited: two programs may meet different pairs in one.
    """
    totals = {s: 0 for s in Status}
    copies = call.batch * call.heads
    if copies == 0:
        return TileCounts(0, 0, 0)
    for program in (p for programs in launches for p in programs):
        if program.listed:
            found = (blocks or {}).get(program) or list_blocks(program, call)
            repeats = copies // (found.shape[0] * found.shape[1])
            totals[Status.FULL] += int(found.full[0][-1]) * repeats
            totals[Status.PARTIAL] += int(found.partial[0][-1]) * repeats
            continue
        for run in runs(program, in_order(call, program.label)):
            visits = run.count
            totals[run.status] += int(visits.sum()) * (copies // (visits.shape[0] * visits.shape[1]))
    full, partial = totals[Status.FULL], totals[Status.PARTIAL]
    everywhere = sum(all_tiles(programs[0], call) for programs in launches) * copies
    return TileCounts(full, partial, max(0, everywhere - full - partial))


def all_tiles(program: TileProgram, call: Call) -> int:
    """Row tiles times as many column tiles as the columns would fill."""
    rows = math.prod(tile_counts(program.rows, call))
    return rows * tiles_of(call.length(program.columns.side), program.tile[1])


def count_live(predicate: Expr, call: Call) -> int:
    """The exact number of live pairs, over all samples and query heads.

    Row by row from the solved ranges, in O(q_len) memory, for each residue class of the keys by which a condition
    repeats. Where a condition neither bounds the keys nor repeats, pair by pair in the tiles that are neither FULL nor
    EMPTY, a bounded number at a time.
    """
    if 0 in (call.batch, call.heads, call.q_len, call.k_len):
        return 0
    bands = solve(predicate, K, Q)
    period = _period(bands)
    if period is None or not has_ranges(predicate, call):
        return _count_pairs(predicate, call)
    return sum(_count_class(bands, call, residue, period) for residue in range(period)) if bands else 0


def has_ranges(predicate: Expr, call: Call) -> bool:
    """Whether the keys of a row are ranges, for each of a few residue classes."""
    period = _period(solve(predicate, K, Q))
    return period is not None and period <= min(MOST_CLASSES, call.k_len)


def _period(bands: Bands) -> int | None:
    """A distance after which every condition on the keys that bounds none of them repeats."""
    found = [moduli(condition, K) for band in bands for condition in band.residual]
    return None if None in found else math.lcm(*(m for some in found for m in some or ()))


def _count_class(bands: Bands, call: Call, residue: int, period: int) -> int:
    """The live pairs whose key is `residue` modulo `period`."""
    lengths = _union_lengths([_row_range(b, call, residue, period) for b in bands])
    return int(lengths.sum()) * (call.batch * call.heads * call.q_len // lengths.numel())


def _row_range(band: Band, call: Call, residue: int, period: int) -> tuple[Tensor, Tensor]:
    """The band of every query, in keys of one class: the first and one past the last, [B or 1, H or 1, q_len, 1]."""
    q = call.positions(Side.QUERIES).view(1, 1, -1, 1)
    evaluate = Evaluator(call, {**token_axes(call), "q": q, "k": torch.full_like(q, residue)})
    lower, upper = band.span(KEYS.start, KEYS.stop)
    start, stop = evaluate(lower).clamp(min=0), evaluate(upper).clamp(max=call.k_len)
    for condition in band.residual:
        stop = torch.where(evaluate(condition), stop, 0)
    shape = torch.broadcast_shapes(start.shape, stop.shape, q.shape)
    start, stop = (
        torch.div(t.expand(shape) - residue + period - 1, period, rounding_mode="floor") for t in (start, stop)
    )
    return start, torch.maximum(start, stop)


def _union_lengths(ranges: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The number of keys in the union of each row's ranges."""
    shape = torch.broadcast_shapes(*(s.shape for s, _ in ranges))
    starts = torch.stack([s.expand(shape) for s, _ in ranges])
    stops = torch.stack([e.expand(shape) for _, e in ranges])
    starts, order = starts.sort(0)
    stops = stops.gather(0, order)
    total = torch.zeros(shape, dtype=torch.int64, device=starts.device)
    cursor = torch.zeros_like(total)
    for start, stop in zip(starts, stops, strict=True):
        total += (stop - torch.maximum(start, cursor)).clamp(min=0)
        cursor = torch.maximum(cursor, stop)
    return total


def _count_pairs(predicate: Expr, call: Call) -> int:
    """By tiles: the pairs of one that is FULL are not looked at."""
    listed = (Listed(Status.FULL), Listed(Status.PARTIAL))
    program = TileProgram(sequence(Side.QUERIES, TILE), sequence(Side.KEYS, TILE), predicate, (), listed)
    blocks = list_blocks(program, call)
    batch, heads, row_tiles = blocks.shape
    rows = torch.arange(batch * heads * row_tiles, device=call.device)
    heights = (call.q_len - rows % max(1, row_tiles) * TILE).clamp(max=TILE)
    total = int((blocks.full[0].diff() * heights).sum()) * TILE
    tiles = torch.stack(blocks.tiles(Status.PARTIAL), 1)
    for part in tiles.split(max(1, WORKSPACE // TILE**2)):
        row, column = part.T[..., None, None]
        member = row // row_tiles
        total += _count_in(predicate, call, member // heads, member % heads, row % row_tiles, column)
    return total * (call.batch * call.heads // (batch * heads))


def _count_in(predicate: Expr, call: Call, b: Tensor, h: Tensor, row: Tensor, column: Tensor) -> int:
    """The live pairs of tiles, given by indices [n, 1, 1]."""
    inside = torch.arange(TILE, device=call.device)
    q, k = row * TILE + inside.view(1, -1, 1), column * TILE + inside.view(1, 1, -1)
    live = of_pairs(predicate, call, b, h, q.clamp(max=call.q_len - 1), k.clamp(max=call.k_len - 1))
    return int((live & (q < call.q_len) & (k < call.k_len)).sum())
