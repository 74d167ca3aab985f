"""What a picture shows, as tensors: the tiles of every pair by status, their order, and which pairs are live."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnir.evaluate import dense_mask, live_block
from attnir.explanation import Explanation
from attnir.program import Status
from attnir.visits import RowTile, Runs, walked

CODES = {Status.PARTIAL: 1, Status.FULL: 2}


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One head of one sample.

    live      which pairs are live, bool [q_len, k_len]
    tiles     the row tiles, with what they visit
    """

    live: Tensor
    tiles: tuple[RowTile, ...]

    @property
    def status(self) -> Tensor:
        """The status of the tile of each pair, [q_len, k_len]: 0 empty, 1 partial, 2 full."""
        found = torch.zeros(self.live.shape, dtype=torch.int8, device="cpu")
        for tile in self.tiles:
            for visit in tile.visits:
                for part in _parts(found, tile.rows, visit.columns):
                    part.clamp_(min=CODES[visit.status])
        return found

    @property
    def order(self) -> Tensor:
        """The how-many-eth visit of its row tile has each pair, from 1; 0 for pairs that are not visited."""
        found = torch.zeros(self.live.shape, dtype=torch.int32, device="cpu")
        for tile in self.tiles:
            for number, visit in reversed([*enumerate(tile.visits, 1)]):  # the first visit stays
                for part in _parts(found, tile.rows, visit.columns):
                    part.fill_(number)
        return found

    @property
    def launch(self) -> Tensor:
        """Which launch has each query, [q_len], from 0."""
        found = torch.zeros(len(self.live), dtype=torch.int64, device="cpu")
        for tile in self.tiles:
            for start, stop in tile.rows:
                found[start:stop] = tile.launch
        return found

    @property
    def visited(self) -> int:
        """Pairs in visited tiles, as often as they are visited."""
        return sum(_size(tile.rows) * _size(visit.columns) for tile in self.tiles for visit in tile.visits)

    def ratio(self) -> str:
        """How much is visited, in words."""
        live, visited = int(self.live.sum()), self.visited
        return f"{visited / live:.3f} visited to a live pair" if live else f"{visited:,} visited, none live"

    def tile_of(self, query: int) -> RowTile:
        """The row tile that has a query, given by its index."""
        return next(tile for tile in self.tiles if any(start <= query < stop for start, stop in tile.rows))


def _parts(pairs: Tensor, rows: Runs, columns: Runs) -> list[Tensor]:
    return [pairs[a:b, c:d] for a, b in rows for c, d in columns]


def _size(runs: Runs) -> int:
    return sum(stop - start for start, stop in runs)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The pairs of an explained call."""

    explained: Explanation

    @property
    def live(self) -> Tensor:
        """Which pairs are live, bool [B, H, q_len, k_len]."""
        call = self.explained.call
        live = dense_mask(self.explained.attention.pattern.predicate, call)
        return live.expand(call.batch, call.heads, call.q_len, call.k_len)

    def live_of(self, sample: int, head: int) -> Tensor:
        """Which pairs of one head are live, bool [q_len, k_len]."""
        call, predicate = self.explained.call, self.explained.attention.pattern.predicate
        one = slice(sample, sample + 1), slice(head, head + 1)
        return live_block(predicate, call, slice(0, call.q_len), slice(0, call.k_len), *one)[0, 0].cpu()

    def panel(self, sample: int, head: int, live: Tensor | None = None) -> Panel:
        """The panel of one head; `live` where it is known."""
        e = self.explained
        live = self.live_of(sample, head) if live is None else live
        return Panel(live, walked(e.arrangement.taken.launches, e.call, sample, head))
