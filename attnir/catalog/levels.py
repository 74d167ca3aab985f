"""Keys of several resolutions in one softmax: tokens where it matters, means of blocks where it does not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnir import route
from attnir.catalog.registry import Example, entry
from attnir.catalog.shared import of_same_tokens
from attnir.catalog.sizes import divides, whole
from attnir.errors import DeclarationError
from attnir.facts import field, selection
from attnir.graph.edges import Facts, Lists, Tokens
from attnir.graph.graph import Graph
from attnir.graph.tracing import attend, choose, epilogue, graph, merge, repeat, summarise
from attnir.inputs import exact
from attnir.masks import Mask, causal, mask
from attnir.philox import uniform
from attnir.scores import multiplicity


@entry(
    "mra",
    source="Multi Resolution Analysis (MRA) for Approximate Self-Attention; mlpen/mra-attention",
    example=Example({"block": 8, "k": 2}, heads=2),
    graph=True,
)
def mra(block: int = 32, k: int = 4, coarse: bool = True, diagonal: bool = False, first: int = 0) -> Graph:
    """Pairs of blocks that fit best are seen token by token, all others by their means: one softmax. Not causal.

    Blocks fit by the product of their means, less the largest one of the block's row; those of a head compete. What a
    query sees of the other blocks is what its block's mean query sees of their mean keys, each as often as it has
    tokens. The choice has no gradient, both parts have theirs. q and k are of the same tokens.

    block      tokens in a block
    k          blocks that a block sees token by token, on average
    coarse     whether the other blocks are seen by their means; else they are not seen
    diagonal   whether a block always sees itself token by token, counted among those
    first      blocks at the beginning that all see token by token, counted as well

    >>> import attnir as an
    >>> print(an.catalog.build("mra", block=16))  # doctest: +ELLIPSIS
    q  ...
    """
    whole(1, block=block, k=k)
    whole(0, first=first)
    forced = [*([route.own()] if diagonal else []), *([route.first(first)] if first else [])]
    best = route.topk_blocks(
        block=block,
        k=k,
        score=route.relative(route.mean_pool(scaled=True)),
        forced=forced,
        counted=True,
        scope="head",
    )
    picks, count = selection("picks", "b", "h"), field("count")
    others = mask(lambda q, k: picks(q, k) == 0)

    def stages(q: Any, k: Any, v: Any) -> Any:
        lists = choose(best, q, k)
        fine = attend(best.mask, q, k, v, picks=lists, return_lse=True)
        if not coarse:
            return fine[0]
        means = [summarise(x, block) for x in (q, k, v)]
        counts = epilogue(_Counts(block), epilogue(of_same_tokens, k, q, k), gives=Facts(f"k // {block}"))
        far = attend(others, *means, score=multiplicity(lambda k: count(k)), picks=lists, count=counts, return_lse=True)
        return merge([fine, repeat(far, block, q)])[0]

    return graph(stages)


@dataclass(frozen=True, slots=True)
class _Counts:
    """How many tokens every block of keys has."""

    block: int

    def __call__(self, k: Tensor) -> Tensor:
        first = torch.arange(0, k.shape[2], self.block, device="cpu" if k.is_meta else k.device)
        return (k.shape[2] - first).clamp(max=self.block)


LEVELS = (1, 2, 4, 8)


@entry(
    "psa",
    source="PSA: Pyramid Sparse Attention for Efficient Video Understanding and Generation; "
    "ziplab/Pyramid-Sparse-Attention",
    example=Example({"query_block": 16, "block": 8, "quotas": (0.25, 0.25, 0.125, 0.125)}, heads=2),
    graph=True,
)
def psa(
    query_block: int = 128,
    block: int = 64,
    quotas: tuple[float, float, float, float] = (0.1, 0.05, 0.0, 0.2),
    past: bool = False,
    seed: int = 0,
    of: str = "blocks",
) -> Graph:
    """The better a block of keys fits, the finer it is seen: by tokens, by means of 2, 4 or 8, or not at all.

    A mean of l keys has the score of its product plus log l, the last one that of those that there are; all that is
    seen is in one softmax. Blocks of keys are ranked by the largest weight that a random quarter of the queries gives
    them, measured at a random quarter of their keys; the first share of them is seen by tokens, the next by means of 2,
    and so on. No gradient through the choice; keys and values have theirs through the means. Of a block whose sampled
    keys are all later than the sampled queries nothing is measured, and nothing seen. Shares of blocks are rounded: of
    very few blocks none may be seen.

    query_block   queries that see the same
    block         keys in a block, a multiple of 8
    quotas        the shares of the blocks that are seen by tokens, and by means of 2, 4 and 8
    of            what they are shares of: of the "blocks" by their number; or of the "importance" of all together, of
                  which the fewest are taken that reach a share, one at least by what comes first
    past          a mean is seen if the last of its keys stands at the query's position or before it
    seed          of the random quarter

    >>> import attnir as an
    >>> print(an.catalog.build("psa"))  # doctest: +ELLIPSIS
    q  ...
    """
    whole(1, query_block=query_block, block=block)
    divides("8", 8, block=block)
    whole(0, seed=seed)
    fits = isinstance(quotas, tuple) and len(quotas) == len(LEVELS)
    if not fits or any(isinstance(x, bool) or not isinstance(x, int | float) or not 0 <= x <= 1 for x in quotas):
        raise DeclarationError(f"quotas are {len(LEVELS)} shares, from 0 to 1, not {quotas!r}")
    if not any(quotas):
        raise DeclarationError("of quotas that are all 0 nothing is seen; give one that is more")
    count = field("count")
    if sum(quotas) > 1 + 1e-9:
        raise DeclarationError(f"quotas are shares of the blocks, which make 1 at most, not {sum(quotas):g}: {quotas}")
    if of not in ("blocks", "importance"):
        raise DeclarationError(f'quotas are shares of "blocks", or of their "importance", not of {of!r}')

    def stages(q: Any, k: Any, v: Any) -> Any:
        kind, parts = Lists(f"q // {query_block}", f"k // {block}"), []
        importance = epilogue(
            _Importance(query_block, block, bool(past), seed), q, k, gives=Tokens(f"q // {query_block}")
        )
        ranked = epilogue(_ranked, importance, gives=kind)
        for at, level in enumerate(LEVELS):
            if quotas[at] == 0:
                continue
            shares = sum(quotas[:at]), sum(quotas[: at + 1])
            if of == "blocks":
                lists = epilogue(_QuotaOfBlocks(*shares), ranked, gives=kind)
            else:
                lists = epilogue(_QuotaOfImportance(*shares), ranked, importance, gives=kind)
            keys, values = (summarise(x, level) if level > 1 else x for x in (k, v))
            seen = _seen(query_block, block, level)
            seen = seen & _past(level) if past else seen
            bound = {f"by_{level}": lists}
            if level > 1:
                bound[count.decl.name] = epilogue(_Counts(level), k, gives=Facts(f"k // {level}"))
            counted = multiplicity(lambda k: count(k)) if level > 1 else ()
            parts.append(attend(seen, q, keys, values, score=counted, return_lse=True, **bound))
        return merge(parts)[0]

    return graph(stages)


def _seen(query_block: int, block: int, level: int) -> Mask:
    """Which means of so many keys a query sees: those of listed blocks."""
    listed = selection(f"by_{level}", "b", "h")
    return mask(lambda q, k: listed(q // query_block, k // (block // level)) > 0)


def _past(level: int) -> Mask:
    """Means of so many keys the last of which stands at the query's position or before it."""
    if level == 1:
        return causal()
    count = field("count")
    return mask(lambda q, k: k * level + count(k) - 1 <= q)


