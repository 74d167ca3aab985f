"""The forward: online softmax, or sums of other weights, over the live keys of each row, step by step.

A weight is exp2(score - top). Rows hold the sum of the weights and the weighted sum of values. In general top is the
largest score that a row has met; when a larger one comes, what the row holds fades. Rows are *calm* when the lengths of
queries and keys, and what becomes of scores, prove that none leaves [-CALM, CALM]: then top is 0, nothing is searched
for, and nothing fades. So it is of weights that are no softmax. Where the products are calm, and what becomes of them
may not be, as a bias of far keys, rows are taken for calm as well; should the sums in the end say that they were not,
they are done again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from attnir.codegen.torch import products
from attnir.codegen.torch.budget import budget_on
from attnir.codegen.torch.dead import FLOOR, DeadPairs
from attnir.codegen.torch.landmarks import by_landmarks
from attnir.codegen.torch.operands import Batches, Unit, Workspace, compute_dtype, each, matrices, put, sums, units
from attnir.codegen.torch.schedule import Schedule
from attnir.codegen.torch.scored import Scored
from attnir.codegen.torch.series import Range, Series, keys_met, series
from attnir.codegen.torch.steps import Step, copied, exact, steps
from attnir.codegen.torch.units import LOG2E

LN2 = math.log(2)
CALM = 32.0  # weights, their sums, and their products with values stay far from float32's ends, 2 ** -126 and 2 ** 128


@exact
def forward(q: Tensor, k: Tensor, v: Tensor, schedule: Schedule, scale: float) -> tuple[Tensor, Tensor]:
    """Attention over the schedule's live pairs.

    q [B, Hq, Sq, D], k [B, Hk, Sk, D], v [B, Hv, Sk, Dv] of one dtype, any strides; Hk = Hv divides Hq, or the schedule
    has head maps.
    Gives o [B, Hq, Sq, Dv] in q's dtype and lse [B, Hq, Sq], float32, of the natural log, or an empty one for weights
    that are not divided. A row without a live key has o = 0, and lse = -inf or what its sink is.
    """
    o = torch.empty((*q.shape[:3], v.shape[3]), dtype=q.dtype, device=q.device)
    lse = torch.empty(q.shape[:3], dtype=torch.float32, device=q.device)
    work, budget = Workspace(compute_dtype(q.dtype), q.device), budget_on(q.device)
    hopeful = True  # that what is likely to be calm is calm, until it is not
    for unit in units(schedule, q, k, budget.heads):
        queries = matrices(unit.queries(q), work.dtype)
        keys, values = matrices(unit.keys(k), work.dtype), matrices(unit.values(v), work.dtype)
        found = series(unit.group, unit.shared, budget, schedule.block)
        met = [(0, keys.shape[1])] if unit.group.keys is not None else keys_met(found)
        proved, likely = _are_calm(schedule, abs(scale) * _largest(queries, keys, met))
        dead, scored = DeadPairs(schedule, unit, found, budget.pairs, q.device), Scored(schedule, unit, q.device)
        with unit.results(o) as rows_o, unit.results(lse[..., None]) as rows_lse:
            for calm in (True, False) if proved or (likely and hopeful) else (False,):
                rows = Rows.none(rows_o, work, calm, everywhere=_rows_met(found) == rows_o.shape[2])
                if schedule.sink is not None:
                    rows.begin(_in_order(unit, schedule.sink, work.dtype))
                for step in steps(found, unit, budget.pairs):
                    s = step.scaled(queries, scale * scored.unit_of_s, work)
                    s = products.scores(s, step.keys(keys), work, "s")
                    if schedule.weight is None:
                        s = scored.changed(step, s, overwrite=True)
                        dead.hide(step, s)
                        if schedule.landmarks is not None:
                            by_landmarks(schedule.landmarks, scored, step, s)
                        weights = rows.weigh(step, s)
                    else:
                        weights = scored.weights(step, s)
                        dead.clear(step, weights)
                    counted = scored.counted(scored.factors(step, weights), weights)
                    rows.meet(step, weights, counted, step.keys(values), work)
                if proved or rows.were_calm():
                    break
                hopeful = False
            rows.write(rows_o, rows_lse, divided=schedule.divided)
    return o, lse if schedule.divided else lse.new_empty(0)


def _in_order(unit: Unit, t: Tensor, dtype: torch.dtype) -> Tensor:
    """What is known of rows, [B, Hq, Sq], as [n, r, 1] in the order of the visits."""
    view = unit.queries(t[..., None])
    return matrices(view if unit.group.rows is None else view.index_select(2, unit.group.rows), dtype)


def _rows_met(found: list[Series]) -> int:
    return sum(s.shape.height * len(s.rows) for s in found if s.shape.turn == 0)


def _largest(queries: Tensor, keys: Tensor, met: Iterable[Range]) -> Tensor:
    """The most that a product of queries [n, r, D] with those keys [n, c, D] that are met may be, in size."""
    lengths = torch.linalg.vector_norm(keys, dim=-1)
    longest = [lengths[:, start:stop].amax() for start, stop in met] or [lengths.new_zeros(())]
    found: Tensor = torch.linalg.vector_norm(queries, dim=-1).amax() * torch.stack(longest).amax()
    return found


def _are_calm(schedule: Schedule, most: Tensor) -> tuple[bool, bool]:
    """Whether rows are proved to be calm, where products are at most so large; and whether they are likely to be."""
    if schedule.weight is not None:
        return True, True
    if schedule.reach is None or schedule.landmarks is not None:
        return False, False
    likely = most * LOG2E <= CALM  # NaN is not
    low, high = schedule.reach(most)
    if schedule.sink is not None:
        low, high = (
            torch.minimum(low, schedule.sink.amin() * LOG2E),
            torch.maximum(high, schedule.sink.amax() * LOG2E),
        )
    return bool((low >= -CALM) & (high <= CALM)), bool(likely)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """top [n, r, 1] in units of log 2, None on calm rows; total [n, r, 1], the sum of weights; mixed [n, r, Dv]."""

    top: Tensor | None
    total: Tensor
    mixed: Tensor

    @classmethod
    def none(cls, o: Tensor, work: Workspace, calm: bool, everywhere: bool) -> Rows:
        """The rows of o [samples, key heads, Sq, shared, Dv] before any key; in o itself where that serves.

        everywhere: every row will meet a key, and then forget what is in `mixed`.
        """
        mixed = sums(o, work.dtype)
        if not everywhere:
            mixed.zero_()
        total = mixed.new_zeros(*mixed.shape[:2], 1)
        return cls(None if calm else torch.full_like(total, FLOOR), total, mixed)

    def begin(self, sink: Tensor) -> None:
        """Meet a key of scores [n, r, 1], whose value is 0."""
        if self.top is None:
            self.total.copy_(sink * LOG2E).exp2_()
            return
        self.top.copy_(sink * LOG2E).clamp_(min=FLOOR)
        self.total.copy_(sink > -torch.inf)

    def weigh(self, step: Step, s: Tensor) -> Tensor:
        """Softmax's weights of scores s [outer, inner, r, c], which are overwritten."""
        if self.top is not None:
            self._rise(step, s, self.top)
        return s.exp2_()

    def meet(self, step: Step, weights: Tensor, counted: Tensor, values: Batches, work: Workspace) -> None:
        """Take in keys: their weights [outer, inner, r, c], what these count with values, and the values."""
        total, mixed = step.rows(self.total), step.rows(self.mixed)
        each(Tensor.add_, total, weights.sum(-1, keepdim=True))
        products.mix(counted, values, mixed, work, fresh=step.first)

    def _rise(self, step: Step, s: Tensor, top: Tensor) -> None:
        """Take the rows' tops over new scores from these, and fade what the rows hold to the new tops."""
        before = copied(step.rows(top))
        highest = torch.maximum(s.amax(-1, keepdim=True), before)
        fade = before.sub_(highest).exp2_()
        each(Tensor.mul_, step.rows(self.total), fade)  # which may hold a sink before the first step
        if not step.first:
            each(Tensor.mul_, step.rows(self.mixed), fade)
        each(Tensor.copy_, step.rows(top), highest)
        s.sub_(highest)

    def were_calm(self) -> bool:
        """Whether no weight was larger, nor all together smaller, than float32 holds well; always so with a top."""
        return self.top is not None or bool(((self.total >= 2**-CALM) & (self.total <= 2 ** (2 * CALM))).all())

    def write(self, o: Tensor, lse: Tensor, *, divided: bool) -> None:
        """Write the results to o [..., Dv] and lse [..., 1], of as many rows in the same order.

        Softmax's total of a live row is at least 2 ** -CALM. That of a dead row is 0, and so is its o, and its lse is
        -inf. What other weights sum up to counts where it is positive.
        """
        if not divided:
            put(self.mixed, o)
            return
        alive = self.total > 0.0
        put(self.mixed.div_(self.total.masked_fill(~alive, torch.inf)), o)
        found = self.total.log2() if self.top is None else self.total.log2().add_(self.top)
        lse.copy_(found.mul_(LN2).masked_fill_(~alive, -torch.inf).view(lse.shape))
