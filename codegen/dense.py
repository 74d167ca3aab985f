"""Statistics on the reference backend, dense and in float64: the sums that the other targets make in tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from attnir.call import Call
from attnir.codegen.gradients import Gradients
from attnir.codegen.sums import Sums, Wished
from attnir.dense import no_sums, pulled, through_score
from attnir.dense_statistics import dense_probabilities, first_largest
from attnir.evaluate import Evaluator, dense_mask, dense_tokens
from attnir.expr import Expr
from attnir.scores import Pattern
from attnir.terms import Term


def sums(
    pattern: Pattern,
    call: Call,
    q: Tensor,
    k: Tensor,
    pulling: Sequence[Tensor],
    scale: float,
    wished: Wished,
    first: Tensor | None = None,
) -> Sums:
    """The sums that are wished for, float64."""
    live, s, p, _ = dense_probabilities(pattern, call, q, k, scale)
    more = {} if first is None else {"_is_first": _is_first(first, s)}
    if pulling:
        v, do = (t.double() for t in pulling)
        more["_dp"] = do @ v.repeat_interleave(do.shape[1] // v.shape[1], 1).transpose(-1, -2)
    rows = [_summands(t, call, live, s, p, more).sum(-1) for t in wished.rows]
    columns = [_summands(t, call, live, s, p, more).sum(-2) for t in wished.columns]
    if not wished.largest:
        return Sums(rows, columns)
    alive = live.any(-1)
    found = torch.where(alive, first_largest(s, live), -1)
    return Sums(rows, columns, torch.where(live, s, -torch.inf).amax(-1), found.int())


def _is_first(first: Tensor, s: Tensor) -> Tensor:
    return (torch.arange(s.shape[-1], device=s.device) == first[..., None]).double()


def _summands(term: Term, call: Call, live: Tensor, s: Tensor, p: Tensor, more: Mapping[str, Tensor]) -> Tensor:
    value = _values(term, call, s, p, more)
    return torch.where(live, value if term.counted else p * value, 0.0)


def _values(term: Term, call: Call, s: Tensor, p: Tensor, more: Mapping[str, Tensor]) -> Tensor:
    tokens = {**dense_tokens(call, slice(0, call.q_len), slice(0, call.k_len)), "s": s, "_p": p, **more}
    tokens["_log_p"] = torch.where(p > 0, p, 1.0).log()
    return Evaluator(call, tokens)(term.value)


def through(
    pattern: Pattern,
    call: Call,
    q: Tensor,
    k: Tensor,
    scale: float,
    pull: Expr | Tensor,
    delta: Tensor | None = None,
    first: Tensor | None = None,
) -> Gradients:
    """The gradients of q, k and of the real tensors that the score, or the weight, reads, for a pull.

    pull    an expression, or its value for every pair
    delta   the sum of P * pull over each row where it is left out
    first   the first largest keys, where the pull reads them
    """
    group = q.shape[1] // k.shape[1]
    queries, keys = q.double(), k.double().repeat_interleave(group, 1)
    live, s, p, lse = dense_probabilities(pattern, call, q, k, scale)
    more = {} if first is None else {"_is_first": _is_first(first, s)}
    value = pull if isinstance(pull, Tensor) else _values(Term(pull), call, s, p, more)
    value = torch.where(live, value, 0.0)
    delta = (p * value).sum(-1) if delta is None else delta
    ds = torch.where(live, pulled(pattern.weights, p, lse, value, delta), 0.0)
    before, found = queries @ keys.transpose(-1, -2) * scale, no_sums(call)
    live = dense_mask(pattern.predicate, call).expand(ds.shape)
    ds = through_score(pattern.weighed, call, before, live, ds, found) * scale
    dk = (ds.transpose(-1, -2) @ queries).unflatten(1, (-1, group)).sum(2)
    return Gradients(ds @ keys, dk, None, {name: t.view(call.reals[name].shape) for name, t in found.items()})
