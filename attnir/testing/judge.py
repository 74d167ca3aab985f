"""How a kernel's numbers are judged: against dense float64, with a same-dtype eager result as the yardstick.

Per row: rho = |x - ref| / |ref|. Accepted when max rho <= c * (max rho of the yardstick) + 2 ulp, c = 2 forward and 3
backward, and the global ratio of norms stays under a bound of the dtype, or under the yardstick's where peaked scores
push that one above the bound. In both what lies within the roundings named below is no error.

A result may be a difference of large terms that cancel: the dq of a row with one live key is 0 exactly, whatever the
terms. So |ref| is taken as at least 1 % of the norm of the sum of the terms' sizes. And a float32 rounding is no
error, of the products over absolute values: softmax's backward subtracts dO . o from dO . v, which are rounded apart,
however small the two are. Nor are the roundings of a score and of its slope, as `roundings.py` counts them. For kernel
and yardstick alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from attnir.dense import factors, gather, in_blocks, of_rows, through_landmarks, weigh
from attnir.expr import Expr
from attnir.heads import spread, summed
from attnir.real import SCORE, derivative, tensors_read
from attnir.reference import reference
from attnir.testing.case import Case
from attnir.testing.roundings import wrong_by

CHANCE = 8  # roundings of random calls whose inputs are such that the yardstick may have none
GLOBAL = {torch.bfloat16: 5e-3, torch.float16: 1e-3, torch.float32: 1e-5}

Results = dict[str, Tensor]


def run(attention: Callable[..., Any], case: Case, device: str = "cpu", *, double: bool = False) -> Results:
    """o, lse and the gradients of an attention or a reference; lse enters the loss. double: in float64."""
    tensors, options = list(case.tensors(device)), case.options(device)
    if double:
        tensors = [t.double() for t in tensors]
        options |= {name: t.double() for name in case.learned if isinstance(t := options[name], Tensor)}
    return differentiated(attention, tensors, options, case.learned, with_lse=case.weights.divided)


def differentiated(
    attention: Callable[..., Any],
    tensors: Sequence[Tensor],
    options: Mapping[str, Any],
    learned: Sequence[str] = (),
    *,
    with_lse: bool = True,
) -> Results:
    """o, lse where there is one, dq, dk, dv, and `d name` of each real tensor, of q, k, v, do and dlse."""
    *given, do, dlse = tensors
    leaves = [t.detach().requires_grad_() for t in (*given, *(options[name] for name in learned))]
    options = {**options, **dict(zip(learned, leaves[3:], strict=True))}
    if with_lse:
        o, lse = attention(*leaves[:3], return_lse=True, **options)
        found = {"o": o.detach(), "lse": lse.detach()}
        of_lse = torch.where(lse == -torch.inf, 0.0, lse * dlse.to(lse.dtype)).sum()
    else:
        o = attention(*leaves[:3], **options)
        found, of_lse = {"o": o.detach()}, o.new_zeros(())
    loss = (o * do.to(o.dtype)).sum() + of_lse
    grads = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    names = ("dq", "dk", "dv", *(gradient(name) for name in learned))
    return {**found, **dict(zip(names, grads, strict=True))}


def gradient(name: str) -> str:
    """What the result is called that is the gradient of a real tensor."""
    return f"d {name}"


def eager(case: Case) -> Results:
    """The yardstick: plain masked attention in the case's dtype, with torch's own gradients."""
    live, weights = case.live, case.weights

    def attention(q: Tensor, k: Tensor, v: Tensor, **options: object) -> Tensor | tuple[Tensor, Tensor]:
        k, v = spread(k, case.heads_of.k), spread(v, case.heads_of.v)
        s = (q @ k.transpose(-1, -2)).float() * case.factor
        p, lse = weigh(weights, case.with_reals(options), case.changed(s, options) + 0.0 * s, live)
        p = torch.where(live, p * factors(weights, case.with_reals(options), p, live), 0.0)
        o = p.to(v.dtype) @ v
        return o if lse is None else (o, lse)

    return run(attention, case)


def dense(case: Case) -> Results:
    """The dense float64 meaning from the same rounded inputs."""
    return run(reference(case.pattern, heads=case.maps), case, double=True)


def judge(got: Results, case: Case, *, roundings: int = 1, stored: bool = False) -> dict[str, float]:
    """Assert that every result is accepted; the largest error of each, for a report.

    roundings  how many float32 roundings are no error. Random calls of peaked inputs ask for more: where one key
               outweighs the others the yardstick may be exact by chance, and is none then
    stored     that o is rounded to its dtype is no error of gradients: kernels make dO . o of it, the yardstick does
               not, and in random calls a row may have few keys, whose gradients cancel
    """
    ref, yardstick, size = dense(case), eager(case), sizes(case)
    rounds = {name: roundings * t for name, t in sizes(case, rounded=True, stored=stored).items()}
    figures, learned = {}, {gradient(name) for name in case.learned}
    dead = ~case.live.any(-1)
    got = {name: t.detach().cpu() for name, t in got.items()}
    if case.weights.is_softmax and case.weights.sink is None and case.weights.landmarks is None:
        assert torch.equal(got["lse"] == -torch.inf, dead), "lse is -inf exactly on the rows without a live key"
    elif case.weights.divided:
        none = ref["lse"] == -torch.inf
        assert torch.equal(got["lse"] == -torch.inf, none), "lse is -inf exactly on the rows whose weights have no sum"
    assert bool((got["o"][dead] == 0).all()) and bool((got["dq"][dead] == 0).all()), "a dead row gives zeros"
    for name, x in got.items():
        assert x.dtype == (torch.float32 if name == "lse" or name in learned else case.dtype), f"{name} is {x.dtype}"
        if name == "lse":
            # An lse near 0 is a sum of scores that are not: its error is measured against them. It holds a score's
            # rounding and one of its own.
            has = ref[name] > -torch.inf
            a, b, c, s, r = (
                t[has].double()[..., None] for t in (x, ref[name], yardstick[name], size[name], rounds[name])
            )
            one = torch.ones_like(b)
            figures[name] = accept(name, (a - b) / s + 1, one, (c - b) / s + 1, one, 2 * r / s, 2, torch.float32)
        else:
            factor, terms = 2 if name == "o" else 3, (size[name], rounds[name])
            figures[name] = accept(name, x, ref[name], yardstick[name], *terms, factor, case.dtype)
    return figures


def sizes(case: Case, *, rounded: bool = False, stored: bool = False) -> Results:
    """The sums of the sizes of the terms of lse, o and the gradients, in float64.

    rounded: with every product of two vectors over absolute values, which is what its roundings follow. Else a score,
    dO . v and dO . o count as one term each. stored: with o's own rounding, in units of those of float32.
    """
    q, k, v, do, dlse = (t.double() for t in case.tensors())
    maps, live, weights, call = case.heads_of, case.live, case.weights, case.call
    key_heads, value_heads = k.shape[1], v.shape[1]
    k, v = spread(k, maps.k), spread(v, maps.v)

    def product(a: Tensor, b: Tensor) -> Tensor:
        return a.abs() @ b.abs().transpose(-1, -2) if rounded else (a @ b.transpose(-1, -2)).abs()

    before, of_score = q @ k.transpose(-1, -2) * case.factor, product(q, k) * abs(case.factor)
    weighed = weights.of(case.score)

    def size_of(e: Expr) -> Tensor:
        if rounded:
            return wrong_by(e, case, before, of_score)
        return torch.where(live, case.of_pairs(e, before).abs(), 0.0)

    scores = case.changed(before)
    p, lse = weigh(weights, call, scores, live)
    o = torch.where(live, p * factors(weights, call, p, live), 0.0) @ v
    found, factor = {}, size_of(weights.factor)
    if weights.is_softmax:
        assert lse is not None
        size = scores.abs() + (size_of(case.score) if rounded else 0.0)
        if weights.landmarks is not None:
            size = _size_by_landmarks(weights.landmarks, torch.where(live, size, 0.0))
        share = p = torch.where(live, p * (1 + size + _finite(lse)[..., None].abs()), 0.0)  # exp magnifies s - lse's
        largest = torch.where(live, size, 0.0).amax(-1)
        found["lse"] = 1 + torch.maximum(largest, _finite(lse).abs())  # of many equal scores lse is larger
        found["o"] = p * factor @ v.abs()
    else:
        share = torch.ones_like(p) if lse is None else torch.where(lse > -torch.inf, -lse, -torch.inf).exp()[..., None]
        p = size_of(weighed) * share
        found["o"] = p * factor @ v.abs()
        if lse is not None:
            found["lse"] = 1 + torch.maximum(_finite(lse).abs(), p.sum(-1))
            if rounded:  # the forward divides by the sum; the backward's share is made of an lse that was rounded
                p = p + torch.where(
                    live, case.of_pairs(weighed, before).abs() * share * _finite(lse)[..., None].abs(), 0.0
                )
                share = share * (1 + _finite(lse)[..., None].abs())
    of_row = q.new_zeros(())
    if lse is not None:
        of_row = (do * o).abs().sum(-1, keepdim=True) if rounded else (do * o).sum(-1, keepdim=True).abs()
        of_row = of_row * (torch.finfo(case.dtype).eps / torch.finfo(torch.float32).eps if stored else 1.0)
        of_row = of_row + dlse.abs()[..., None]
    dp = product(do, v)
    ds = torch.where(live, share * (dp * factor + of_row), 0.0)
    if weights.landmarks is not None:
        ds = through_landmarks(weights.landmarks, call, share, ds, sizes=True)
    learned = {name: torch.zeros(t.numel(), dtype=torch.float64) for name, t in call.reals.items()}
    for root, given in ((weighed, ds), (weights.factor, p * dp)):
        for name, n in tensors_read(root):
            gather(n, call, given * size_of(derivative(root, n)), learned[name])
    if weights.sink is not None and lse is not None:
        sink = of_rows(weights.sink, call, torch.float64)
        of_sink = (sink - lse).exp() * of_row[..., 0] * (sink.abs() + found["lse"])  # exp magnifies sink - lse's
        for name, n in tensors_read(weights.sink):
            slopes = of_rows(derivative(weights.sink, n), call, torch.float64).abs()
            gather(n, call, (_finite(of_sink) * slopes)[..., None], learned[name], columns=1)
    ds = ds * abs(case.factor) * size_of(derivative(weighed, SCORE))
    p = p * factor
    dk = summed(ds.transpose(-1, -2) @ q.abs(), maps.k, key_heads)
    dv = summed(p.transpose(-1, -2) @ do.abs(), maps.v, value_heads)
    found |= {"dq": ds @ k.abs(), "dk": dk, "dv": dv}
    return found | {gradient(name): t.view(call.reals[name].shape) for name, t in learned.items()}


def _size_by_landmarks(block: int, size: Tensor) -> Tensor:
    """The size of what `by_landmarks` makes of scores of that size: of a key's, its block's sum, and its landmark's."""
    of_block = in_blocks(size, block).amax(-1, keepdim=True).expand(*size.shape[:-1], -1, block).flatten(-2)
    return size + 2 * of_block[..., : size.shape[-1]] + math.log(block)


