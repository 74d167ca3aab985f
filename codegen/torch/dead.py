"""Dead pairs: the scores of pairs that the predicate rejects are pushed down to DEAD before they become weights.

Every row's top starts from FLOOR, against which DEAD weighs exactly 0. There are no infinities, so no NaN, on rows
without a live key either.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attnir.codegen.torch.operands import Unit
from attnir.codegen.torch.panels import Area, Piece
from attnir.codegen.torch.schedule import Schedule

DEAD, FLOOR = -1e30, -1e29


class DeadPairs:
    """The predicate over one unit, evaluated area by area when it is asked for; the last areas are kept."""

    def __init__(self, schedule: Schedule, unit: Unit, limit: int) -> None:
        self.schedule, self.unit, self.limit = schedule, unit, limit
        self.held: dict[Area, Tensor] = {}

    def hide(self, piece: Piece, s: Tensor) -> None:
        """Push down the dead ones of a piece's scores s [n, rows * shared, keys]."""
        if not piece.checks:
            return
        samples = self.unit.group.batches.stop - self.unit.group.batches.start
        tile = s.view(samples, -1, piece.rows[1] - piece.rows[0], self.unit.shared, s.shape[2])
        for (start, stop), area in piece.checks:
            rows = slice(piece.rows[0] - area.rows[0], piece.rows[1] - area.rows[0])
            bias = self._bias(area)[:, :, rows, :, start - area.cols[0] : stop - area.cols[0]]
            tile[..., start - piece.cols[0] : stop - piece.cols[0]].add_(bias)

    def _bias(self, area: Area) -> Tensor:
        """0 where a pair is live, else DEAD: [samples or 1, key heads or 1, rows, shared or 1, keys] of an area."""
        key = area.moved(-area.rows[0]) if self.schedule.by_distance else area
        if key not in self.held:
            if sum(held.pairs for held in (*self.held, key)) > self.limit:
                self.held.clear()
            live = self.schedule.live(self.unit.group, slice(*area.rows), slice(*area.cols))
            bias = live.view(torch.uint8).float().sub_(1).mul_(-DEAD)  # far faster than where, or from bool
            shape = (area.rows[1] - area.rows[0], area.cols[1] - area.cols[0])
            bias = bias[(None,) * (4 - bias.dim())].expand(-1, -1, *shape)
            heads = (-1, self.unit.shared) if bias.shape[1] > 1 else (1, 1)
            self.held[key] = bias.unflatten(1, heads).transpose(2, 3)
        return self.held[key]
