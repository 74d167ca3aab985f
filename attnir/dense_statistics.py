"""The dense meaning of statistics: P in float64, S x S, and each of them by its formula. For comparison only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attnir.asked import Asked, Kind, Part
from attnir.call import Call
from attnir.dense import of_rows, weigh
from attnir.evaluate import Evaluator, dense_mask, dense_score, dense_tokens
from attnir.scores import Pattern


def dense_statistics(
    asked: Asked, call: Call, q: Tensor, k: Tensor, pulling: Sequence[Tensor], scale: float
) -> list[Tensor]:
    """The results of all parts, float64 (positions int64), differentiable in q, k and real tensors of the call.

    pulling  v and do, where a part pulls.
    """
    live, s, p, _ = dense_probabilities(asked.pattern, call, q, k, scale)
    return [_dense(part, asked.pattern, call, live, s, p, pulling) for part in asked.parts]


def dense_probabilities(
    pattern: Pattern, call: Call, q: Tensor, k: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """(live pairs, scores, P), [B, Hq, Sq, Sk], and lse [B, Hq, Sq], if any; scores of dead pairs are 0."""
    keys = k.double().repeat_interleave(q.shape[1] // k.shape[1], 1)
    before = q.double() @ keys.transpose(-1, -2) * scale
    live = dense_mask(pattern.predicate, call).expand(before.shape)
    s = torch.where(live, dense_score(pattern.score, call, live)(before) + 0.0 * before, 0.0)
    p, lse = weigh(pattern.weights, call, s, live)
    return live, s, torch.where(live, p, 0.0), lse


def _dense(
    part: Part, pattern: Pattern, call: Call, live: Tensor, s: Tensor, p: Tensor, pulling: Sequence[Tensor]
) -> Tensor:
    match part.kind:
        case Kind.ENTROPY:
            return _entropies(p).sum(-1) + _of_sink(pattern, call, live, s)
        case Kind.MEAN:
            return (p * s).sum(-1)
        case Kind.COLLISION:
            return p.square().sum(-1)
        case Kind.LARGEST:
            return p.gather(-1, first_largest(s, live)[..., None])[..., 0]
        case Kind.ARGMAX:
            return torch.where(live.any(-1), first_largest(s, live), -1)
        case Kind.MATRIX:
            return p
        case Kind.PULLED:
            v, do = (t.double() for t in pulling)
            v = v.repeat_interleave(do.shape[1] // v.shape[1], 1)
            return (p * (do @ v.transpose(-1, -2))).sum(-2)
    tokens = {**dense_tokens(call, slice(0, call.q_len), slice(0, call.k_len)), "s": s}
    value = Evaluator(call, tokens)(part.value)
    summed = torch.where(live, value if part.kind is Kind.COUNT else p * value, 0.0)
    return summed.sum(-1 if part.kind is Kind.ROW else -2)


def _entropies(p: Tensor) -> Tensor:
    return -(p * torch.where(p > 0, p, 1.0).log())


def _of_sink(pattern: Pattern, call: Call, live: Tensor, s: Tensor) -> Tensor:
    """What a sink adds to the entropy: it is one more key, with a probability of its own."""
    if pattern.weights.sink is None:
        return torch.zeros_like(s[..., 0])
    sink = of_rows(pattern.weights.sink, call, s.dtype)
    every = torch.cat([torch.where(live, s, -torch.inf), sink[..., None]], -1)
    return _entropies(every.softmax(-1)[..., -1])


def first_largest(s: Tensor, live: Tensor) -> Tensor:
    """The first key with the largest score of each row, [B, Hq, Sq]; of dead rows, any."""
    s = torch.where(live, s.detach(), -torch.inf)
    index = torch.arange(s.shape[-1], device=s.device)
    return torch.where(s == s.amax(-1, keepdim=True), index, s.shape[-1] - 1).amin(-1)
