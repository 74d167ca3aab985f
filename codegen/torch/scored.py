"""Scores that change: what a step's products become before the softmax, and what gradients become on the way back.

Weights are powers of two. Where scores do not change, the products are in that unit from the start.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from attnir.codegen.torch.operands import Unit
from attnir.codegen.torch.schedule import Change, Schedule
from attnir.codegen.torch.steps import Step, tokens_at

LOG2E = math.log2(math.e)


class Scored:
    """The scores of one unit."""

    def __init__(self, schedule: Schedule, unit: Unit, device: torch.device) -> None:
        self.change, self.slope, self.unit, self.device = schedule.score, schedule.slope, unit, device
        self.unbounded, self.learned = schedule.unbounded, schedule.learned
        self.unit_of_s = LOG2E if self.change is None else 1.0  # by which products are multiplied

    def changed(self, step: Step, s: Tensor) -> Tensor:
        """What becomes of a step's scores s [outer, inner, rows * shared, keys], in powers of two."""
        return s if self.change is None else self._of(self.change, step, s) * LOG2E

    def slopes(self, step: Step, s: Tensor) -> Tensor | None:
        """The derivative by the scores s before they are changed; None: 1 everywhere."""
        return None if self.slope is None else self._of(self.slope, step, s)

    def through(self, slopes: Tensor | None, ds: Tensor) -> Tensor:
        """Gradients of scores times slopes; 0 stays 0 where a slope is infinite, as on pairs that are dead."""
        if slopes is None:
            return ds
        return torch.where(ds == 0.0, 0.0, ds * slopes) if self.unbounded else ds.mul_(slopes)

    def learn(self, step: Step, s: Tensor, ds: Tensor, sums: Mapping[str, Tensor]) -> None:
        """Add what the gradients ds of a step's changed scores give to the sums, float64, of each learned tensor.

        s and ds are [outer, inner, rows * shared, keys], s from before the change. In float64 `index_put_` adds in a
        fixed order, on any device.
        """
        for one in self.learned:
            slopes = None if one.slope is None else self._of(one.slope, step, s)
            given = self.through(slopes, ds.clone() if slopes is not None else ds)
            given = self._pairs(step, given)
            entry, inside = one.place(*self._indices(step))
            if inside is not None:
                given = torch.where(inside, given, 0.0)
            shape = (*[1] * (given.dim() - entry.dim()), *entry.shape)
            found = given.double().sum_to_size(shape)
            sums[one.name].index_put_((entry.flatten(),), found.flatten(), accumulate=True)

    def _pairs(self, step: Step, t: Tensor) -> Tensor:
        """t [outer, inner, rows * shared, keys] as [matrices, products, rows, shared, keys]."""
        t = t.unflatten(2, (-1, step.shared))
        return t if step.by_member else t.transpose(0, 1)

    def _indices(self, step: Step) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Samples, heads, rows and columns of those pairs."""
        height, width, count = step.series.shape.height, step.series.shape.width, len(step.series.rows)
        samples, heads = self.unit.members(step.members, self.device)
        rows = tokens_at(step.series.rows, height, step.group.rows, self.device).view(1, count, -1, 1, 1)
        return (
            samples,
            heads,
            rows,
            tokens_at(step.series.cols, width, step.group.keys, self.device).view(1, count, 1, 1, -1),
        )

    def _of(self, function: Change, step: Step, s: Tensor) -> Tensor:
        """A function of every pair and its score: [outer, inner, rows * shared, keys]."""
        pairs = self._pairs(step, s)
        found = function(*self._indices(step), pairs).expand(pairs.shape)
        return (found if step.by_member else found.transpose(0, 1)).flatten(2, 3)
