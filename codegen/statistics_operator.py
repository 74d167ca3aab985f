"""The custom operator of statistics: what `operator.py` is to attention.

`attnir::statistics(q, k, pulling, reals, fields, params, numbers, plan, asked, scale, q_start)` gives the result of
each part of what is asked, and behind them what its backward reads again: lse, and the first largest keys. `asked`
is the text of the parts; tensors and parameters are those of the pattern and of the parts, `pulling` is empty, or v and
dO.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.types import Number

from attnir.asked import read_asked
from attnir.codegen.gradients import Wanted
from attnir.codegen.operator import call_of, check_fields
from attnir.codegen.plan import read_plan
from attnir.codegen.statistics import Found, Given, empty, statistics
from attnir.codegen.statistics_gradients import statistics_backward
from attnir.errors import DerivativeError
from attnir.inputs import check_transforms


def _given(
    q: Tensor,
    k: Tensor,
    pulling: Sequence[Tensor],
    reals: Sequence[Tensor],
    fields: Sequence[Tensor],
    params: Sequence[int],
    numbers: Sequence[Number],
    plan: str,
    asked: str,
    scale: Number,
    q_start: int,
) -> Given:
    read = read_plan(plan)
    parts = read_asked(asked, read.pattern)
    call = call_of(parts, q, k, reals, fields, params, numbers, q_start)
    check_fields(read, parts, call)
    return Given(read.on(call).without_factors, parts, call, q, k, pulling, scale)


@torch.library.custom_op("attnir::statistics", mutates_args=())
def measure(
    q: Tensor,
    k: Tensor,
    pulling: Sequence[Tensor],
    reals: Sequence[Tensor],
    fields: Sequence[Tensor],
    params: Sequence[int],
    numbers: Sequence[Number],
    plan: str,
    asked: str,
    scale: Number,
    q_start: int,
) -> list[Tensor]:
    """The results of all parts, lse float32 [B, Hq, Sq], and the first largest keys, int32; these may be empty."""
    found = statistics(_given(q, k, pulling, reals, fields, params, numbers, plan, asked, scale, q_start))
    return [*found.results, found.lse, found.first]


@torch.library.custom_op("attnir::statistics_backward", mutates_args=())
def measure_backward(
    gradients: Sequence[Tensor],
    has_gradient: Sequence[bool],
    lse: Tensor,
    first: Tensor,
    q: Tensor,
    k: Tensor,
    pulling: Sequence[Tensor],
    reals: Sequence[Tensor],
    fields: Sequence[Tensor],
    params: Sequence[int],
    numbers: Sequence[Number],
    plan: str,
    asked: str,
    scale: Number,
    q_start: int,
    for_q: bool,
    for_k: bool,
    for_reals: Sequence[bool],
) -> list[Tensor]:
    """(dq, dk, those of the real tensors), shaped and typed as these; empty where not asked for."""
    given = _given(q, k, pulling, reals, fields, params, numbers, plan, asked, scale, q_start)
    each = iter(gradients)
    names = tuple(d.name for d, wanted in zip(given.asked.reals, for_reals, strict=True) if wanted)
    found = statistics_backward(
        given, Found([], lse, first), [next(each) if has else None for has in has_gradient], Wanted(for_q, for_k, names)
    )
    assert found.q is not None and found.k is not None
    wanted = [
        (found.q, for_q),
        (found.k, for_k),
        *zip((found.reals[d.name] for d in given.asked.reals), for_reals, strict=True),
    ]
    return [t if asked_for else t.new_empty(0) for t, asked_for in wanted]


@measure.register_fake
def _measure_fake(q: Tensor, k: Tensor, pulling: Any, reals: Any, *rest: Any) -> list[Tensor]:
    *_, plan, asked, _scale, _start = rest
    parts = read_asked(asked, read_plan(plan).pattern)
    shape = (q.shape[0], q.shape[1], q.shape[2])
    first = shape if parts.largest else (0,)
    results = [empty(part, (*shape, k.shape[2]), q.device) for part in parts.parts]
    lse = shape if parts.pattern.weights.divided else (0,)
    return [*results, q.new_empty(lse, dtype=torch.float32), q.new_empty(first, dtype=torch.int32)]


@measure_backward.register_fake
def _measure_backward_fake(
    gradients: Any,
    has_gradient: Any,
    lse: Tensor,
    first: Tensor,
    q: Tensor,
    k: Tensor,
    pulling: Any,
    reals: Any,
    *rest: Any,
) -> list[Tensor]:
    *_, for_q, for_k, for_reals = rest
    wanted = [(q, for_q), (k, for_k), *zip(reals, for_reals, strict=True)]
    return [t.new_empty(t.shape if asked_for else 0) for t, asked_for in wanted]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    q, k, pulling, reals, fields, params, numbers, *rest = inputs
    ctx.counts = (len(pulling), len(reals))
    ctx.save_for_backward(output[-2], output[-1], q, k, *pulling, *reals, *fields)
    ctx.rest = (params, numbers, *rest)
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, gradients: Sequence[Tensor | None]) -> tuple[Any, ...]:
    lse, first, q, k, *tensors = ctx.saved_tensors
    pulls, learned = ctx.counts
    pulling, reals, fields = tensors[:pulls], tensors[pulls : pulls + learned], tensors[pulls + learned :]
    params, numbers, *_ = ctx.rest
    for_q, for_k, _, for_reals = ctx.needs_input_grad[:4]
    for_reals = list(for_reals)
    results = list(gradients or [])[:-2]
    check_transforms(*results)
    rest: tuple[Any, ...] = ([None] * len(fields), *(None if given else [] for given in (params, numbers)), *[None] * 4)
    if not any(g is not None for g in results):
        return None, None, [None] * pulls, [None] * learned, *rest
    held = [g is not None for g in results]
    dq, dk, *dreals = measure_backward(
        [g for g in results if g is not None],
        held,
        lse,
        first,
        q,
        k,
        pulling,
        reals,
        fields,
        *ctx.rest,
        for_q,
        for_k,
        for_reals,
    )
    of_reals = [t if wanted else None for t, wanted in zip(dreals, for_reals, strict=True)]
    return dq if for_q else None, dk if for_k else None, [None] * pulls, of_reals, *rest


def _second_derivative(ctx: Any, *grads: Any) -> tuple[Any, ...]:
    raise DerivativeError("statistics have first derivatives only")


measure.register_autograd(_backward, setup_context=_setup_context)
measure_backward.register_autograd(_second_derivative)
