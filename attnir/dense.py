"""The weights of all pairs at once, in whatever dtype the scores have: the dense meaning of `weighing.Weights`.

Landmarks are a change of scores: in the blocks that its query does not stand in, the score of a key grows by that of
the block's landmark and falls by the log of the sum over the block, so that softmax gives the block what its landmark
weighs. `by_landmarks` is that change, `through_landmarks` the way back.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attnir.call import Call
from attnir.evaluate import dense_score, dense_tokens, entry_of_pairs, of_pairs
from attnir.expr import Expr
from attnir.real import ONE, derivative, slope, tensors_read
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
    if weights.landmarks is not None:
        scores, live = by_landmarks(weights.landmarks, call, scores, live)
    scores = torch.where(live, scores, -torch.inf)
    if weights.sink is not None:
        scores = torch.cat([scores, of_rows(weights.sink, call, scores.dtype)[..., None]], -1)
    alive = (scores > -torch.inf).any(-1, keepdim=True)
    scores = torch.where(alive, scores, 0.0)  # a dead row is made harmless here and zeroed below
    lse = scores.logsumexp(-1, keepdim=True)
    p = torch.where(alive, (scores - lse).exp(), 0.0)[..., : live.shape[-1]]
    return p, torch.where(alive, lse, -torch.inf)[..., 0]


def by_landmarks(block: int, call: Call, scores: Tensor, live: Tensor) -> tuple[Tensor, Tensor]:
    """(scores of softmax, which pairs have a weight) with a landmark in every block. Differentiable."""
    scores, live = in_blocks(scores, block), in_blocks(live, block)
    own, (members, landmark) = _own(block, call, live), (live[..., :-1], live[..., -1:])
    given = torch.where(members, scores[..., :-1], -torch.inf)
    alive = (given > -torch.inf).any(-1, keepdim=True)
    total = torch.where(alive, given, 0.0).logsumexp(-1, keepdim=True)
    passed_on = torch.where(own, 0.0, torch.where(landmark, scores[..., -1:], 0.0) - total)
    weighs = members & (own | landmark & alive)
    none = torch.zeros_like(landmark)
    k_len = call.k_len
    found = torch.cat([scores[..., :-1] + passed_on, torch.zeros_like(scores[..., -1:])], -1)
    return found.flatten(-2)[..., :k_len], torch.cat([weighs, none], -1).flatten(-2)[..., :k_len]


def through_landmarks(block: int, call: Call, p: Tensor, ds: Tensor, *, sizes: bool = False) -> Tensor:
    """The gradients of scores, for those of `by_landmarks`; p: the weights. sizes: sums of sizes, not of gradients."""
    p, ds = in_blocks(p, block), in_blocks(ds, block)
    of_block = torch.where(_own(block, call, p), 0.0, ds.sum(-1, keepdim=True))
    total = p.sum(-1, keepdim=True)
    shares = p / torch.where(total > 0.0, total, 1.0)
    members = (ds + shares * of_block if sizes else ds - shares * of_block)[..., :-1]
    return torch.cat([members, of_block], -1).flatten(-2)[..., : call.k_len]


def in_blocks(t: Tensor, block: int) -> Tensor:
    """t [..., Sk] as [..., blocks, keys of one]; 0 where there is no such key."""
    padded = torch.cat([t, t.new_zeros(*t.shape[:-1], -t.shape[-1] % block)], -1)
    return padded.view(*t.shape[:-1], padded.shape[-1] // block, block)


def _own(block: int, call: Call, like: Tensor) -> Tensor:
    """Which block a query stands in, [Sq, blocks, 1]."""
    queries = call.q_start + torch.arange(call.q_len, device=like.device)
    return (queries[:, None] // block == torch.arange(like.shape[-2], device=like.device))[..., None]


def factors(weights: Weights, call: Call, like: Tensor, live: Tensor) -> Tensor:
    """What the weight of each live pair is multiplied with when it meets a value."""
    return torch.ones_like(like) if weights.factor is ONE else dense_score(weights.factor, call, live)(like)


def of_rows(e: Expr, call: Call, dtype: torch.dtype) -> Tensor:
    """A real expression over rows, [B, H, Sq]."""
    tokens = dense_tokens(call, slice(0, call.q_len), slice(0, 1))
    s = torch.zeros((), dtype=dtype, device=call.device)  # whose dtype real numbers have
    found = of_pairs(e, call, tokens["b"], tokens["h"], tokens["q"] - call.q_start, tokens["k"], s)
    return found.to(dtype).expand(call.batch, call.heads, call.q_len, 1)[..., 0]


def pulled(weights: Weights, p: Tensor, lse: Tensor | None, pull: Tensor, delta: Tensor | None) -> Tensor:
    """The gradients of changed scores, or of weights that are no softmax's: P * (pull - delta), or of the row's share.

    pull is the gradient of what the weights p [B, H, Sq, Sk] count, delta [B, H, Sq] its mean over each row.
    """
    if lse is None or delta is None:
        return pull
    share = p if weights.is_softmax else torch.where(lse > -torch.inf, -lse, -torch.inf).exp()[..., None]
    return share * (pull - delta[..., None])


def through_score(weighed: Expr, call: Call, s: Tensor, live: Tensor, ds: Tensor, found: dict[str, Tensor]) -> Tensor:
    """The gradients of scores s for those of what they become, 0 on dead pairs; adds to the sums of real tensors."""
    add_learned(weighed, call, s, live, ds, found)
    return torch.where(live, ds * dense_score(slope(weighed), call, live)(s), 0.0)


def add_learned(root: Expr, call: Call, s: Tensor, live: Tensor, given: Tensor, found: dict[str, Tensor]) -> None:
    """Add what a real expression of pairs, whose gradient is given, passes on to the real tensors that it reads."""
    for name, n in tensors_read(root):
        slopes = dense_score(derivative(root, n), call, live)(s)
        gather(n, call, torch.where(live, given * slopes, 0.0), found[name])


def no_sums(call: Call) -> dict[str, Tensor]:
    """The gradients of real tensors before anything is added, flat, float64."""
    return {name: torch.zeros(t.numel(), dtype=torch.float64, device=t.device) for name, t in call.reals.items()}


def gather(n: Expr, call: Call, given: Tensor, found: Tensor, columns: int | None = None) -> None:
    """Add what every pair gives, [B, H, Sq, Sk], to the entry of a real tensor that it reads; of its first columns."""
    tokens = dense_tokens(call, slice(0, call.q_len), slice(0, call.k_len if columns is None else columns))
    entry, inside = entry_of_pairs(n, call, tokens["b"], tokens["h"], tokens["q"] - call.q_start, tokens["k"])
    given = given if inside is None else torch.where(inside, given, 0.0)
    found.index_put_((entry.expand(given.shape),), given, accumulate=True)
