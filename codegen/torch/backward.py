"""The backward: weights again from the scores and lse, then dS = P * (dO V^T - delta + dlse), product by product.

dV += P^T dO, dK += dS^T Q, dQ += dS K, and delta = rowsum(dO * O). One walk gives all three in a fixed order, so the
result does not vary from run to run. dK and dV are summed in the compute dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from attnir.codegen.torch import products
from attnir.codegen.torch.budget import Budget, budget_on
from attnir.codegen.torch.dead import DeadPairs
from attnir.codegen.torch.online import LN2, LOG2E
from attnir.codegen.torch.operands import Keys, Unit, Workspace, compute_dtype, units
from attnir.codegen.torch.panels import Panel, Range, panels
from attnir.codegen.torch.schedule import Schedule
from attnir.codegen.torch.steps import ALL, exact, rows_of, wide_parts


@exact
def backward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    o: Tensor,
    lse: Tensor,
    do: Tensor,
    dlse: Tensor | None,
    schedule: Schedule,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """(dq, dk, dv), shaped and typed as q, k, v and contiguous, for the gradients do of o and dlse of lse.

    q, k, v, schedule and scale are those of the forward, o and lse its results. A dead row gets and gives no gradient.
    """
    work, budget = Workspace(compute_dtype(q.dtype), q.device), budget_on(q.device)
    budget = replace(budget, pairs=budget.pairs // 2)  # P and dS are held at once
    dq = torch.zeros(q.shape, dtype=q.dtype, device=q.device)
    dk, dv = (torch.zeros(t.shape, dtype=work.dtype, device=q.device) for t in (k, v))
    for unit in units(schedule, q, k, budget.heads):
        state = _Unit(
            unit,
            DeadPairs(schedule, unit, budget.checks),
            work,
            budget,
            scale,
            q=unit.queries(q),
            o=unit.queries(o),
            lse=unit.queries(lse[..., None]),
            do=unit.queries(do),
            dlse=None if dlse is None else unit.queries(dlse[..., None]),
            dq=unit.queries(dq),
            k=Keys(work, "k", unit.keys(k)),
            v=Keys(work, "v", unit.keys(v)),
            dk=Keys(work, "dk", unit.keys(dk)),
            dv=Keys(work, "dv", unit.keys(dv)),
        )
        for panel in panels(unit.group.visits, unit.n * unit.shared, unit.shared, budget):
            state.run(panel)
    return dq, dk.mul_(LN2).to(k.dtype), dv.to(v.dtype)  # dk was summed with queries times log2(e)


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """q, dq [n, r, D], q times scale * log2(e); do [n, r, Dv]; lse, in units of log 2, and delta - dlse [n, r, 1]."""

    q: Tensor
    lse: Tensor
    do: Tensor
    delta: Tensor
    dq: Tensor

    def part(self, n: slice, r: slice) -> _Rows:
        return _Rows(self.q[n, r], self.lse[n, r], self.do[n, r], self.delta[n, r], self.dq[n, r])


@dataclass(frozen=True, slots=True, eq=False)
class _Unit:
    """A unit's own part of the call: tensors of queries as `Unit.queries` gives them, and of keys."""

    unit: Unit
    dead: DeadPairs
    work: Workspace
    budget: Budget
    scale: float
    q: Tensor
    o: Tensor
    lse: Tensor
    do: Tensor
    dlse: Tensor | None
    dq: Tensor
    k: Keys
    v: Keys
    dk: Keys
    dv: Keys

    def run(self, panel: Panel) -> None:
        """All products of a panel. dK and dV are added to, dQ is written."""
        rows = self._rows(slice(*panel.rows))
        for cols, parts in wide_parts(panel, rows.q, self.budget.pairs):
            for n in parts:
                self._product(rows.part(n, ALL), cols, n)
        for piece in panel.narrow:
            part = rows.part(ALL, rows_of(panel, piece.rows, self.unit.shared))
            self._product(part, piece.cols, ALL, partial(self.dead.hide, piece))
        place = self.dq[:, :, slice(*panel.rows)]
        torch.mul(rows.dq.view(place.shape), self.scale, out=place)

    def _rows(self, at: slice) -> _Rows:
        """Copies of the rows. A dead row gets lse = inf, so that its weights are 0, and delta = 0."""
        q = self.work.rows("q", self.q[:, :, at], self.scale * LOG2E)
        do, o, lse = (self.work.rows(m, t[:, :, at]) for m, t in (("do", self.do), ("o", self.o), ("lse", self.lse)))
        delta = o.mul_(do).sum(-1, keepdim=True)
        if self.dlse is not None:
            delta.sub_(self.work.rows("dlse", self.dlse[:, :, at]))
        dead = lse == -torch.inf
        lse.mul_(LOG2E).masked_fill_(dead, torch.inf)
        return _Rows(q, lse, do, delta.masked_fill_(dead, 0.0), self.work.take("dq", *q.shape).zero_())

    def _product(self, rows: _Rows, cols: Range, n: slice, hide: Callable[[Tensor], None] | None = None) -> None:
        """Add what the pairs of some rows and keys give to dq, dk and dv."""
        k, v, dk, dv = (t.at(cols)[n] for t in (self.k, self.v, self.dk, self.dv))
        s = products.scores(rows.q, k, self.work, "s")
        if hide:
            hide(s)
        p = s.sub_(rows.lse).exp2_()
        dv.add_(products.mix_transposed(p, rows.do, self.work))
        ds = products.scores(rows.do, v, self.work, "ds").sub_(rows.delta).mul_(p)
        rows.dq.add_(products.mix(ds, k, self.work))
        dk.add_(products.mix_transposed(ds, rows.q, self.work))
