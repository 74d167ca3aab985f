"""The dense meaning of a pattern: masked softmax attention in float64, S x S, obviously right. For comparison only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor

from attnir.call import Call
from attnir.dense import add_learned, factors, no_sums, pulled, through_landmarks, through_score, weigh
from attnir.errors import NoLseError
from attnir.evaluate import dense_mask, dense_score
from attnir.factors import Factor
from attnir.graph.attending import Attend
from attnir.graph.graph import Graph, check_nothing_beside
from attnir.graph.running import dense as dense_graph
from attnir.heads import Heads, check_is_heads, heads_of, named, spread, summed
from attnir.inputs import DTYPES, check_inputs, factor_of
from attnir.masks import Mask
from attnir.normalizers import Normalizer
from attnir.promises import check_sizes
from attnir.scores import Pattern, Score
from attnir.scores import pattern as declare

Reference = Callable[..., "Tensor | tuple[Tensor, Tensor]"]


def reference(
    pattern: Mask | Pattern | Graph,
    *,
    score: Score | Iterable[Score] = (),
    normalize: Normalizer | None = None,
    factor: Factor | Iterable[Factor] = (),
    heads: Heads | None = None,
) -> Reference:
    """The dense meaning of a pattern, said as for `an.compile`, as a plain function of (q, k, v).

    It takes what a compiled attention takes: q [B, Hq, Sq, D], k [B, Hk, Sk, D], v [B, Hv, Sk, Dv], `scale`,
    `q_start`, `return_lse`, fields and parameters by name; also float64. It computes in float64 and returns
    o [B, Hq, Sq, Dv], and lse [B, Hq, Sq] with `return_lse`, both float64 and differentiable. A row without a live key
    gives 0 and -inf. heads are head maps, as for `an.compile`. That of a graph takes what the graph does.

    >>> import attnir as an, torch
    >>> q = k = v = torch.ones(1, 1, 3, 2)
    >>> o, lse = an.reference(an.causal())(q, k, v, scale=0.0, return_lse=True)
    >>> lse.exp().round().tolist()
    [[[1.0, 2.0, 3.0]]]
    """

    check_is_heads(heads)
    if isinstance(pattern, Graph):
        check_nothing_beside(score=score, normalize=normalize, factor=factor, heads=heads)
        return partial(dense_graph, pattern, _of_stage)
    declared = declare(pattern, score=score, normalize=normalize, factor=factor)
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
        check_inputs(q, k, v, heads, dtypes=(*DTYPES, torch.float64))
        check_lse(declared, return_lse)
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
        o, lse = dense_forward(declared, call, q, k, v, factor_of(scale, q.shape[-1]), heads)
        return o if lse is None or not return_lse else (o, lse)

    return dense


def _of_stage(stage: Attend) -> Reference:
    """The dense meaning of an attention of a graph: (o, lse), or o where there is none."""
    dense = reference(stage.pattern, heads=stage.heads)
    return partial(dense, scale=stage.scale, return_lse=stage.pattern.weights.divided)


def check_lse(pattern: Pattern, wanted: bool) -> None:
    """Raise NoLseError where an lse is asked for of weights that have none."""
    if wanted and not pattern.weights.divided:
        raise NoLseError(
            "weights that are not divided by their sum have no lse; leave return_lse out, or divide them: "
            "an.weights(..., divide=True)"
        )


def dense_forward(
    pattern: Pattern, call: Call, q: Tensor, k: Tensor, v: Tensor, scale: float, heads: Heads | None = None
) -> tuple[Tensor, Tensor | None]:
    """(o, lse) of a pattern in one call, float64 and differentiable; lse is None where the weights have none."""
    of_k, of_v = named(heads, q.shape[1], k.shape[1], v.shape[1])
    k, v = spread(k.double(), of_k), spread(v.double(), of_v)
    s = q.double() @ k.transpose(-1, -2) * scale
    live = dense_mask(pattern.predicate, call).expand(s.shape)
    scores = dense_score(pattern.score, call, live)(s) + 0.0 * s  # so that gradients are 0 where scores do not matter
    p, lse = weigh(pattern.weights, call, scores, live)
    return torch.where(live, p * factors(pattern.weights, call, p, live), 0.0) @ v, lse


def dense_backward(
    pattern: Pattern,
    call: Call,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    do: Tensor,
    dlse: Tensor | None,
    scale: float,
    heads: Heads | None = None,
) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
    """(dq, dk, dv, those of the real tensors of pairs), typed as these, by the textbook.

    dS = P * (C * dP - delta + dlse), where C are the factors. Of other weights than softmax's, W, whose sum is n:
    dW = (C * dP - delta + dlse) / n, or C * dP.
    """
    maps, weights = heads_of(heads, q.shape[1], k.shape[1], v.shape[1]), pattern.weights
    queries, keys, values, grad = (t.double() for t in (q, spread(k, maps.k), spread(v, maps.v), do))
    s = queries @ keys.transpose(-1, -2) * scale
    live = dense_mask(pattern.predicate, call).expand(s.shape)
    p, lse = weigh(weights, call, dense_score(pattern.score, call, live)(s), live)
    c = factors(weights, call, p, live)
    counted, dp = torch.where(live, p * c, 0.0), grad @ values.transpose(-1, -2)
    delta = (grad * (counted @ values)).sum(-1) - (0.0 if dlse is None else dlse.double())
    ds = torch.where(live, pulled(weights, p, lse, c * dp, delta), 0.0)
    if weights.landmarks is not None:
        ds = through_landmarks(weights.landmarks, call, p, ds)
    found = no_sums(call)
    add_learned(weights.factor, call, s, live, torch.where(live, p * dp, 0.0), found)
    ds = through_score(pattern.weighed, call, s, live, ds, found) * scale
    dk = summed(ds.transpose(-1, -2) @ queries, maps.k, k.shape[1])
    dv = summed(counted.transpose(-1, -2) @ grad, maps.v, v.shape[1])
    dq, dk, dv = (g.to(t.dtype).contiguous() for g, t in ((ds @ keys, q), (dk, k), (dv, v)))
    return dq, dk, dv, {name: found[name].view(t.shape).to(t.dtype) for name, t in call.reals.items()}
