"""Dead pairs: the scores of pairs that the predicate rejects are pushed down to DEAD before they become weights.

Every row's top starts from FLOOR, against which DEAD weighs exactly 0. There are no infinities, so no NaN, on rows
without a live key either.
"""

from __future__ import annotations

from torch import Tensor

from attnir.codegen.torch.operands import Unit
from attnir.codegen.torch.panels import Area, Piece
from attnir.codegen.torch.schedule import Schedule

DEAD, FLOOR = -1e30, -1e29


class DeadPairs:
    """The predicate over one panel of one unit, evaluated area by area when it is asked for."""

    def __init__(self, schedule: Schedule, unit: Unit, limit: int) -> None:
        self.live, self.unit, self.limit = schedule.live, unit, limit
        self.held: dict[Area, Tensor] = {}

    def hide(self, piece: Piece, s: Tensor) -> None:
        """Push down the dead ones of a piece's scores s [n, rows * shared, keys]."""
        if not piece.checks:
            return
        samples = self.unit.group.batches.stop - self.unit.group.batches.start
        tile = s.view(samples, -1, piece.rows[1] - piece.rows[0], self.unit.shared, s.shape[2])
        for cols, area in piece.checks:
            rows = slice(piece.rows[0] - area.rows[0], piece.rows[1] - area.rows[0])
            bias = self._bias(area)[:, :, rows, :, cols[0] - area.cols[0] : cols[1] - area.cols[0]]
            tile[..., cols[0] - piece.cols[0] : cols[1] - piece.cols[0]].add_(bias)

    def _bias(self, area: Area) -> Tensor:
        """0 where a pair is live, else DEAD: [samples or 1, key heads or 1, rows, shared or 1, keys] of an area."""
        if area not in self.held:
            if sum(map(_size, (*self.held, area))) > self.limit:
                self.held.clear()
            live = self.live(self.unit.group, slice(*area.rows), slice(*area.cols))
            bias = live.float().sub_(1).mul_(-DEAD)  # torch.where is far slower
            shape = (area.rows[1] - area.rows[0], area.cols[1] - area.cols[0])
            bias = bias[(None,) * (4 - bias.dim())].expand(-1, -1, *shape)
            heads = (-1, self.unit.shared) if bias.shape[1] > 1 else (1, 1)
            self.held[area] = bias.unflatten(1, heads).transpose(2, 3)
        return self.held[area]


def _size(area: Area) -> int:
    return (area.rows[1] - area.rows[0]) * (area.cols[1] - area.cols[0])
