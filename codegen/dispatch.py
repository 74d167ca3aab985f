"""From a plan and a call to the target that runs it."""

from __future__ import annotations

import torch
from torch import Tensor

from attnir.call import Call
from attnir.codegen.gradients import Gradients, Wanted
from attnir.codegen.plan import Plan
from attnir.reference import dense_backward, dense_forward


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
    o, lse = dense_forward(plan.pattern, call, q, k, v, scale)
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
    wanted: Wanted,
) -> Gradients:
    """The gradients on the plan's backend."""
    if not _any_work(q, k):
        dq, dk, dv = (torch.zeros(t.shape, dtype=t.dtype, device=t.device) for t in (q, k, v))
        return Gradients(dq, dk, dv, {name: torch.zeros_like(call.reals[name]) for name in wanted.reals})
    backend = plan.backend_on(q.device.type)
    if backend == "triton":
        from attnir.codegen.triton import launch

        return launch.backward(plan, call, q, k, v, o, lse, do, dlse, scale, wanted)
    if backend == "torch":
        from attnir.codegen.torch import target
        from attnir.codegen.torch.build import schedule

        found = schedule(plan, call, q, v, wanted.reals)
        return target.backward(q, k, v, o, lse, do, dlse, found, scale, call.reals, wanted)
    dq, dk, dv, reals = dense_backward(plan.pattern, call, q, k, v, do, dlse, scale)
    return Gradients(dq, dk, dv, {name: t.contiguous() for name, t in zip(call.reals, reals, strict=True)})


def _any_work(q: Tensor, k: Tensor) -> bool:
    return q.numel() > 0 and k.numel() > 0
