"""The backward: weights again from the scores and lse, then dS = P * (C * (dO V^T) - delta + dlse), step by step.

dV += (C * P)^T dO, dK += dS^T Q, dQ += dS K, and delta = rowsum(dO * O), with factors C of weights that meet values.
One walk gives all three in a fixed order, so the result does not vary from run to run. Gradients are summed in the
compute dtype. Of weights W that are no softmax, P is W / sum(W) or W, and dS is divided by that sum, not times P, then
times the slope of W.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attnir.codegen.gradients import EVERYTHING, Gradients, Incoming, Wanted
from attnir.codegen.torch import products
from attnir.codegen.torch.budget import budget_on
from attnir.codegen.torch.dead import DeadPairs
from attnir.codegen.torch.landmarks import by_landmarks, through_landmarks
from attnir.codegen.torch.operands import Unit, Workspace, as_matrices, compute_dtype, matrices, put, sums, units
from attnir.codegen.torch.schedule import Schedule
from attnir.codegen.torch.scored import Scored
from attnir.codegen.torch.series import series
from attnir.codegen.torch.steps import Step, copied, exact, steps
from attnir.codegen.torch.units import LOG2E


@exact
def backward(
    given: Incoming, schedule: Schedule, reals: Mapping[str, Tensor], wanted: Wanted = EVERYTHING
) -> Gradients:
    """The gradients of q, k, v and of the real tensors that are wanted. A dead row gets and gives no gradient.

    schedule: that of the forward; reals: the real tensors, by name.
    """
    q, k, v, scale = given.q, given.k, given.v, given.scale
    work, budget = Workspace(compute_dtype(q.dtype), q.device), budget_on(q.device)
    budget = replace(budget, pairs=budget.pairs // 2)  # P and dS are held at once
    dq = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    dk, dv = (torch.zeros(t.shape, dtype=work.dtype, device=q.device) for t in (k, v))
    learned = {name: torch.zeros(reals[name].numel(), dtype=torch.float64, device=q.device) for name in wanted.reals}
    for unit in units(schedule, q, k, budget.heads):
        rows = _Rows.of(unit, work, given, divided=schedule.divided)
        k_unit, v_unit = matrices(unit.keys(k), work.dtype), matrices(unit.values(v), work.dtype)
        dk_unit, dv_unit = as_matrices(unit.keys(dk)), as_matrices(unit.values(dv))
        assert dk_unit is not None and dv_unit is not None, "a unit's key heads make one axis"
        found = series(unit.group, unit.shared, budget, schedule.block)
        dead, scored = DeadPairs(schedule, unit, found, budget.pairs, q.device), Scored(schedule, unit, q.device)
        with unit.results(dq) as rows_dq:
            dq_unit = sums(rows_dq, work.dtype).zero_()
            for step in steps(found, unit, budget.pairs):
                queries, keys, grad = step.queries(rows.q), step.keys(k_unit), step.queries(rows.do)
                s = products.scores(step.scaled(rows.q, scale * scored.unit_of_s, work), keys, work, "s")
                slopes, before = scored.slopes(step, s), s
                if schedule.weight is None:
                    s = scored.changed(step, s, overwrite=not schedule.learned and not schedule.learned_factor)
                    dead.hide(step, s)
                    if schedule.landmarks is not None:
                        by_landmarks(schedule.landmarks, scored, step, s)
                    p = share = s.sub_(copied(step.queries(rows.lse))).exp2_()
                else:
                    p, share = scored.weights(step, s), rows.share(step)
                    dead.clear(step, p.mul_(share))
                factors = scored.factors(step, p)
                if wanted.kv:
                    step.add_to_keys(dv_unit, products.mix_transposed(scored.counted(factors, p), grad, work))
                dp = products.scores(grad, step.keys(v_unit), work, "ds")
                scored.learn_factors(step, before, p, dp, learned)
                ds = scored.counted(factors, dp).sub_(copied(step.queries(rows.delta))).mul_(share)
                if (
                    schedule.weight is not None or schedule.unbounded_factor
                ):  # p is no factor, or its other one is infinite
                    dead.clear(step, ds)
                if schedule.landmarks is not None:
                    through_landmarks(schedule.landmarks, scored, step, p, ds)
                scored.learn(step, before, ds, learned)
                ds = scored.through(slopes, ds)
                if wanted.q:
                    products.mix(ds, keys, step.rows(dq_unit), work, fresh=False)
                if wanted.kv:
                    step.add_to_keys(dk_unit, products.mix_transposed(ds, queries, work))
            put(dq_unit.mul_(scale), rows_dq)
    of_reals = {name: t.view(reals[name].shape).to(reals[name].dtype) for name, t in learned.items()}
    return Gradients(dq, dk.mul_(scale).to(k.dtype), dv.to(v.dtype), of_reals)


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """q [n, r, D]; do [n, r, Dv]; lse, in units of log 2, and delta - dlse [n, r, 1], both 0 where there is none."""

    q: Tensor
    do: Tensor
    lse: Tensor
    delta: Tensor

    @classmethod
    def of(cls, unit: Unit, work: Workspace, given: Incoming, *, divided: bool) -> _Rows:
        """A unit's rows. A dead row gets lse = inf, so that its weights are 0, and delta = 0."""
        queries, results, grad = (matrices(unit.queries(t), work.dtype) for t in (given.q, given.o, given.do))
        if not divided:
            none = queries.new_zeros(*queries.shape[:2], 1)
            return cls(queries, grad, none, none)
        delta = (results * grad).sum(-1, keepdim=True)
        if given.dlse is not None:
            delta.sub_(matrices(unit.queries(given.dlse[..., None]), work.dtype))
        lse = matrices(unit.queries(given.lse[..., None]), work.dtype)
        dead = lse == -torch.inf
        lse = (lse * LOG2E).masked_fill_(dead, torch.inf)
        return cls(queries, grad, lse, delta.masked_fill_(dead, 0.0))

    def share(self, step: Step) -> Tensor:
        """What weights that are no softmax are multiplied with, [outer, inner, r, 1]: 1 / their sum, or 1."""
        return copied(step.queries(self.lse)).neg_().exp2_()