def _finite(t: Tensor) -> Tensor:
    """0 where a tensor is not finite: of rows without an lse."""
    return torch.where(torch.isfinite(t), t, 0.0)


def accept(
    name: str,
    x: Tensor,
    ref: Tensor,
    yardstick: Tensor,
    terms: Tensor,
    rounded: Tensor,
    factor: int,
    dtype: torch.dtype,
) -> float:
    x, ref, yardstick, terms, rounded = (torch.atleast_1d(t.double()) for t in (x, ref, yardstick, terms, rounded))
    assert bool(torch.isfinite(x).all()), f"{name} is not finite"
    size = torch.maximum(ref.norm(dim=-1), 1e-2 * terms.norm(dim=-1))
    zero = size == 0
    assert bool((x[zero] == 0).all()), f"{name} is not 0 where it must be"
    if bool(zero.all()):
        return 0.0
    slack = torch.finfo(torch.float32).eps * rounded.norm(dim=-1)
    errors, best = ((t - ref).norm(dim=-1)[~zero] for t in (x, yardstick))
    beyond, best = ((e - slack[~zero]).clamp(min=0) for e in (errors, best))
    rho, limit = beyond / size[~zero], factor * float((best / size[~zero]).max()) + 2 * torch.finfo(dtype).eps
    assert float(rho.max()) <= limit, f"{name}: max rho {float(rho.max()):.3e} > {limit:.3e}"
    whole = max(ref.norm(), 1e-2 * terms.norm())
    ratio, reached = (float(e.norm() / whole) for e in (beyond, best))
    limit = max(GLOBAL[dtype], reached)
    assert ratio <= limit, f"{name}: global ratio {ratio:.3e} > {limit:.3e}"
    return float((errors / size[~zero]).max())
