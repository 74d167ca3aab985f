"""Scores that change, weights that are not softmax's, factors: what a step's products become, and, on the way back, its
gradients.

Softmax's weights are powers of two. Where scores do not change, the products are in that unit from the start.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from attnir.codegen.torch.operands import Unit
from attnir.codegen.torch.schedule import Change, Learned, Schedule
from attnir.codegen.torch.steps import Step, tokens_at
from attnir.codegen.torch.units import LOG2E


class Scored:
    """The scores of one unit."""

    def __init__(self, schedule: Schedule, unit: Unit, device: torch.device) -> None:
        self.schedule, self.unit, self.device = schedule, unit, device
        self.unit_of_s = schedule.factor_of_s  # by which products are multiplied

    def changed(self, step: Step, s: Tensor, *, overwrite: bool) -> Tensor:
        """What becomes of a step's scores s [outer, inner, rows * shared, keys], in powers of two.

        s itself where nothing or a bias becomes of them, which is added to s. overwrite: s is not needed any more.
        """
        if self.schedule.bias is not None:
            self.add_bias(self.schedule.bias, step, s, LOG2E)
        change = self.schedule.score
        if change is None:
            return s
        found = self.of(change, step, s, overwrite=overwrite)
        return found.contiguous() if 0 in found.stride() else found  # one number may stand for many pairs

    def add_bias(self, bias: Change, step: Step, s: Tensor, unit: float) -> None:
        """Add a bias to scores of a unit."""
        pairs = self.pairs(step, s)
        in_order = step.group.rows is None and step.group.keys is None
        by_distance = self.schedule.bias_by_distance and in_order
        found = self._by_distance(bias, step, s) if by_distance else bias(*self.indices(step), pairs)
        pairs.add_(found, alpha=unit)

    def _by_distance(self, bias: Change, step: Step, s: Tensor) -> Tensor:
        """A bias that knows pairs by their distances: evaluated once for each distance.

        [matrices or 1, products or 1, rows, shared or 1, keys]. From row to row the distances move on by one key. So
        those of all rows are copied for each of them, one after another, and read so that each row begins one earlier
        in its copy than the row before.
        """
        rows, cols = step.series.rows, step.series.cols
        height, width = step.series.shape.height, step.series.shape.width
        alike = all(c - r == cols[0] - rows[0] for r, c in zip(rows, cols, strict=True))
        rows, cols = (rows[:1], cols[:1]) if alike else (rows, cols)
        count, length = len(rows), height + width - 1
        last = torch.tensor(rows, device=self.device).view(1, count, 1, 1, 1) + height - 1
        keys = tokens_at(cols, length, None, self.device).view(1, count, 1, 1, -1)
        found = bias(*self.unit.pairs(step.members, last, keys), s.new_zeros(1))
        found = found[(None,) * (5 - found.dim())].expand(-1, count, 1, -1, length).transpose(2, 3)
        whole = found.expand(-1, -1, -1, height, -1).contiguous()
        strides = (*whole.stride()[:3], length - 1, 1)
        return whole.as_strided((*whole.shape[:4], width), strides, height - 1).transpose(2, 3)

    def weights(self, step: Step, s: Tensor) -> Tensor:
        """The weights of a step's scores, where they are not softmax's; those of dead pairs may be anything."""
        assert self.schedule.weight is not None
        return self.of(self.schedule.weight, step, s).contiguous()

    def slopes(self, step: Step, s: Tensor) -> Tensor | None:
        """The derivative by the scores s before they are changed; None: 1 everywhere."""
        return None if self.schedule.slope is None else self.of(self.schedule.slope, step, s)

    def through(self, slopes: Tensor | None, ds: Tensor) -> Tensor:
        """Gradients of scores times slopes; 0 stays 0 where a slope is infinite, as on pairs that are dead."""
        return _times(ds, slopes, self.schedule.unbounded)

    def factors(self, step: Step, like: Tensor) -> Tensor | None:
        """What the weights of a step are multiplied with when they meet values; None: 1 everywhere."""
        return None if self.schedule.factor is None else self.of(self.schedule.factor, step, like)

    def counted(self, factors: Tensor | None, t: Tensor) -> Tensor:
        """Weights, or gradients of what they count, times their factors, as another tensor where there are some."""
        return t if factors is None else _times(t.clone(), factors, self.schedule.unbounded_factor)

    def learn(self, step: Step, s: Tensor, ds: Tensor, sums: Mapping[str, Tensor]) -> None:
        """Add what gradients give to the sums, float64, of each tensor that the score, or the weight, reads.

        s and ds are [outer, inner, rows * shared, keys]: scores before their change, and gradients behind it.
        """
        for one in self.schedule.learned:
            self._learn(one, step, s, ds, sums, self.schedule.unbounded)

    def learn_factors(self, step: Step, s: Tensor, p: Tensor, dp: Tensor, sums: Mapping[str, Tensor]) -> None:
        """The same of what factors read: weights p times the gradients dp of what they count with values."""
        for one in self.schedule.learned_factor:
            self._learn(one, step, s, p * dp, sums, self.schedule.unbounded_factor)

    def _learn(
        self, one: Learned, step: Step, s: Tensor, given: Tensor, sums: Mapping[str, Tensor], unbounded: bool
    ) -> None:
        """In float64 `index_put_` adds in a fixed order, on any device."""
        if one.slope is not None:
            given = _times(given.clone(), self.of(one.slope, step, s), unbounded)
        given = self.pairs(step, given)
        entry, inside = one.place(*self.indices(step))
        if inside is not None:
            given = torch.where(inside, given, 0.0)
        shape = (*[1] * (given.dim() - entry.dim()), *entry.shape)
        found = given.double().sum_to_size(shape)
        sums[one.name].index_put_((entry.flatten(),), found.flatten(), accumulate=True)

    def pairs(self, step: Step, t: Tensor) -> Tensor:
        """t [outer, inner, rows * shared, keys] as [matrices, products, rows, shared, keys]."""
        t = t.unflatten(2, (-1, step.shared))
        return t if step.by_member else t.transpose(0, 1)

    def indices(self, step: Step) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Samples, heads, rows and columns of those pairs."""
        height, width, count = step.series.shape.height, step.series.shape.width, len(step.series.rows)
        rows = tokens_at(step.series.rows, height, step.group.rows, self.device).view(1, count, -1, 1, 1)
        cols = tokens_at(step.series.cols, width, step.group.keys, self.device).view(1, count, 1, 1, -1)
        return self.unit.pairs(step.members, rows, cols)

    def of(self, function: Change, step: Step, s: Tensor, *, overwrite: bool = False) -> Tensor:
        """A function of every pair and its score: [outer, inner, rows * shared, keys]."""
        pairs = self.pairs(step, s)
        found = function(*self.indices(step), pairs, overwrite=overwrite).expand(pairs.shape)
        return (found if step.by_member else found.transpose(0, 1)).flatten(2, 3)


def _times(t: Tensor, factors: Tensor | None, unbounded: bool) -> Tensor:
    """t times factors, in its place where it can be; unbounded: 0 stays 0 where they are infinite."""
    if factors is None:
        return t
    return torch.where(t == 0.0, 0.0, t * factors) if unbounded else t.mul_(factors)
