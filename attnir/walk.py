"""Walking a tile program: which column tiles its row tiles visit, and which pairs these hold, in one call."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import torch
from torch import Tensor

from attnir.axes import Layout
from attnir.blocks import BlockList, list_blocks
from attnir.call import Call
from attnir.evaluate import Evaluator, token_axes
from attnir.labels import TOKEN, in_order
from attnir.ops import Op, Side
from attnir.program import Status, Sweep, TileProgram
from attnir.traverse import nodes


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One sweep in every row tile: column tile indices [start, stop) along each axis, int64 [B or 1, H or 1, tiles]."""

    start: tuple[Tensor, ...]
    stop: tuple[Tensor, ...]
    status: Status

    @property
    def count(self) -> Tensor:
        """How many column tiles each row tile visits."""
        sizes = (stop - start for start, stop in zip(self.start, self.stop, strict=True))
        return reduce(torch.mul, (size.clamp(min=0) for size in sizes))


def tiles_of(length: int, tile: int) -> int:
    return -(-length // tile)


def tile_tokens(rows: Layout, call: Call, among: slice | None = None, *, with_rows: bool = True) -> dict[str, Tensor]:
    """The scalars of every row tile that has rows, [1, 1, tiles, 1], and the tokens of its rows, [1, 1, tiles, rows].

    Rows past the end repeat the last one. `q` (`k`) is the position of a row. `among`: only some of the tiles.
    """
    first: dict[str, Tensor] = {}
    count = 1
    for axis, extent in zip(rows.axes, rows.box, strict=True):
        evaluate = Evaluator(call, {**token_axes(call), **first})
        start, stop = (evaluate(e).expand(1, 1, count, 1) for e in (axis.start, axis.stop))
        longest = tiles_of(int((stop - start).clamp(min=0).amax()), extent) if count else 0
        begin = start + extent * torch.arange(longest, device=call.device)  # [1, 1, tiles so far, longest]
        kept = (begin < stop).flatten()
        first = {name: t.expand(begin.shape).reshape(1, 1, -1, 1)[:, :, kept] for name, t in first.items()}
        begin, stop = (t.expand(begin.shape).reshape(1, 1, -1, 1)[:, :, kept] for t in (begin, stop))
        first[str(axis.first)] = begin
        first[str(axis.last)] = torch.minimum(begin + (extent - 1), stop - 1)
        count = int(kept.sum())
    if among is not None:
        first = {name: t[:, :, among] for name, t in first.items()}
    if not with_rows:
        return {**token_axes(call), **first}
    inside = _inside(rows, call)
    tokens = {
        str(a.token): torch.minimum(first[str(a.first)] + at, first[str(a.last)])
        for a, at in zip(rows.axes, inside, strict=True)
        if a.token is not a.first
    }
    position = Evaluator(call, {**first, **tokens})(rows.position)
    return {**token_axes(call), **first, **tokens, rows.side.value: position.expand(1, 1, -1, rows.size)}


def tile_counts(rows: Layout, call: Call) -> list[int]:
    """How many row tiles there are along each axis, at most: an axis may be longer in one class than in another.

    They follow from sizes and parameters alone, and are computed on the CPU: nothing waits for a device.
    """
    call = replace(call, device=torch.device("cpu"), fields={}, tensors={}, selections={})
    known: dict[str, Tensor] = {}
    counts = []
    for axis, extent in zip(rows.axes, rows.box, strict=True):
        evaluate = Evaluator(call, known)
        length = int((evaluate(axis.stop) - evaluate(axis.start)).clamp(min=0).amax())
        counts.append(tiles_of(length, extent))
        if axis.first is axis.token:  # one value a tile
            known[str(axis.token)] = torch.arange(max(1, length), device=call.device).view(-1, *(1,) * len(known))
    return counts


def _inside(layout: Layout, call: Call) -> list[Tensor]:
    """The offset of every token of a tile along each axis, [tokens of a tile]."""
    grids = torch.meshgrid(*(torch.arange(n, device=call.device) for n in layout.box), indexing="ij")
    return [g.flatten() for g in grids]


def scalars(program: TileProgram, call: Call) -> Evaluator:
    """An evaluator of the scalars of every row tile, with the program's lets defined."""
    return _defined(program, Evaluator(call, tile_tokens(program.rows, call)))


def sampled_scalars(program: TileProgram, call: Call, most: int) -> tuple[Evaluator, int]:
    """(the same for some row tiles, evenly apart; for how many each of them stands), about `most` of them."""
    step = max(1, math.prod(tile_counts(program.rows, call)) // most)
    reduced = any(n.op in (Op.ROWMIN, Op.ROWMAX) for n in nodes(*(value for _, value in program.lets)))
    tokens = tile_tokens(program.rows, call, slice(0, None, step), with_rows=reduced)
    return _defined(program, Evaluator(call, tokens)), step


def _defined(program: TileProgram, evaluate: Evaluator) -> Evaluator:
    for name, value in program.lets:
        evaluate.define(name, value)
    return evaluate


def runs(program: TileProgram, call: Call, evaluate: Evaluator | None = None) -> list[Run]:
    """The sweeps of a program in every row tile."""
    evaluate = evaluate or scalars(program, call)
    tiles = evaluate.tokens[str(program.rows.axes[0].first)].shape[2]
    found = []
    for v in program.visits:
        assert isinstance(v, Sweep), "a listed program has block lists, not runs"
        ends = [evaluate(e) for e in (*v.start, *v.stop)]
        shape = torch.broadcast_shapes(*(e.shape for e in ends), (1, 1, tiles, 1))
        ends = [e.expand(shape)[..., 0] for e in ends]
        start, stop = ends[: len(v.start)], ends[len(v.start) :]
        stop = [torch.maximum(a, b) for a, b in zip(start, stop, strict=True)]
        found.append(Run(tuple(start), tuple(stop), v.status))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class TileMap:
    """How often each tile is visited, by status: int [B or 1, H or 1, row tiles, column tiles]."""

    full: Tensor
    partial: Tensor


def tile_map(program: TileProgram, call: Call) -> TileMap:
    """The visits of every tile of runs of tokens. Needs memory for every tile; for tests and small sizes."""
    if program.listed:
        blocks = list_blocks(program, call)
        return TileMap(_expand_list(blocks, Status.FULL), _expand_list(blocks, Status.PARTIAL))
    columns = tiles_of(call.length(program.columns.side), program.tile[1])
    rows = tiles_of(call.length(program.rows.side), program.tile[0])
    index = torch.arange(columns, device=call.device)
    totals = {s: torch.zeros(1, 1, rows, columns, dtype=torch.int64, device=call.device) for s in Status}
    for run in runs(program, call):
        (start,), (stop,) = run.start, run.stop
        inside = (index >= start[..., None]) & (index < stop[..., None])
        totals[run.status] = totals[run.status] + inside.long()
    return TileMap(*torch.broadcast_tensors(totals[Status.FULL], totals[Status.PARTIAL]))


def _expand_list(blocks: BlockList, status: Status) -> Tensor:
    b, h, rows = blocks.shape
    row, column = blocks.tiles(status)
    counts = torch.zeros(b * h * rows, blocks.columns, dtype=torch.int64, device=row.device)
    counts.index_put_((row, column), torch.ones_like(row), accumulate=True)
    return counts.view(b, h, rows, blocks.columns)


@dataclass(frozen=True, slots=True, eq=False)
class PairMap:
    """How often a program visits each pair in a FULL and in a PARTIAL tile, and counts it as live: [B, H, q, k]."""

    full: Tensor
    partial: Tensor
    live: Tensor

    def __add__(self, other: PairMap) -> PairMap:
        return PairMap(self.full + other.full, self.partial + other.partial, self.live + other.live)


def pair_map(programs: Sequence[TileProgram], call: Call, *, strict: bool = True) -> PairMap:
    """The pairs that programs visit, summed over them; for pictures, tests and small sizes.

    The plain loop: in a FULL tile every pair counts as live, in a PARTIAL one those inside the column axes that the
    predicate allows. strict: a FULL tile across the end of the columns raises IndexError.
    """
    shape = (call.batch, call.heads, call.q_len, call.k_len)
    zero = torch.zeros(shape, dtype=torch.int64, device=call.device)
    total = PairMap(zero, zero, zero)
    for program in programs:
        found = [torch.zeros(shape, dtype=torch.int64, device=call.device) for _ in range(3)]
        if program.transposed:
            found = [t.transpose(-1, -2) for t in found]
        full, partial, live = found
        placed = in_order(call, program.label)
        for step in steps(program, placed):
            if strict and step.status is Status.FULL and bool((step.chosen & ~step.column_in).any()):
                raise IndexError(f"a FULL tile of {program.columns.side} lies across the end of the columns")
            exists = (step.row_in[..., None] & step.column_in[..., None, :]).expand(*shape[:2], -1, -1, -1)
            alive = Evaluator(placed, step.tokens)(program.predicate)
            _add(full if step.status is Status.FULL else partial, step.rows, step.columns, exists)
            _add(live, step.rows, step.columns, exists if step.status is Status.FULL else exists & alive)
        if program.transposed:
            full, partial, live = (t.transpose(-1, -2) for t in found)
        if program.label is not None:
            full, partial, live = (_of_tokens(t, placed) for t in (full, partial, live))
        total = total + PairMap(full, partial, live)
    return total


def _of_tokens(counts: Tensor, call: Call) -> Tensor:
    """Counts [B, H, q, k] of pairs of places as those of pairs of tokens."""
    found = torch.empty_like(counts)
    b = torch.arange(call.batch, device=call.device)[:, None, None]
    q, k = (call.fields[TOKEN.name].on(side).long() - call.start(side) for side in Side)
    q, k = q.expand(call.batch, -1), k.expand(call.batch, -1)
    found[b, :, q[:, :, None], k[:, None, :]] = counts.permute(0, 2, 3, 1)
    return found


def walk_pairs(program: TileProgram, call: Call) -> Tensor:
    """How often the program counts each pair as live: int [B, H, q_len, k_len]; for small sizes."""
    return pair_map((program,), call, strict=False).live


def _add(counts: Tensor, rows: Tensor, columns: Tensor, chosen: Tensor) -> None:
    """Add 1 to chosen pairs: bool [B, H, tiles, rows, columns]; rows [1, 1, tiles, rows] and columns are indices."""
    b, h, t, r, c = chosen.nonzero(as_tuple=True)
    columns = columns.expand(*chosen.shape[:3], -1)
    at = (b, h, rows[0, 0][t, r], columns[b, h, t, c])
    counts.index_put_(at, torch.ones_like(b), accumulate=True)


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """The n-th visits of all row tiles. Batch and head are axes of 1 where the tiles do not differ by them.

    chosen      which row tiles make such a visit, [B, H, tiles, 1]
    rows        the indices of a row tile's rows, [1, 1, tiles, rows], and row_in: which of them are the launch's
    columns     the indices of the visited tile's columns, [B, H, tiles, columns], and column_in: which of them exist
    tokens      what the program's predicate reads, on axes [B, H, tiles, rows, columns]
    """

    status: Status
    chosen: Tensor
    rows: Tensor
    row_in: Tensor
    columns: Tensor
    column_in: Tensor
    tokens: dict[str, Tensor]


def row_tiles(program: TileProgram, call: Call, evaluate: Evaluator) -> tuple[Tensor, Tensor]:
    """The indices of every row tile's rows, and which of them are the launch's: [1, 1, tiles, rows]."""
    rows, tokens = program.rows, evaluate.tokens
    along = [tokens[str(a.first)] + at for a, at in zip(rows.axes, _inside(rows, call), strict=True)]
    last = [tokens[str(a.last)] for a in rows.axes]
    inside = torch.stack([r <= e for r, e in zip(torch.broadcast_tensors(*along), last, strict=True)]).all(0)
    index = tokens[rows.side.value] - call.start(rows.side)
    return index, inside & evaluate(rows.among) & (index >= 0) & (index < call.length(rows.side))


def steps(program: TileProgram, call: Call) -> Iterator[Step]:
    """The visits of a program, the n-th of all row tiles together, sweep by sweep in the order of the program."""
    evaluate = scalars(program, call)
    columns, tokens = program.columns, dict(evaluate.tokens)
    rows, row_in = row_tiles(program, call, evaluate)
    starts, stops = (
        [evaluate(e) for e in ends] for ends in ([a.start for a in columns.axes], [a.stop for a in columns.axes])
    )
    inside = _inside(columns, call)
    for status, tile, chosen in _visits(program, call, evaluate):
        at = {
            str(a.token): start + index * extent + offset
            for a, start, index, extent, offset in zip(columns.axes, starts, tile, columns.box, inside, strict=True)
        }
        column_in = chosen
        for a, start, stop in zip(columns.axes, starts, stops, strict=True):
            column_in = column_in & (at[str(a.token)] >= start) & (at[str(a.token)] < stop)
        index = Evaluator(call, {**tokens, **at})(columns.position) - call.start(columns.side)
        index = index.expand(torch.broadcast_shapes(index.shape, (*chosen.shape[:-1], columns.size)))
        pairs = {name: t[..., None] for name, t in tokens.items()}
        pairs |= {name: t[..., None, :] for name, t in at.items()}
        existing = index[..., None, :].clamp(0, max(0, call.length(columns.side) - 1))
        pairs[columns.side.value] = existing + call.start(columns.side)
        yield Step(status, chosen, rows, row_in, index, column_in, pairs)


def _visits(program: TileProgram, call: Call, evaluate: Evaluator) -> Iterator[tuple[Status, list[Tensor], Tensor]]:
    """(status, tile index along each axis, which row tiles visit it) of the n-th visits of all row tiles."""
    if program.listed:
        tiles = tile_map(program, call)
        for status, counts in ((Status.FULL, tiles.full), (Status.PARTIAL, tiles.partial)):
            for n in range(counts.shape[-1]):
                if bool((counts[..., n] > 0).any()):
                    yield status, [torch.full((1, 1, 1, 1), n, device=call.device)], (counts[..., n] > 0)[..., None]
        return
    for run in runs(program, call, evaluate):
        sizes = [stop - start for start, stop in zip(run.start, run.stop, strict=True)]
        for n in range(int(run.count.amax()) if run.count.numel() else 0):
            rest = torch.full_like(run.count, n)
            tile: list[Tensor] = []
            for start, size in zip(reversed(run.start), reversed(sizes), strict=True):
                safe = size.clamp(min=1)
                tile.insert(0, (start + rest % safe)[..., None])
                rest = torch.div(rest, safe, rounding_mode="floor")
            yield run.status, tile, (n < run.count)[..., None]
