"""From a plan and a call to the target that runs it."""

from __future__ import annotations

import torch
from torch import Tensor

from attnir.call import Call
from attnir.codegen.plan import Plan
from attnir.evaluate import dense_mask, dense_score
from attnir.real import slope
from attnir.reference import masked_softmax


def forward(plan: Plan, call: Call, q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """(o, lse) on the plan's backend."""
    if not _any_work(q, k):
        o = q.new_zeros((*q.shape[:3], v.shape[3]))
        return o, torch.full(q.shape[:3], -torch.inf, dtype=torch.float32, device=q.device)
    backend = plan.backend_on(q.device.type)
    if backend == "triton":
        from attnir.codegen.triton import launch

        return launch.forward(plan, call, q, k, v, scale)
    if backend == "torch":
        from attnir.codegen.torch import target
        from attnir.codegen.torch.build import schedule

        return target.forward(q, k, v, schedule(plan, call, q, v), scale)
    o, lse = masked_softmax(q, k, v, dense_mask(plan.predicate, call), scale, dense_score(plan.pattern.score, call))
    return o.to(q.dtype).contiguous(), lse.float().contiguous()


def backward(
    plan: Plan,
    call: Call,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    o: Tensor,
    lse: Tensor,
    do: Tensor,
    dlse: Tensor | None,
    scale: float,
    for_q: bool,
    for_kv: bool,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """(dq, dk, dv) on the plan's backend, contiguous; those that are not asked for may be missing."""
    if not _any_work(q, k):
        return tuple(torch.zeros(t.shape, dtype=t.dtype, device=t.device) for t in (q, k, v))  # type: ignore[return-value]
    backend = plan.backend_on(q.device.type)
    if backend == "triton":
        from attnir.codegen.triton import launch

        return launch.backward(plan, call, q, k, v, o, lse, do, dlse, scale, for_q, for_kv)
    if backend == "torch":
        from attnir.codegen.torch import target
        from attnir.codegen.torch.build import schedule

        found = schedule(plan, call, q, v)
        return target.backward(q, k, v, o, lse, do, dlse, found, scale, for_q=for_q, for_kv=for_kv)
    return _reference_backward(plan, call, q, k, v, do, dlse, scale)


def _any_work(q: Tensor, k: Tensor) -> bool:
    return q.numel() > 0 and k.numel() > 0


def _reference_backward(
    plan: Plan, call: Call, q: Tensor, k: Tensor, v: Tensor, do: Tensor, dlse: Tensor | None, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The textbook backward of a softmax, dense and in float64: dS = P * (dP - delta + dlse)."""
    group = q.shape[1] // k.shape[1]
    queries, grad = q.double(), do.double()
    keys, values = (t.double().repeat_interleave(group, 1) for t in (k, v))
    live, changed = dense_mask(plan.predicate, call), dense_score(plan.pattern.score, call)
    o, lse = masked_softmax(q, k, v, live, scale, changed)
    s = queries @ keys.transpose(-1, -2) * scale
    p = torch.where(live, (changed(s) - lse[..., None]).exp(), 0.0)
    delta = (grad * o).sum(-1) - (0.0 if dlse is None else dlse.double())
    ds = (
        p
        * (grad @ values.transpose(-1, -2) - delta[..., None])
        * scale
        * dense_score(slope(plan.pattern.score), call)(s)
    )
    ds = torch.where(live, ds, 0.0)
    dk, dv = (t.unflatten(1, (-1, group)).sum(2) for t in (ds.transpose(-1, -2) @ queries, p.transpose(-1, -2) @ grad))
    return (ds @ keys).to(q.dtype).contiguous(), dk.to(k.dtype).contiguous(), dv.to(v.dtype).contiguous()
