"""The custom operator: one forward and one backward that torch can trace, differentiate and compile through.

`attnir::attend(q, k, v, reals, fields, params, numbers, plan, scale, q_start) -> (o, lse)`; `reals` are the real
tensors; `fields` alternates, for each field in the pattern's order, its values for the queries and for the keys, and
ends with the tensors over samples and heads, and the selections; `plan` is a plan's text. `numbers` and `scale` are
`Number`s, since torch makes a constant of what goes to an operator as a float.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.types import Number

from attnir.call import Call, FieldValues
from attnir.codegen import dispatch
from attnir.codegen.gradients import Incoming, Wanted
from attnir.codegen.plan import Plan, read_plan
from attnir.errors import DerivativeError
from attnir.inputs import check_transforms
from attnir.masks import Declared
from attnir.promises import check_sizes, check_sorted


def call_of(
    declared: Declared,
    q: Tensor,
    k: Tensor,
    reals: Sequence[Tensor],
    fields: Sequence[Tensor],
    params: Sequence[int],
    numbers: Sequence[float],
    q_start: int,
) -> Call:
    """The call of what is declared, with what an operator is given."""
    decls = declared.fields
    names = [*(t.name for t in declared.tensors), *(s.name for s in declared.selections)]
    pairs = zip(fields[: 2 * len(decls) : 2], fields[1 : 2 * len(decls) : 2], strict=True)
    given = dict(zip(names, fields[2 * len(decls) :], strict=True))
    copies = {t.name: given[t.name] for t in declared.tensors}
    chosen = {s.name: given[s.name] for s in declared.selections}
    values = {d.name: FieldValues(*pair) for d, pair in zip(decls, pairs, strict=True)}
    scalars = {p.name: value for p, value in zip(declared.params, params, strict=True)}
    learned = {t.name: value for t, value in zip(declared.reals, reals, strict=True)}
    known = {p.name: value for p, value in zip(declared.numbers, numbers, strict=True)}
    sizes = q.shape[0], q.shape[1], q.shape[2], k.shape[2]
    return Call(*sizes, q_start, values, scalars, q.device, copies, learned, known, chosen)


def check_fields(plan: Plan, declared: Declared, call: Call) -> None:
    """What is promised of fields. Where reading their values would wait for the device, only with `check`."""
    if plan.check or call.device.type == "cpu":
        check_sizes(call, *declared.roots)
        for decl in declared.fields:
            check_sorted(decl, call.fields[decl.name])


@torch.library.custom_op("attnir::attend", mutates_args=())
def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    reals: Sequence[Tensor],
    fields: Sequence[Tensor],
    params: Sequence[int],
    numbers: Sequence[Number],
    plan: str,
    scale: Number,
    q_start: int,
) -> tuple[Tensor, Tensor]:
    """(o [B, Hq, Sq, Dv] in q's dtype, lse [B, Hq, Sq] float32; an empty one where weights have none)."""
    read = read_plan(plan)
    call = call_of(read.pattern, q, k, reals, fields, params, numbers, q_start)
    check_fields(read, read.pattern, call)
    return dispatch.forward(read.on(call), call, q, k, v, scale)


@torch.library.custom_op("attnir::attend_backward", mutates_args=())
def attend_backward(
    do: Tensor,
    dlse: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    o: Tensor,
    lse: Tensor,
    reals: Sequence[Tensor],
    fields: Sequence[Tensor],
    params: Sequence[int],
    numbers: Sequence[Number],
    plan: str,
    scale: Number,
    q_start: int,
    for_q: bool,
    for_kv: bool,
    for_reals: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """(dq, dk, dv, those of the real tensors), contiguous, shaped and typed as these; empty where not asked for."""
    read = read_plan(plan)
    call = call_of(read.pattern, q, k, reals, fields, params, numbers, q_start)
    wanted = Wanted(for_q, for_kv, tuple(d.name for d, w in zip(read.pattern.reals, for_reals, strict=True) if w))
    found = dispatch.backward(read.on(call), call, Incoming(q, k, v, o, lse, do, dlse, scale), wanted)
    dq, dk, dv = _wanted(found.q, for_q, q), _wanted(found.k, for_kv, k), _wanted(found.v, for_kv, v)
    of_reals = zip(read.pattern.reals, reals, for_reals, strict=True)
    return dq, dk, dv, [_wanted(found.reals.get(d.name), w, t) for d, t, w in of_reals]


def _wanted(gradient: Tensor | None, wanted: bool, t: Tensor) -> Tensor:
    """A gradient that was asked for; else nothing, as a tensor, since an operator returns no None."""
    return gradient if wanted and gradient is not None else t.new_empty(0)


@attend.register_fake
def _attend_fake(
    q: Tensor, k: Tensor, v: Tensor, reals: Any, fields: Any, params: Any, numbers: Any, plan: str, *rest: Any
) -> tuple[Tensor, Tensor]:
    shape = (q.shape[0], q.shape[1], q.shape[2])
    lse = shape if read_plan(plan).pattern.weights.divided else 0
    return q.new_empty((*shape, v.shape[3])), q.new_empty(lse, dtype=torch.float32)


@attend_backward.register_fake
def _attend_backward_fake(
    do: Tensor,
    dlse: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    o: Tensor,
    lse: Tensor,
    reals: Sequence[Tensor],
    *rest: Any,
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    *_, for_q, for_kv, for_reals = rest
    dq, dk, dv = (t.new_empty(t.shape if wanted else 0) for t, wanted in ((q, for_q), (k, for_kv), (v, for_kv)))
    return dq, dk, dv, [t.new_empty(t.shape if wanted else 0) for t, wanted in zip(reals, for_reals, strict=True)]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, reals, fields, params, numbers, plan, scale, q_start = inputs
    ctx.save_for_backward(q, k, v, *output, *reals, *fields)
    ctx.count = len(reals)
    ctx.rest = (params, numbers, plan, scale, q_start)
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, do: Tensor | None, dlse: Tensor | None) -> tuple[Any, ...]:
    q, k, v, o, lse, *tensors = ctx.saved_tensors
    reals, fields = tensors[: ctx.count], tensors[ctx.count :]
    # torch takes an empty list for a list of tensors, so one without elements has an empty list of gradients.
    rest: tuple[Any, ...] = ([None] * len(fields), *(None if numbers else [] for numbers in ctx.rest[:2]), *[None] * 3)
    if do is None and dlse is None:
        return None, None, None, [None] * len(reals), *rest
    check_transforms(do, dlse)
    do = torch.zeros_like(o) if do is None else do
    wanted, for_reals = ctx.needs_input_grad[:3], list(ctx.needs_input_grad[3])
    for_kv = wanted[1] or wanted[2]
    *grads, of_reals = attend_backward(
        do, dlse, q, k, v, o, lse, reals, fields, *ctx.rest, wanted[0], for_kv, for_reals
    )
    learned = [g if w else None for g, w in zip(of_reals, for_reals, strict=True)]
    return *(g if w else None for g, w in zip(grads, wanted, strict=True)), learned, *rest


def _second_derivative(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
    raise DerivativeError(
        "an attention has first derivatives only; for second ones differentiate an.reference(pattern), which is dense"
    )


attend.register_autograd(_backward, setup_context=_setup_context)
attend_backward.register_autograd(_second_derivative)
