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
from attnir.codegen.torch.budget import budget_on
from attnir.codegen.torch.online import LN2, LOG2E
from attnir.codegen.torch.operands import Workspace, compute_dtype
from attnir.codegen.torch.panels import Range
from attnir.codegen.torch.schedule import Schedule
from attnir.codegen.torch.steps import Step, exact, steps

ALL = slice(None)


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
    work = Workspace(compute_dtype(q.dtype), q.device)
    dq = torch.zeros(q.shape, dtype=q.dtype, device=q.device)
    dk, dv = (torch.zeros(t.shape, dtype=work.dtype, device=q.device) for t in (k, v))
    budget = budget_on(q.device)
    for step in steps(schedule, q, k, replace(budget, pairs=budget.pairs // 2)):  # P and dS are held at once
        take = _taker(step, work)
        rows = _rows(take(q, "q").mul_(scale * LOG2E), take(lse[..., None], "lse"), take(do, "do"), take(o, "o"), work)
        if dlse is not None:
            rows.delta.sub_(take(dlse[..., None], "dlse").masked_fill_(rows.lse == torch.inf, 0))
        _walk(step, rows, _Keys(work, *(step.unit.keys(t) for t in (k, v, dk, dv))))
        step.put(rows.dq.mul_(scale), dq)
    return dq, dk.mul_(LN2).to(k.dtype), dv.to(v.dtype)  # dk was summed with queries times log2(e)


def _taker(step: Step, work: Workspace) -> Callable[[Tensor, str], Tensor]:
    return lambda t, name: work.rows(name, step.unit.queries(t), step.panel.rows)


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


def _rows(q: Tensor, lse: Tensor, do: Tensor, o: Tensor, work: Workspace) -> _Rows:
    """Rows without dlse, from copies. A dead row gets lse = inf, so that its weights are 0."""
    dead = lse == -torch.inf
    delta = o.mul_(do).sum(-1, keepdim=True)
    return _Rows(q, lse.mul_(LOG2E).masked_fill_(dead, torch.inf), do, delta, work.take("dq", *q.shape).zero_())


@dataclass(frozen=True, slots=True, eq=False)
class _Keys:
    """k, v, dk, dv of a unit, as `Unit.keys` gives them."""

    work: Workspace
    k: Tensor
    v: Tensor
    dk: Tensor
    dv: Tensor

    def at(self, cols: Range) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """k, v, dk, dv [n, cols, d]; the gradients are views."""
        dk, dv = (t[:, :, cols[0] : cols[1]].flatten(0, 1) for t in (self.dk, self.dv))
        return self.work.columns("k", self.k, cols), self.work.columns("v", self.v, cols), dk, dv


def _walk(step: Step, rows: _Rows, keys: _Keys) -> None:
    """All products of a panel."""
    for cols, parts in step.wide(rows.q):
        k, v, dk, dv = keys.at(cols)
        for n in parts:
            _product(rows.part(n, ALL), k[n], v[n], dk[n], dv[n], keys.work)
    for piece in step.panel.narrow:
        _product(rows.part(ALL, step.rows_of(piece)), *keys.at(piece.cols), keys.work, partial(step.dead.hide, piece))


def _product(
    rows: _Rows,
    k: Tensor,
    v: Tensor,
    dk: Tensor,
    dv: Tensor,
    work: Workspace,
    hide: Callable[[Tensor], None] | None = None,
) -> None:
    """Add what the pairs of rows and keys give to dq, dk and dv."""
    s = products.scores(rows.q, k, work, "s")
    if hide:
        hide(s)
    p = s.sub_(rows.lse).exp2_()
    dv.add_(products.mix_transposed(p, rows.do, work))
    ds = products.scores(rows.do, v, work, "ds").sub_(rows.delta).mul_(p)
    rows.dq.add_(products.mix(ds, k, work))
    dk.add_(products.mix_transposed(ds, rows.q, work))
