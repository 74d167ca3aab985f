"""Block lists: the live tiles of a predicate that no closed form bounds, found on the device and stored compressed.

Tiles are first classified from the intervals of what the predicate reads (positions, and the range of each field
within a tile), a band of row tiles at a time. Only those left open are evaluated pair by pair, a bounded number at a
time. Memory: the lists, plus a workspace of `WORKSPACE` elements, or what one row of tiles of every sample and head is
classified in.

Where nothing is live but what a selection lists (`listing.py`), the tiles are those of its lists: no others are looked
at, so time and memory are linear in their lengths. Of these none is evaluated, so that nothing waits for the device:
one that is not proved FULL or EMPTY is PARTIAL.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attnir.axes import SEQUENCES
from attnir.bounder import Bounder
from attnir.call import Call
from attnir.errors import ShapeError
from attnir.evaluate import Evaluator
from attnir.expr import B, Expr, H, side_of
from attnir.interval import Interval
from attnir.listing import Listing, listed_tiles, listing_of, tile_ends
from attnir.ops import FieldDecl, ParamDecl, SelectionDecl, Side, TensorDecl
from attnir.program import Status, TileProgram
from attnir.selections import rank
from attnir.tile_bounds import Tensors, decide_tiles
from attnir.traverse import reads, unit_size

FEW = 16  # columns of tiles that are looked at where chance says which of them are live
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

    def tiles(self, status: Status) -> tuple[Tensor, Tensor]:
        """(flat row, column) of every tile of a status, int64. Waits for the device, where room may be left behind."""
        offsets, indices = self.full if status is Status.FULL else self.partial
        rows = torch.repeat_interleave(torch.arange(len(offsets) - 1, device=offsets.device), offsets.diff().long())
        return rows, indices[: len(rows)].long()

    @property
    def nbytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (*self.full, *self.partial))


def list_blocks(program: TileProgram, call: Call) -> BlockList:
    """Classify every tile of a program's predicate in one call."""
    return _Lister(program, call).build()


def sampled_visits(program: TileProgram, call: Call, rows: int = 5, columns: int = 4096) -> float:
    """About how many tiles a block list would have, from a few tiles of rows and of columns that follow no period."""
    lister = _Lister(program, call)
    if lister.listing is not None:
        of_first = {name: lists[:1, :1] for name, lists in call.selections.items()}
        blocks = _Lister(program, replace(call, batch=1, heads=1, selections=of_first)).build()
        return float(sum(int(offsets[-1]) for offsets, _ in (blocks.full, blocks.partial)) * call.batch * call.heads)
    if call.selections:  # their members come from everywhere in a nominal call: few tiles say as much as many
        columns = FEW
    chosen, (every, left) = _spread(lister.rows, rows), (lister.columns, _spread(lister.columns, columns))
    if len(left) < every:
        lister.keep(torch.tensor(left, device=call.device))
    visited = sum(int((lister.classify(lister.band(slice(at, at + 1))) > 0).sum()) for at in chosen)
    repeats = call.batch * call.heads // (lister.batch * lister.heads)
    return visited * repeats * lister.rows / max(1, len(chosen)) * every / max(1, len(left))


def _spread(count: int, most: int) -> list[int]:
    """At most so many of the numbers below `count`, ascending, evenly apart but in no period."""
    if count <= most:
        return list(range(count))
    return sorted({int(count * ((i + 0.5) * 0.618034 % 1)) for i in range(most)})


