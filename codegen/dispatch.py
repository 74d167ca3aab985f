"""From a plan and a call to the target that runs it; and what is the same on every target: rows and their sinks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from attnir.call import Call
from attnir.codegen.gradients import Gradients, Incoming, Wanted
from attnir.codegen.plan import Plan
from attnir.dense import gather, of_rows
from attnir.expr import Expr
from attnir.heads import Heads, maps_of
from attnir.real import derivative, tensors_read
from attnir.reference import dense_backward, dense_forward


def forward(plan: Plan, call: Call, q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """(o, lse) on the plan's backend; an empty lse where the weights have none."""
    if not _any_work(q, k):
        return q.new_zeros((*q.shape[:3], v.shape[3])), _lse_of_no_key(plan, call, q)
    backend = plan.backend_on(q.device.type)
    if backend == "triton":
        from attnir.codegen.triton import launch

        return launch.forward(plan, call, q, k, v, scale)
    if backend == "torch":
        from attnir.codegen.torch import target
        from attnir.codegen.torch.build import schedule

        return target.forward(q, k, v, schedule(plan, call, q, v, maps=_maps(plan, q, k, v)), scale)
    o, lse = dense_forward(plan.pattern, call, q, k, v, scale, plan.heads)
    return o.to(q.dtype).contiguous(), no_lse(q) if lse is None else lse.float().contiguous()


def no_lse(q: Tensor) -> Tensor:
    """What stands for the lse of weights that have none."""
    return q.new_empty(0, dtype=torch.float32)


def _lse_of_no_key(plan: Plan, call: Call, q: Tensor) -> Tensor:
    weights = plan.pattern.weights
    if not weights.divided:
        return no_lse(q)
    if weights.sink is not None:
        return of_rows(weights.sink, call, torch.float32).contiguous()
    return torch.full(q.shape[:3], -torch.inf, dtype=torch.float32, device=q.device)


def backward(plan: Plan, call: Call, given: Incoming, wanted: Wanted) -> Gradients:
    """The gradients on the plan's backend."""
    found = _of_pairs(plan, call, given, wanted)
    more = _of_sink(plan, call, given, wanted.reals)
    summed = {name: t if name not in found.reals else found.reals[name] + t for name, t in more.items()}
    return replace(found, reals={**found.reals, **summed})


def _of_pairs(plan: Plan, call: Call, given: Incoming, wanted: Wanted) -> Gradients:
    """What the target computes: all but the gradients of what sinks read."""
    q, k, v = given.q, given.k, given.v
    if not _any_work(q, k):
        dq, dk, dv = (torch.zeros(t.shape, dtype=t.dtype, device=t.device) for t in (q, k, v))
        return Gradients(dq, dk, dv, {name: torch.zeros_like(call.reals[name]) for name in wanted.reals})
    of_pairs = {name for name, _ in tensors_read(plan.pattern.weighed, plan.pattern.weights.factor)}
    wanted = replace(wanted, reals=tuple(name for name in wanted.reals if name in of_pairs))
    backend = plan.backend_on(given.device.type)
    if backend == "triton":
        from attnir.codegen.triton import launch

        return launch.backward(plan, call, given, wanted)
    if backend == "reference":
        return Gradients(*dense_backward(plan.pattern, call, q, k, v, given.do, given.dlse, given.scale, plan.heads))
    from attnir.codegen.torch import target
    from attnir.codegen.torch.build import schedule

    return target.backward(given, schedule(plan, call, q, v, wanted.reals, _maps(plan, q, k, v)), call.reals, wanted)


def _of_sink(plan: Plan, call: Call, given: Incoming, names: Sequence[str]) -> dict[str, Tensor]:
    """The gradients of the real tensors that a sink reads.

    The weight of a sink is exp(sink - lse), and its value is 0, so that its score's gradient is that times
    dlse - rowsum(dO * o).
    """
    sink = plan.pattern.weights.sink
    if sink is None:
        return {}
    o, lse = given.o.double(), given.lse.double()
    of_score = -torch.where(o == 0.0, 0.0, given.do.double() * o).sum(-1)  # whatever dO is where no key was met
    of_score = of_score if given.dlse is None else of_score + given.dlse.double()
    weight = (of_rows(sink, call, torch.float64) - lse).exp()
    return read_by_rows(sink, call, torch.where(lse == -torch.inf, 0.0, of_score * weight), names)


def read_by_rows(e: Expr, call: Call, given: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """The gradients of the real tensors that an expression over rows reads, for its own, float64 [B, Hq, Sq]."""
    read = [(name, n) for name, n in tensors_read(e) if name in names]
    found = {name: torch.zeros(call.reals[name].numel(), dtype=torch.float64, device=given.device) for name, _ in read}
    for name, n in read:
        slope = of_rows(derivative(e, n), call, torch.float64)
        gather(n, call, (given * slope)[..., None], found[name], columns=1)
    return {name: t.view(call.reals[name].shape).to(call.reals[name].dtype) for name, t in found.items()}


def _maps(plan: Plan, q: Tensor, k: Tensor, v: Tensor) -> Heads | None:
    return maps_of(plan.heads, q.shape[1], k.shape[1], v.shape[1])


def _any_work(q: Tensor, k: Tensor) -> bool:
    return q.numel() > 0 and k.numel() > 0
