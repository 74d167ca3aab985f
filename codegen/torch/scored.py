"""Scores that change: what a step's products become before the softmax, and what gradients become on the way back.

Weights are powers of two. Where scores do not change, the products are in that unit from the start.
"""

from __future__ import annotations

import math

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
        self.unit_of_s = LOG2E if self.change is None else 1.0  # by which products are multiplied

    def changed(self, step: Step, s: Tensor) -> Tensor:
        """What becomes of a step's scores s [outer, inner, rows * shared, keys], in powers of two."""
        return s if self.change is None else self._of(self.change, step, s) * LOG2E

    def slopes(self, step: Step, s: Tensor) -> Tensor | None:
        """The derivative by the scores s before they are changed; None: 1 everywhere."""
        return None if self.slope is None else self._of(self.slope, step, s)

    def _of(self, function: Change, step: Step, s: Tensor) -> Tensor:
        """A function of every pair and its score: [outer, inner, rows * shared, keys]."""
        height, width = step.series.shape.height, step.series.shape.width
        pairs = s.unflatten(2, (-1, step.shared))
        pairs = pairs if step.by_member else pairs.transpose(0, 1)
        found = function(
            *self.unit.members(step.members, self.device),
            tokens_at(step.series.rows, height, step.group.rows, self.device).view(1, len(step.series.rows), -1, 1, 1),
            tokens_at(step.series.cols, width, step.group.keys, self.device).view(1, len(step.series.cols), 1, 1, -1),
            pairs,
        )
        found = found.expand(pairs.shape)
        return (found if step.by_member else found.transpose(0, 1)).flatten(2, 3)
