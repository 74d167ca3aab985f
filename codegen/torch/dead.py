"""Dead pairs: the scores of pairs that the predicate rejects are pushed down to DEAD before they become weights.

Every row's top starts from FLOOR, against which DEAD weighs exactly 0. There are no infinities, so no NaN, on rows
without a live key either.
"""

from __future__ import annotations

from torch import Tensor

from attnir.codegen.torch.operands import Unit
from attnir.codegen.torch.panels import Panel, Piece, Range
from attnir.codegen.torch.schedule import Schedule

DEAD, FLOOR = -1e30, -1e29


class DeadPairs:
    """The predicate over one panel of one unit, evaluated area by area when it is asked for."""

    def __init__(self, schedule: Schedule, unit: Unit, panel: Panel, limit: int) -> None:
        self.live, self.unit, self.rows, self.limit = schedule.live, unit, panel.rows, limit
        self.held: dict[Range, Tensor] = {}

    def hide(self, piece: Piece, s: Tensor) -> None:
        """Push down the dead ones of a piece's scores s [n, rows * shared, keys]."""
        if not piece.checks:
            return
        rows = slice(piece.rows[0] - self.rows[0], piece.rows[1] - self.rows[0])
        samples = self.unit.group.batches.stop - self.unit.group.batches.start
        tile = s.view(samples, -1, rows.stop - rows.start, self.unit.shared, s.shape[2])
        for (start, stop), area in piece.checks:
            bias = self._bias(area)[:, :, rows, :, start - area[0] : stop - area[0]]
            tile[..., start - piece.cols[0] : stop - piece.cols[0]].add_(bias.to(s.dtype))

    def _bias(self, area: Range) -> Tensor:
        """0 where a pair is live, else DEAD: [samples or 1, key heads or 1, rows of the panel, shared or 1, keys]."""
        if area not in self.held:
            height = self.rows[1] - self.rows[0]
            if height * sum(stop - start for start, stop in (*self.held, area)) > self.limit:
                self.held.clear()
            live = self.live(self.unit.group, slice(*self.rows), slice(*area))
            bias = live.float().sub_(1).mul_(-DEAD)
            bias = bias[(None,) * (4 - bias.dim())].expand(-1, -1, height, area[1] - area[0])
            heads = (-1, self.unit.shared) if bias.shape[1] > 1 else (1, 1)
            self.held[area] = bias.unflatten(1, heads).transpose(2, 3)
        return self.held[area]