Piece = tuple[Tensor, tuple[Tensor, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class _Tiles:
    """Tiles, by the indices of their samples, heads, rows and columns, int64 of shapes that broadcast."""

    samples: Tensor
    heads: Tensor
    rows: Tensor
    columns: Tensor

    @property
    def shape(self) -> torch.Size:
        return torch.Size(torch.broadcast_shapes(*(t.shape for t in self.each)))

    @property
    def each(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.samples, self.heads, self.rows, self.columns

    def at(self, chosen: tuple[Tensor, ...]) -> _Tiles:
        """Some of them, as vectors."""
        return _Tiles(*(t.expand(self.shape)[chosen] for t in self.each))

    def side(self, *, is_row: bool) -> Tensor:
        return self.rows if is_row else self.columns


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
        self.listing = listing_of(self.predicate)

    def keep(self, columns: Tensor) -> None:
        """Look at some of the column tiles alone, which are numbered anew."""
        self.columns, self.kept = len(columns), columns
        self.column_ends = Interval(self.column_ends.low[columns], self.column_ends.high[columns])

    def _ends(self, side: Side, size: int) -> tuple[int, Interval[Tensor]]:
        """How many tiles a side has, and the first and last position of each."""
        found = tile_ends(self.call, side, size)
        return len(found.low), found

    def build(self) -> BlockList:
        shape = (self.batch, self.heads, self.rows)
        if self.listing is not None:
            return BlockList(shape, self.columns, *self._of_selection(self.listing))
        pieces = [self._compress(self.classify(self.band(rows))) for rows in self._row_chunks()]
        return BlockList(shape, self.columns, *(self._joined([p[i] for p in pieces]) for i in (0, 1)))

    def band(self, rows: slice) -> _Tiles:
        """All tiles of some rows, on axes [batch, heads, row tiles, column tiles]."""
        sizes = (self.batch, self.heads, self.rows, self.columns)
        found = []
        for axis, size in enumerate(sizes):
            shape = [1, 1, 1, 1]
            shape[axis] = -1
            index = torch.arange(size, device=self.call.device)
            found.append((index[rows] if axis == 2 else index).view(shape))
        return _Tiles(*found)

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

    def _of_selection(self, listing: Listing) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """The FULL and the PARTIAL tiles among those that a selection lists, as (offsets, indices) each."""
        found = listed_tiles(listing, self.program, self.call)  # row * columns + column, ascending, [B or 1, H or 1, n]
        none, columns = self.rows * self.columns, max(1, self.columns)
        code = found.expand(self.batch, self.heads, -1)
        kept = (code < none) & (code != torch.nn.functional.pad(code, (1, 0), value=-1)[..., :-1])
        row = torch.div(code, columns, rounding_mode="floor").clamp(max=max(0, self.rows - 1))
        every = self.band(slice(0, 0))
        tiles = _Tiles(every.samples[..., 0], every.heads[..., 0], row, code % columns)
        status = self.classify(tiles) if code.numel() else code
        copies = torch.arange(self.batch * self.heads, device=self.call.device).view(self.batch, self.heads, 1)
        place = (copies * self.rows + row).flatten()
        full, partial = (
            _compressed(
                place, tiles.columns.flatten(), (kept & (status == wanted)).flatten(), copies.numel() * self.rows
            )
            for wanted in (2, 1)
        )
        return full, partial

    def classify(self, tiles: _Tiles) -> Tensor:
        """0 EMPTY, 1 PARTIAL, 2 FULL, int8 of the shape of the tiles."""
        can, cannot = decide_tiles(self.predicate, lambda leaf: self._leaf(leaf, tiles), self.call.device)
        can, cannot = can.expand(tiles.shape), cannot.expand(tiles.shape)
        status = can.to(torch.int8) + (can & ~cannot).to(torch.int8)
        if self.listing is None:  # else the tiles are few, and what is not proved of them is checked in the kernel
            step = max(1, WORKSPACE // (self.program.tile[0] * self.program.tile[1]))
            for part in (can & cannot).nonzero().split(step):
                chosen = tuple(part.T)
                some, every = self._evaluate(tiles.at(chosen))
                status[chosen] = some.to(torch.int8) + every.to(torch.int8)
        width = (self.column_ends.high - self.column_ends.low + 1)[tiles.columns]
        return torch.where((width < self.program.tile[1]) & (status == 2), torch.ones_like(status), status)

    def _leaf(self, leaf: Expr, tiles: _Tiles) -> Interval[Tensor]:
        """The interval of a leaf over tiles."""
        match leaf.value:
            case ParamDecl(name=name):
                return Tensors(self.call.device).point(self.call.params[name])
            case TensorDecl(name=name):
                values = self.call.tensors[name].long()
                values = values[_shared(tiles.samples, values.shape[0]), _shared(tiles.heads, values.shape[1])]
                return Interval(values, values)
            case FieldDecl(name=name):
                return self._field(name, leaf.args[0], tiles)
            case SelectionDecl(name=name):
                return self._rank(self.call.selections[name], leaf.args[0], leaf.args[1], tiles)
        if leaf is B or leaf is H:
            index = tiles.samples if leaf is B else tiles.heads
            return Interval(index, index)
        is_row = leaf is SEQUENCES[self.program.rows.side].token
        ends, at = self.row_ends if is_row else self.column_ends, tiles.side(is_row=is_row)
        return Interval(ends.low[at], ends.high[at])

    def _field(self, name: str, token: Expr, tiles: _Tiles) -> Interval[Tensor]:
        """The smallest and largest value of a field within each tile."""
        side = side_of(token)
        is_row = side is self.program.rows.side
        if (name, side) not in self.ranges:
            values = self.call.fields[name].on(side).long()
            size = self.program.tile[0 if is_row else 1]
            count = -(-values.shape[1] // size)
            padding = values[:, -1:].expand(-1, count * size - values.shape[1])
            cut = torch.cat([values, padding], 1).view(values.shape[0], count, size)
            if self.kept is not None and not is_row:
                cut = cut[:, self.kept]
            self.ranges[name, side] = Interval(cut.amin(-1), cut.amax(-1))
        found = self.ranges[name, side]
        at = _shared(tiles.samples, found.low.shape[0]), tiles.side(is_row=is_row)
        return Interval(found.low[at], found.high[at])

    def _rank(self, lists: Tensor, at: Expr, member: Expr, tiles: _Tiles) -> Interval[Tensor]:
        """The place of a member in a list over each tile: known where it asks for one member of one list."""
        most = torch.full_like(tiles.rows, lists.shape[3])
        if any(self._varies(index) for index in (at, member)):  # to look it up would take all places of each list
            return Interval(torch.zeros_like(most), most)
        bounder = Bounder(Tensors(self.call.device), lambda leaf: self._leaf(leaf, tiles))
        of_list, wanted = bounder.integer(at), bounder.integer(member)
        known = (of_list.low == of_list.high) & (wanted.low == wanted.high)
        place = rank(lists, tiles.samples, tiles.heads, of_list.low, wanted.low)
        return Interval(torch.where(known, place, 0), torch.where(known, place, most))

    def _varies(self, index: Expr) -> bool:
        """Whether there are several units of tokens in a tile, of which an index is the number."""
        sides = zip((self.program.rows, self.program.columns), self.program.tile, strict=True)
        sizes = ((unit_size(index, SEQUENCES[axis.side].token), tokens) for axis, tokens in sides)
        return any(unit is not None and unit < tokens for unit, tokens in sizes)

    def _evaluate(self, tiles: _Tiles) -> tuple[Tensor, Tensor]:
        """(any pair live, every pair live) of tiles that are given as vectors."""
        row = _positions(self.row_ends, tiles.rows, self.program.tile[0])[:, :, None]
        column = _positions(self.column_ends, tiles.columns, self.program.tile[1])[:, None, :]
        names: dict[str, Tensor] = {self.program.rows.side: row, self.program.columns.side: column}
        tokens = {**names, "b": tiles.samples.view(-1, 1, 1), "h": tiles.heads.view(-1, 1, 1)}
        live = Evaluator(self.call, tokens)(self.predicate).expand(len(tiles.rows), *self.program.tile)
        return live.flatten(1).any(1), live.flatten(1).all(1)


def _shared(index: Tensor, size: int) -> Tensor:
    """An index along an axis on which 1 stands for all."""
    return index if size > 1 else torch.zeros_like(index)


def _compressed(row: Tensor, column: Tensor, chosen: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """(offsets, indices) of the chosen ones among tiles that are sorted by their rows; nothing waits for the device.

    On a GPU the indices have room for all of them.
    """
    counts = torch.zeros(rows, dtype=torch.int64, device=row.device).scatter_add_(0, row, chosen.long())
    offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0)).to(torch.int32)
    place = torch.where(chosen, chosen.cumsum(0) - 1, len(row))
    indices = torch.zeros(len(row) + 1, dtype=torch.int32, device=row.device).scatter_(0, place, column.to(torch.int32))
    return offsets, indices[: int(offsets[-1])] if row.device.type == "cpu" else indices[:-1]


def _positions(ends: Interval[Tensor], tiles: Tensor, size: int) -> Tensor:
    """The positions of tiles, [n, size]; past the end the last position repeats, which changes no verdict."""
    first, last = ends.low[tiles, None], ends.high[tiles, None]
    return torch.minimum(first + torch.arange(size, device=tiles.device), last)