def _ranked(importance: Tensor) -> Tensor:
    """Blocks in the order of their importance, -1 where none is seen: int32 [B, H, lists, members]."""
    order = importance.sort(stable=True, dim=-1, descending=True)
    return torch.where(order.values > -torch.inf, order.indices, -1).int()


@dataclass(frozen=True, slots=True)
class _QuotaOfBlocks:
    """The blocks between two shares of the number of those that are seen, the most important first."""

    low: float
    high: float

    def __call__(self, ranked: Tensor) -> Tensor:
        """int32 [B, H, lists, places] of ranked lists [B, H, lists, members]."""
        members = ranked.shape[-1]
        count = (ranked >= 0).sum(-1, keepdim=True)
        first, stop = ((share * count).round().long() for share in (self.low, self.high))
        places = first + torch.arange(
            min(members, math.ceil((self.high - self.low) * members) + 1), device=ranked.device
        )
        found = ranked.gather(-1, places.clamp(max=members - 1))
        return torch.where(places < stop, found, -1)


@dataclass(frozen=True, slots=True)
class _QuotaOfImportance:
    """The blocks before which between two shares of the importance of all lie, the most important first."""

    low: float
    high: float

    def __call__(self, ranked: Tensor, importance: Tensor) -> Tensor:
        """int32 [B, H, lists, members] of ranked lists and of importance, [B, H, lists, members]."""
        each = importance.gather(-1, ranked.clamp(min=0).long())
        each = torch.where(ranked < 0, 0.0, each).double()
        share = each / each.sum(-1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
        before = share.cumsum(-1) - share
        taken = (before >= self.low) & ((before < self.high) | (self.high > 1 - 1e-9))
        return torch.where(taken, ranked, -1)


@dataclass(frozen=True, slots=True)
class _Importance:
    """How much a block of keys is worth to a block of queries: float32 [B, Hq, query blocks, members].

    The largest exp(score - largest of the row) of sampled queries and keys; -inf where no sampled key may be seen.
    """

    query_block: int
    block: int
    past: bool
    seed: int

    def __call__(self, q: Tensor, k: Tensor, q_start: int) -> Tensor:
        if q.is_meta or not k.numel() or not q.numel():
            members, units = max(1, -(-k.shape[2] // self.block)), -(-(q_start + q.shape[2]) // self.query_block)
            device = "cpu" if q.is_meta else q.device
            falling = torch.arange(members, 0, -1, dtype=torch.float32, device=device) / members
            return falling.expand(*q.shape[:2], units, -1)
        with exact(q.device):
            return self.importance(q.detach(), k.detach(), q_start)

    def importance(self, q: Tensor, k: Tensor, start: int) -> Tensor:
        """The same of a call with tokens."""
        k = k.repeat_interleave(q.shape[1] // k.shape[1], 1).float()
        q = q.float()
        rows = _sample(start, start + q.shape[2], self.query_block, self.seed, q.device)
        keys = _sample(0, k.shape[2], self.block, self.seed + 1, k.device)
        sampled = k[:, :, keys.flatten().clamp(min=0)].mT
        found = []
        for at in rows:  # a block of queries at a time: memory goes with the sampled keys
            s = q[:, :, (at - start).clamp(min=0)] @ sampled * q.shape[-1] ** -0.5
            live = (keys.flatten() >= 0) & (at >= 0)[:, None]
            if self.past:
                live = live & (keys.flatten() <= at[:, None])
            s = s.masked_fill(~live, -torch.inf).unflatten(-1, keys.shape)
            largest = s.amax((-1, -2), keepdim=True).clamp(min=torch.finfo(torch.float32).min)
            none = (s == -torch.inf).all(-1).all(2)
            of_block = (s.amax(-1) - largest[..., 0]).exp().amax(2)
            found.append(torch.where(none, -torch.inf, of_block))
        return torch.stack(found, 2)


def _sample(first: int, stop: int, block: int, seed: int, device: torch.device) -> Tensor:
    """A random quarter of the tokens of every block, one at least, of those from `first` on: [blocks, tokens].

    -1 stands where a block has fewer.
    """
    at = torch.arange(block, device=device)
    number = torch.arange(-(-stop // block), device=device)[:, None]
    chance = uniform(torch.full((), seed, device=device), number, at, torch.zeros_like(at), torch.zeros_like(at))
    place = number * block + at
    there = (place >= first) & (place < stop)
    order = torch.where(there, chance, 2.0).argsort(-1)[:, : max(1, block // 4)]
    return torch.where(there.gather(-1, order), place.gather(-1, order), -1)
