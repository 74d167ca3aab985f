"""The backward: weights again from the scores and lse, then dS = P * (dO V^T - delta + dlse), product by product.

dV += P^T dO, dK += dS^T Q, dQ += dS K, and delta = rowsum(dO * O). One walk gives all three, in one order, so the
result does not vary from run to run. dK and dV are summed in the compute dtype.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from attnir.codegen.torch import products
from attnir.codegen.torch.budget import budget_on
from attnir.codegen.torch.online import LN2, LOG2E
from attnir.codegen.torch.operands import Workspace, compute_dtype
from attnir.codegen.torch.schedule import Schedule
from attnir.codegen.torch.steps import Step, exact, put_rows, steps
from torch import Tensor


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
        unit = step.unit
        rows = _rows(step, work, q, o, lse, do, dlse, scale)
        _walk(step, rows, *(unit.keys(t) for t in (k, v, dk, dv)), work)
        put_rows(step, rows.dq.mul_(scale), dq)
    return dq, dk.mul_(LN2).to(k.dtype), dv.to(v.dtype)  # dk was summed with queries scaled by log2(e)


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Rows of a panel: q [n, r, D] times scale * log2(e); lse [n, r, 1] in units of log 2; do; delta - dlse; dq."""

    q: Tensor
    lse: Tensor
    do: Tensor
    delta: Tensor
    dq: Tensor

    def part(self, n: slice, r: slice) -> _Rows:
        return _Rows(self.q[n, r], self.lse[n, r], self.do[n, r], self.delta[n, r], self.dq[n, r])
