"""Statistics by the Triton kernels: what each of them is launched with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attnir.call import Call
from attnir.codegen.gradients import Gradients, Wanted
from attnir.codegen.plan import Plan
from attnir.codegen.sums import Sums, Wished
from attnir.codegen.triton.launch import run
from attnir.codegen.triton.learned import LearnedSums
from attnir.expr import Expr
from attnir.terms import Term


def statistics(
    plan: Plan,
    call: Call,
    q: Tensor,
    k: Tensor,
    lse: Tensor,
    first: Tensor | None,
    pulling: Sequence[Tensor],
    scale: float,
    wished: Wished,
) -> Sums:
    """The sums that are wished for; what terms may read: the first largest keys, and v and dO."""
    shape, device = tuple(q.shape[:3]), q.device
    given = {"q": q, "k": k, "v": k, "lse": lse, "first": first}
    rows = [torch.empty(shape, dtype=torch.float32, device=device) for _ in wished.rows]
    highest = found = None
    if wished.rows or wished.largest:
        highest = torch.empty(shape, dtype=torch.float32, device=device) if wished.largest else None
        found = torch.empty(shape, dtype=torch.int32, device=device) if wished.largest else None
        held = {"highest": highest, "first": found} if wished.largest else {}
        run("rows", plan, call, {**given, **_named(rows), **held}, scale, terms=wished.rows, largest=wished.largest)
    columns = [torch.empty((*shape[:2], k.shape[2]), dtype=torch.float32, device=device) for _ in wished.columns]
    if columns:
        pulled = dict(zip(("v", "do"), pulling, strict=True)) if any(t.pulls for t in wished.columns) else {}
        run("columns", plan, call, {**given, **pulled, **_named(columns)}, scale, terms=wished.columns)
    return Sums(rows, columns, highest, found)


def _named(sums: Sequence[Tensor]) -> dict[str, Tensor]:
    return {f"sum_{i}": t for i, t in enumerate(sums)}


def statistics_backward(
    plan: Plan,
    call: Call,
    q: Tensor,
    k: Tensor,
    lse: Tensor,
    first: Tensor | None,
    delta: Tensor,
    scale: float,
    pull: Expr,
    wanted: Wanted,
) -> Gradients:
    """The gradients of q, k and of the real tensors that the score reads, for dS = P * (pull - delta)."""
    given = {"q": q, "k": k, "v": k, "lse": lse, "first": first, "delta": delta.contiguous()}
    terms = (Term(pull),)
    dq, dk = (torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in (q, k))

    def measure(largest: LearnedSums) -> None:
        run("pulled_dq", plan, call, {**given, "dq": dq}, scale, largest, terms=terms)

    sums = LearnedSums.measured(call, wanted.reals, (plan.pattern.weighed,), lse, measure)
    if wanted.q or wanted.reals:
        run("pulled_dq", plan, call, {**given, "dq": dq}, scale, sums, terms=terms)
    if wanted.kv:
        run("pulled_dk", plan, call, {**given, "dk": dk}, scale, terms=terms)
    return Gradients(dq if wanted.q else None, dk if wanted.kv else None, None, sums.gradients(call))
