"""Block lists: the live tiles of a predicate that no closed form bounds, found on the device and stored compressed.

Tiles are first classified from the intervals of what the predicate reads (positions, and the range of each field
within a tile), a band of row tiles at a time. Only those left open are evaluated pair by pair, a bounded number at a
time. Memory: the lists, plus a workspace of at most `WORKSPACE` elements, whatever the lengths.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from attnir.axes import SEQUENCES
from attnir.call import Call
from attnir.errors import ShapeError
from attnir.evaluate import Evaluator, token_axes
from attnir.expr import B, Expr, H, side_of
from attnir.interval import Interval
from attnir.ops import FieldDecl, ParamDecl, Side, TensorDecl
from attnir.program import TileProgram
from attnir.tile_bounds import Tensors, decide_tiles
from attnir.traverse import reads

WORKSPACE = 2**22  # elements evaluated at once


@dataclass(frozen=True, slots=True, eq=False)
class BlockList:
    """Column tiles of every row tile, by status, compressed: (offsets, indices), both int32.

    shape     (Bl, Hl, row tiles); Bl and Hl are 1 where the predicate does not depend on batch or head
    columns   how many column tiles there are
    full      indices[offsets[r] : offsets[r + 1]] are the FULL column tiles of the flat row r, ascending
    partial   the PARTIAL ones
    """

    shape: tuple[int, int, int]
    columns: int
    full: tuple[Tensor, Tensor]
    partial: tuple[Tensor, Tensor]

    @property
    def nbytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (*self.full, *self.partial))


def list_blocks(program: TileProgram, call: Call) -> BlockList:
    """Classify every tile of a program's predicate in one call."""
    return _Lister(program, call).build()


def sampled_visits(program: TileProgram, call: Call, rows: int = 5, columns: int = 4096) -> float:
    """About how many tiles a block list would have, from a few tiles of rows and of columns that follow no period."""
    lister = _Lister(program, call)
    chosen, (every, left) = _spread(lister.rows, rows), (lister.columns, _spread(lister.columns, columns))
    if len(left) < every:
        lister.keep(torch.tensor(left, device=call.device))
    visited = sum(int((lister._classify(slice(at, at + 1)) > 0).sum()) for at in chosen)
    repeats = call.batch * call.heads // (lister.batch * lister.heads)
    return visited * repeats * lister.rows / max(1, len(chosen)) * every / max(1, len(left))


def _spread(count: int, most: int) -> list[int]:
    """At most so many of the numbers below `count`, ascending, evenly apart but in no period."""
    if count <= most:
        return list(range(count))
    return sorted({int(count * ((i + 0.5) * 0.618034 % 1)) for i in range(most)})


Piece = tuple[Tensor, tuple[Tensor, ...]]


