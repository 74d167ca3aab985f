"""Dead pairs: the scores of pairs that the predicate rejects are pushed down to DEAD before they become weights.

Every row's top starts from FLOOR, against which DEAD weighs exactly 0. There are no infinities, so no NaN, on rows
without a live key either.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attnir.codegen.torch.operands import Unit
from attnir.codegen.torch.schedule import Schedule
from attnir.codegen.torch.series import Range
from attnir.codegen.torch.steps import Step

DEAD, FLOOR = -1e30, -1e29


class DeadPairs:
    """The predicate over one unit, evaluated when it is asked for; the last results are kept."""

    def __init__(self, schedule: Schedule, unit: Unit, limit: int, device: torch.device) -> None:
        self.schedule, self.unit, self.limit, self.device = schedule, unit, limit, device
        self.held: dict[object, Tensor] = {}

    def hide(self, step: Step, s: Tensor) -> None:
        """Push down the dead ones of a step's scores s [outer, inner, rows * shared, keys]."""
        for start, stop in step.series.shape.checks:
            bias = self._bias(step, (start, stop))
            bias = bias if step.by_member else bias.transpose(0, 1)
            s.unflatten(2, (-1, step.shared))[..., start:stop].add_(bias)

    def _bias(self, step: Step, check: Range) -> Tensor:
        """0 where a pair is live, else DEAD: [matrices or 1, products or 1, rows, shared or 1, keys]."""
        rows, cols, height = step.series.rows, step.series.cols, step.series.shape.height
        members = (step.members.start, step.members.stop) if self.schedule.by_member else None
        key: object = (rows, cols, height, check, members)
        if self.schedule.by_distance and len({c - r for r, c in zip(rows, cols, strict=True)}) == 1:
            rows, cols = rows[:1], cols[:1]
            key = (cols[0] - rows[0], height, check, members)
        if key not in self.held:
            bias = self._evaluated(step, rows, [c + check[0] for c in cols], check[1] - check[0])
            if sum(held.numel() for held in self.held.values()) + bias.numel() > self.limit:
                self.held.clear()
            self.held[key] = bias
        return self.held[key]

    def _evaluated(self, step: Step, rows: tuple[int, ...], cols: list[int], width: int) -> Tensor:
        samples, heads = self.unit.members(step.members, self.device)
        if not self.schedule.by_member:
            samples, heads = samples[:1], heads[:1, ..., :1, :]
        live = self.schedule.live(
            samples,
            heads,
            self._tokens(rows, step.series.shape.height).view(1, len(rows), -1, 1, 1),
            self._tokens(cols, width).view(1, len(cols), 1, 1, width),
        )
        live = live[(None,) * (5 - live.dim())].expand(-1, -1, step.series.shape.height, -1, width)
        return live.contiguous().view(torch.uint8).float().sub_(1).mul_(-DEAD)  # far faster than where, or from bool

    def _tokens(self, places: tuple[int, ...] | list[int], length: int) -> Tensor:
        first = torch.tensor(places, device=self.device)
        return first[:, None] + torch.arange(length, device=self.device)
