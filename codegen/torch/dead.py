"""Dead pairs: the scores of pairs that the predicate rejects are pushed down to DEAD before they become weights.

A predicate that knows a pair by its distance alone is evaluated once, on a strip: some rows against every distance that
occurs. The places of all products are slices of it.

Every row's top starts from FLOOR, against which DEAD weighs exactly 0. There are no infinities, so no NaN, on rows
without a live key either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from attnir.codegen.torch.operands import Unit
from attnir.codegen.torch.schedule import Schedule
from attnir.codegen.torch.series import NOTHING, Range, Series
from attnir.codegen.torch.steps import Step, tokens_at

DEAD, FLOOR = -1e30, -1e29
LONGEST = 8  # times what is held at once, for a strip


class DeadPairs:
    """The predicate over one unit, evaluated when it is asked for; the last results are kept."""

    def __init__(
        self, schedule: Schedule, unit: Unit, found: Sequence[Series], limit: int, device: torch.device
    ) -> None:
        self.schedule, self.unit, self.limit, self.device = schedule, unit, limit, device
        self.held: dict[object, Tensor] = {}
        in_order = unit.group.rows is None and unit.group.keys is None
        self.distances = _distances(found) if schedule.by_distance and in_order else NOTHING
        self.height = max((s.shape.height for s in found if s.shape.checks), default=0)
        if self.height * (self.distances[1] - self.distances[0]) > LONGEST * limit:
            self.distances = NOTHING

    def hide(self, step: Step, s: Tensor) -> None:
        """Push down the dead ones of a step's scores s [outer, inner, rows * shared, keys]."""
        for place, bias in self._places(step, s):
            if self.schedule.unbounded:  # what is infinite stays so, whatever is added
                place.masked_fill_(bias != 0.0, DEAD)
            else:
                place.add_(bias)

    def clear(self, step: Step, weights: Tensor) -> None:
        """Make those of dead pairs 0, of a step's weights, or of their gradients."""
        for place, bias in self._places(step, weights):
            place.masked_fill_(bias != 0.0, 0.0)

    def _places(self, step: Step, t: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """What is checked, as views, and 0 where it is live."""
        for check in step.series.shape.checks:
            bias = self._bias(step, check)
            yield (
                t.unflatten(2, (-1, step.shared))[..., slice(*check)],
                bias if step.by_member else bias.transpose(0, 1),
            )

    def _bias(self, step: Step, check: Range) -> Tensor:
        """0 where a pair is live, else DEAD: [matrices or 1, products or 1, rows, shared or 1, keys]."""
        rows, cols, height = step.series.rows, step.series.cols, step.series.shape.height
        members = (step.members.start, step.members.stop) if self.schedule.by_member else None
        distance = cols[0] - rows[0]
        if self.distances != NOTHING and all(c - r == distance for r, c in zip(rows, cols, strict=True)):
            first, last = self.distances
            strip = self._kept(("strip", members), step, (0,), [first], (self.height, last - first))
            return strip[:, :, :height, :, distance + check[0] - first : distance + check[1] - first]
        area = (height, check[1] - check[0])
        return self._kept((rows, cols, check, members, area), step, rows, [c + check[0] for c in cols], area)

    def _kept(self, key: object, step: Step, rows: Sequence[int], cols: Sequence[int], area: tuple[int, int]) -> Tensor:
        """The bias of areas (rows, keys) at some places."""
        if key not in self.held:
            bias = self._evaluated(step, rows, cols, area)
            if sum(held.numel() for held in self.held.values()) + bias.numel() > self.limit:
                self.held.clear()
            self.held[key] = bias
        return self.held[key]

    def _evaluated(self, step: Step, rows: Sequence[int], cols: Sequence[int], area: tuple[int, int]) -> Tensor:
        at_rows = tokens_at(rows, area[0], self.unit.group.rows, self.device).view(1, len(rows), -1, 1, 1)
        at_cols = tokens_at(cols, area[1], self.unit.group.keys, self.device).view(1, len(cols), 1, 1, -1)
        members = step.members if self.schedule.by_member else slice(0, 1)
        found = self.unit.pairs(members, at_rows, at_cols)
        live = self.schedule.live(*(found if self.schedule.by_member else (t[..., :1, :] for t in found)))
        live = live[(None,) * (5 - live.dim())].expand(-1, -1, area[0], -1, area[1])
        return live.contiguous().view(torch.uint8).float().sub_(1).mul_(-DEAD)  # far faster than where, or from bool


def _distances(found: Sequence[Series]) -> Range:
    """From the least distance from a product's first row to a key that is checked, to one past the greatest."""
    least, most = 0, 0
    for s in found:
        if s.shape.checks:
            start, stop = s.shape.checks[0][0], s.shape.checks[-1][1]
            least = min(least, *(c - r + start for r, c in zip(s.rows, s.cols, strict=True)))
            most = max(most, *(c - r + stop for r, c in zip(s.rows, s.cols, strict=True)))
    return least, most