class _Lister:
    def __init__(self, program: TileProgram, call: Call) -> None:
        self.program, self.call = program, call
        self.predicate = program.predicate
        names = reads(self.predicate)
        self.batch = call.batch if "b" in names or call.fields_differ else 1
        self.heads = call.heads if "h" in names else 1
        self.rows, self.row_ends = self._ends(program.rows.side, program.tile[0])
        self.columns, self.column_ends = self._ends(program.columns.side, program.tile[1])
        self.ranges: dict[tuple[str, Side], Interval[Tensor]] = {}
        self.kept: Tensor | None = None  # of the column tiles; None: all

    def keep(self, columns: Tensor) -> None:
        """Look at some of the column tiles alone, which are numbered anew."""
        self.columns, self.kept = len(columns), columns
        self.column_ends = Interval(self.column_ends.low[columns], self.column_ends.high[columns])

    def _ends(self, side: Side, size: int) -> tuple[int, Interval[Tensor]]:
        """How many tiles a side has, and the first and last position of each."""
        start, length = self.call.start(side), self.call.length(side)
        first = start + torch.arange(0, length, size, device=self.call.device)
        return len(first), Interval(first, (first + size - 1).clamp(max=start + length - 1))

    def build(self) -> BlockList:
        pieces = [self._compress(self._classify(rows)) for rows in self._row_chunks()]
        shape = (self.batch, self.heads, self.rows)
        return BlockList(shape, self.columns, *(self._joined([p[i] for p in pieces]) for i in (0, 1)))

    def _row_chunks(self) -> Iterator[slice]:
        copies = self.batch * self.heads
        if copies == 0:
            return
        step = max(1, WORKSPACE // (copies * max(1, self.columns) * 8))
        for at in range(0, self.rows, step):
            yield slice(at, min(self.rows, at + step))

    def _compress(self, status: Tensor) -> tuple[Piece, Piece]:
        """The FULL and the PARTIAL tiles of some row tiles: counts [B, H, rows], and columns for each (b, h)."""
        found = []
        for code in (2, 1):
            tiles = status == code
            counts = tiles.sum(-1)
            columns = tiles.nonzero()[:, 3].to(torch.int32)
            found.append((counts, columns.split(counts.sum(-1).flatten().tolist())))
        return found[0], found[1]

    def _joined(self, pieces: list[Piece]) -> tuple[Tensor, Tensor]:
        """(offsets, indices) over the flat rows [B, H, all rows], from consecutive pieces of the rows."""
        offsets = torch.zeros(self.batch * self.heads * self.rows + 1, dtype=torch.int32, device=self.call.device)
        if not pieces:
            return offsets, torch.zeros(0, dtype=torch.int32, device=self.call.device)
        ends = torch.cat([counts for counts, _ in pieces], -1).flatten().cumsum(0)
        if int(ends[-1]) >= 2**31:
            raise ShapeError(
                f"a block list of {int(ends[-1])} tiles is too long; take larger tiles, or shorter sequences"
            )
        offsets[1:] = ends
        by_copy = zip(*(columns for _, columns in pieces), strict=True)
        return offsets, torch.cat([part for parts in by_copy for part in parts])

    def _classify(self, rows: slice) -> Tensor:
        """0 EMPTY, 1 PARTIAL, 2 FULL, int8 [batch, heads, rows, columns], for some row tiles."""
        can, cannot = decide_tiles(self.predicate, lambda leaf: self._leaf(leaf, rows), self.call.device)
        shape = (self.batch, self.heads, rows.stop - rows.start, self.columns)
        can, cannot = can.expand(shape), cannot.expand(shape)
        status = can.to(torch.int8) + (can & ~cannot).to(torch.int8)
        unsure = (can & cannot).nonzero()
        step = max(1, WORKSPACE // (self.program.tile[0] * self.program.tile[1]))
        for part in unsure.split(step):
            some, every = self._evaluate(part, rows.start)
            status[tuple(part.T)] = some.to(torch.int8) + every.to(torch.int8)
        ragged = self.column_ends.high - self.column_ends.low + 1 < self.program.tile[1]
        return torch.where(ragged & (status == 2), torch.ones_like(status), status)

    def _leaf(self, leaf: Expr, rows: slice) -> Interval[Tensor]:
        """The interval of a leaf over tiles, shaped [batch, heads, row tiles, column tiles]."""
        match leaf.value:
            case ParamDecl(name=name):
                return Tensors(self.call.device).point(self.call.params[name])
            case TensorDecl(name=name):
                values = self.call.tensors[name].long()[:, :, None, None]
                return Interval(values, values)
            case FieldDecl(name=name):
                return self._field(name, leaf.args[0], rows)
        if leaf is B or leaf is H:
            index = token_axes(self.call)[str(leaf)]
            return Interval(index, index)
        if leaf is SEQUENCES[self.program.rows.side].token:
            return Interval(*(e[rows].view(1, 1, -1, 1) for e in (self.row_ends.low, self.row_ends.high)))
        return Interval(*(e.view(1, 1, 1, -1) for e in (self.column_ends.low, self.column_ends.high)))

    def _field(self, name: str, token: Expr, rows: slice) -> Interval[Tensor]:
        """The smallest and largest value of a field within each tile."""
        side = side_of(token)
        is_row = side is self.program.rows.side
        if (name, side) not in self.ranges:
            values = self.call.fields[name].on(side).long()
            size = self.program.tile[0 if is_row else 1]
            count = -(-values.shape[1] // size)
            padding = values[:, -1:].expand(-1, count * size - values.shape[1])
            tiles = torch.cat([values, padding], 1).view(values.shape[0], count, size)
            if self.kept is not None and not is_row:
                tiles = tiles[:, self.kept]
            self.ranges[name, side] = Interval(tiles.amin(-1), tiles.amax(-1))
        found = self.ranges[name, side]
        if is_row:
            return Interval(*(e[:, None, rows, None] for e in (found.low, found.high)))
        return Interval(*(e[:, None, None, :] for e in (found.low, found.high)))

    def _evaluate(self, tiles: Tensor, first_row: int) -> tuple[Tensor, Tensor]:
        """(any pair live, every pair live) of tiles given as [n, (batch, head, row - first_row, column)]."""
        b, h, r, c = tiles.T
        row = _positions(self.row_ends, r + first_row, self.program.tile[0])[:, :, None]
        column = _positions(self.column_ends, c, self.program.tile[1])[:, None, :]
        names: dict[str, Tensor] = {self.program.rows.side: row, self.program.columns.side: column}
        tokens = {**names, "b": b.view(-1, 1, 1), "h": h.view(-1, 1, 1)}
        live = Evaluator(self.call, tokens)(self.predicate).expand(len(tiles), *self.program.tile)
        return live.flatten(1).any(1), live.flatten(1).all(1)


def _positions(ends: Interval[Tensor], tiles: Tensor, size: int) -> Tensor:
    """The positions of tiles, [n, size]; past the end the last position repeats, which changes no verdict."""
    first, last = ends.low[tiles, None], ends.high[tiles, None]
    return torch.minimum(first + torch.arange(size, device=tiles.device), last)
