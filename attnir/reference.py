"""The dense meaning of a pattern: masked softmax attention in float64, S x S, obviously right. For comparison only."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from attnir.call import Call
from attnir.evaluate import dense_mask, dense_score, dense_tokens, entry_of_pairs
from attnir.expr import Expr
from attnir.inputs import DTYPES, check_inputs
from attnir.masks import Mask
from attnir.promises import check_sizes
from attnir.real import derivative, slope, tensors_read
from attnir.scores import Pattern, Score
from attnir.scores import pattern as declare

Reference = Callable[..., "Tensor | tuple[Tensor, Tensor]"]


def reference(pattern: Mask | Pattern, *, score: Score | Iterable[Score] = ()) -> Reference:
    """The dense meaning of `pattern`, a mask or one with scores, as a plain function of (q, k, v).

    It takes what a compiled attention takes: q [B, Hq, Sq, D], k [B, Hkv, Sk, D], v [B, Hkv, Sk, Dv], `scale`,
    `q_start`, `return_lse`, fields and parameters by name; also float64. It computes in float64 and returns
    o [B, Hq, Sq, Dv], and lse [B, Hq, Sq] with `return_lse`, both float64 and differentiable. A row without a live key
    gives 0 and -inf.

    >>> import attnir as an, torch
    >>> q = k = v = torch.ones(1, 1, 3, 2)
    >>> o, lse = an.reference(an.causal())(q, k, v, scale=0.0, return_lse=True)
    >>> lse.exp().round().tolist()
    [[[1.0, 2.0, 3.0]]]
    """

    declared = declare(pattern, score=score)
    signature = declared.signature

    def dense(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        scale: float | None = None,
        q_start: int | None = None,
        return_lse: bool = False,
        **bindings: object,
    ) -> Tensor | tuple[Tensor, Tensor]:
        check_inputs(q, k, v, dtypes=(*DTYPES, torch.float64))
        call = signature.bind(
            bindings,
            batch=q.shape[0],
            heads=q.shape[1],
            q_len=q.shape[2],
            k_len=k.shape[2],
            q_start=q_start,
            device=q.device,
        )
        check_sizes(call, *declared.roots)
        o, lse = dense_forward(declared, call, q, k, v, scale)
        return (o, lse) if return_lse else o

    return dense


def dense_forward(
    pattern: Pattern, call: Call, q: Tensor, k: Tensor, v: Tensor, scale: float | None
) -> tuple[Tensor, Tensor]:
    """(o, lse) of a pattern in one call, float64 and differentiable."""
    live = dense_mask(pattern.predicate, call)
    return masked_softmax(q, k, v, live, scale, dense_score(pattern.score, call, live))


def dense_backward(
    pattern: Pattern, call: Call, q: Tensor, k: Tensor, v: Tensor, do: Tensor, dlse: Tensor | None, scale: float
) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, ...]]:
    """(dq, dk, dv, those of the real tensors), typed as these, by the textbook: dS = P * (dP - delta + dlse)."""
    group = q.shape[1] // k.shape[1]
    queries, grad = q.double(), do.double()
    keys, values = (t.double().repeat_interleave(group, 1) for t in (k, v))
    live, score = dense_mask(pattern.predicate, call), pattern.score
    changed = dense_score(score, call, live)
    o, lse = masked_softmax(q, k, v, live, scale, changed)
    s = queries @ keys.transpose(-1, -2) * scale
    p = torch.where(live, (changed(s) - lse[..., None]).exp(), 0.0)
    delta = (grad * o).sum(-1) - (0.0 if dlse is None else dlse.double())
    ds = torch.where(live, p * (grad @ values.transpose(-1, -2) - delta[..., None]), 0.0)
    found = {name: torch.zeros(t.numel(), dtype=torch.float64, device=t.device) for name, t in call.reals.items()}
    for name, n in tensors_read(score):
        slopes = dense_score(derivative(score, n), call, live)(s)
        gather(n, call, torch.where(live, ds * slopes, 0.0), found[name])
    ds = torch.where(live, ds * dense_score(slope(score), call, live)(s) * scale, 0.0)
    dk, dv = (t.unflatten(1, (-1, group)).sum(2) for t in (ds.transpose(-1, -2) @ queries, p.transpose(-1, -2) @ grad))
    dq, dk, dv = (g.to(t.dtype).contiguous() for g, t in ((ds @ keys, q), (dk, k), (dv, v)))
    return dq, dk, dv, tuple(found[name].view(t.shape).to(t.dtype) for name, t in call.reals.items())


def gather(n: Expr, call: Call, given: Tensor, found: Tensor) -> None:
    """Add what every pair gives to the entry of a real tensor that it reads."""
    tokens = dense_tokens(call, slice(0, call.q_len), slice(0, call.k_len))
    entry, inside = entry_of_pairs(n, call, tokens["b"], tokens["h"], tokens["q"] - call.q_start, tokens["k"])
    given = given if inside is None else torch.where(inside, given, 0.0)
    found.index_put_((entry.expand(given.shape),), given, accumulate=True)


def masked_softmax(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    live: Tensor,
    scale: float | None = None,
    changed: Callable[[Tensor], Tensor] = lambda s: s,
) -> tuple[Tensor, Tensor]:
    """(o, lse) in float64 for a mask `live`, bool, broadcastable to [B, Hq, Sq, Sk], and what becomes of scores."""
    group = q.shape[1] // k.shape[1]
    k, v = (t.double().repeat_interleave(group, 1) for t in (k, v))
    s = q.double() @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    scores = changed(s) + 0.0 * s  # so that gradients are 0 where the scores do not matter
    live = live.expand(scores.shape)
    alive = live.any(-1, keepdim=True)
    scores = torch.where(live, scores, -torch.inf)
    scores = torch.where(alive, scores, 0.0)  # a dead row is made harmless here and zeroed below
    lse = scores.logsumexp(-1, keepdim=True)
    p = torch.where(alive, (scores - lse).exp(), 0.0)
    return p @ v, torch.where(alive, lse, -torch.inf)[..., 0]
