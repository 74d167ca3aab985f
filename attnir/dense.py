"""The weights of all pairs at once, in whatever dtype the scores have: the dense meaning of `weighing.Weights`."""

from __future__ import annotations

import torch
from torch import Tensor

from attnir.call import Call
from attnir.evaluate import dense_score, dense_tokens, entry_of_pairs, of_pairs
from attnir.expr import Expr
from attnir.real import ONE
from attnir.weighing import Weights


def weigh(weights: Weights, call: Call, scores: Tensor, live: Tensor) -> tuple[Tensor, Tensor | None]:
    """(weights [B, H, Sq, Sk] before their factor, lse [B, H, Sq] where there is one) of changed scores.

    Differentiable. live is bool, of the shape of the scores; those of dead pairs do not matter.
    """
    if weights.value is not None:
        given = torch.where(live, dense_score(weights.value, call, live)(scores), 0.0)
        if not weights.divided:
            return given, None
        total = given.sum(-1, keepdim=True)
        alive = total > 0
        total = torch.where(alive, total, 1.0)
        return torch.where(alive, given / total, 0.0), torch.where(alive, total.log(), -torch.inf)[..., 0]
    scores = torch.where(live, scores, -torch.inf)
    if weights.sink is not None:
        scores = torch.cat([scores, of_rows(weights.sink, call, scores.dtype)[..., None]], -1)
    alive = (scores > -torch.inf).any(-1, keepdim=True)
    scores = torch.where(alive, scores, 0.0)  # a dead row is made harmless here and zeroed below
    lse = scores.logsumexp(-1, keepdim=True)
    p = torch.where(alive, (scores - lse).exp(), 0.0)[..., : live.shape[-1]]
    return p, torch.where(alive, lse, -torch.inf)[..., 0]


def factors(weights: Weights, call: Call, like: Tensor, live: Tensor) -> Tensor:
    """What the weight of each live pair is multiplied with when it meets a value."""
    return torch.ones_like(like) if weights.factor is ONE else dense_score(weights.factor, call, live)(like)


def of_rows(e: Expr, call: Call, dtype: torch.dtype) -> Tensor:
    """A real expression over rows, [B, H, Sq]."""
    tokens = dense_tokens(call, slice(0, call.q_len), slice(0, 1))
    s = torch.zeros((), dtype=dtype, device=call.device)  # whose dtype real numbers have
    found = of_pairs(e, call, tokens["b"], tokens["h"], tokens["q"] - call.q_start, tokens["k"], s)
    return found.to(dtype).expand(call.batch, call.heads, call.q_len, 1)[..., 0]


def gather(n: Expr, call: Call, given: Tensor, found: Tensor, columns: int | None = None) -> None:
    """Add what every pair gives, [B, H, Sq, Sk], to the entry of a real tensor that it reads; of its first columns."""
    tokens = dense_tokens(call, slice(0, call.q_len), slice(0, call.k_len if columns is None else columns))
    entry, inside = entry_of_pairs(n, call, tokens["b"], tokens["h"], tokens["q"] - call.q_start, tokens["k"])
    given = given if inside is None else torch.where(inside, given, 0.0)
    found.index_put_((entry.expand(given.shape),), given, accumulate=True)
