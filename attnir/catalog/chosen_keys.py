"""Single keys that are chosen from content: a row's largest scores, or values that ask for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from attnir import route
from attnir.catalog.chance import PRIME, scramble
from attnir.catalog.registry import Example, entry
from attnir.catalog.shared import past_or_all, some_numbers
from attnir.catalog.sizes import whole
from attnir.errors import DeclarationError
from attnir.expr import rank
from attnir.facts import field, param, tensor
from attnir.graph.edges import Rows
from attnir.graph.graph import Graph
from attnir.graph.moving import spread_heads
from attnir.graph.tracing import attend, choose, epilogue, fold, gather, graph, places, unfold
from attnir.masks import causal, mask
from attnir.ops import POSITION_LIMIT
from attnir.scores import score
from attnir.value import Value


@entry(
    "loki",
    source="Loki: Low-rank Keys for Efficient Sparse Attention; hpcgroup/loki",
    example=Example({"k": 12}, heads=2, bindings={"directions": torch.eye(8)[:, :4]}),
    graph=True,
)
def loki(k: int = 256) -> Graph:
    """Causal; a query sees the k keys whose products with it are largest after a projection to few directions.

    Tensor directions: [D, r] or [Hk, D, r], the principal directions of keys, computed beforehand. They have no
    gradient; the softmax is of the whole scores. Strict.

    k   keys that a query sees

    >>> import attnir as an
    >>> print(an.catalog.build("loki"))  # doctest: +ELLIPSIS
    q  ...
    """
    whole(1, k=k)
    chosen = route.topk_keys(k=k, score=route.low_rank("directions"), causal=True)
    return graph(lambda q, k, v: attend(causal(), q, k, v, route=chosen))


@entry(
    "topk-row",
    source="Explicit Sparse Transformer: Concentrated Attention Through Explicit Selection; "
    "lancopku/Explicit-Sparse-Transformer",
    example=Example({"k": 12}, heads=2),
    graph=True,
)
def topk_row(k: int = 64, past: bool = True) -> Graph:
    """Each query keeps its k largest scores, and takes the softmax of these; of equal scores the earlier key wins.

    k      keys that a query sees
    past   only keys up to the query's own position are chosen; it is strict then

    >>> import attnir as an
    >>> print(an.catalog.build("topk-row", k=8))  # doctest: +ELLIPSIS
    q  ...
    """
    whole(1, k=k)
    chosen = route.topk_keys(k=k, causal=bool(past))
    return graph(lambda q, k, v: attend(past_or_all(bool(past)), q, k, v, route=chosen))


@entry(
    "topp-row",
    source="Explicit Sparse Transformer, with a share of the mass in the place of a number; lancopku/"
    "Explicit-Sparse-Transformer",
    example=Example({"p": 0.5}, heads=2),
    graph=True,
)
def topp_row(p: float = 0.9, past: bool = True) -> Graph:
    """Each query keeps the fewest keys, from its largest score on, that have a share p of its softmax.

    Scores are q . k / sqrt(D). Lists are as wide as there are keys.

    p      share of the mass that is kept at least
    past   only keys up to the query's own position are chosen; it is strict then

    >>> import attnir as an
    >>> print(an.catalog.build("topp-row", p=0.5))  # doctest: +ELLIPSIS
    q  ...
    """
    chosen = route.blocks(route.mass(p), block=1, query_block=1, score=route.mean_pool(scaled=True), causal=bool(past))
    return graph(lambda q, k, v: attend(past_or_all(bool(past)), q, k, v, route=chosen))


@entry(
    "stkim",
    source="Attention-Challenging Multiple Instance Learning for Whole Slide Image Classification",
    example=Example({"k": 12, "rate": 0.5}, heads=2, bindings={"seed": 1}),
    graph=True,
)
def stkim(k: int = 64, rate: float = 0.1, past: bool = True) -> Graph:
    """Each of a query's k largest scores is dropped by chance before softmax; the others share the whole weight.

    Parameter seed: another one in every step of the training.

    k      how many of a row's keys may be dropped
    rate   the chance of each, from 0 to 1
    past   only keys up to the query's own position are seen

    >>> import attnir as an
    >>> print(an.catalog.build("stkim", k=4))  # doctest: +ELLIPSIS
    q  ...
    """
    whole(1, k=k)
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
        raise DeclarationError(f"`rate` is the share that is dropped, from 0 to 1, not {rate!r}")
    largest = route.topk_keys(k=k, causal=bool(past), name="largest")
    seed, listed = param("seed"), largest.selection

    def kept(q: Value, k: Value, b: Value, h: Value) -> Value:
        place = Value(rank(listed, q.expr, k.expr))
        return (place == 0) | (scramble(k, q, seed, b * 2**20 + h) >= int(rate * PRIME))

    def stages(q: Any, k: Any, v: Any) -> Any:
        return attend(past_or_all(bool(past)) & mask(kept), q, k, v, largest=choose(largest, q, k))

    return graph(stages)


@entry(
    "dma",
    source="Trainable Dynamic Mask Sparse Attention; flash-algo/flash-sparse-attention",
    example=Example({"k": 16}, heads=2, bindings={"bias": some_numbers(1, 2, 64)}),
    graph=True,
)
def dma(k: int = 2048, by_row: bool = True) -> Graph:
    """Causal; a bias of each key, made of its value, says which keys are seen, and is added to their scores.

    Tensor bias: [B, Hq, Sk], such as exp(A[h] * softplus(W v)); its gradient is that of the scores it is added to, the
    choice has none.

    k        keys that are seen
    by_row   the k largest of the keys that a query may see, which is strict; False: the k largest of all keys, then
             the causal mask, which is not: later tokens decide what an early query sees

    >>> import attnir as an
    >>> print(an.catalog.build("dma", k=64))  # doctest: +ELLIPSIS
    q  ...
    """
    whole(1, k=k)
    bias = tensor("bias", "b", "h", "k")
    together = 1 if by_row else POSITION_LIMIT
    chosen = route.topk_keys(k=k, query_block=together, score=route.values("bias"), causal=bool(by_row))
    added = score(lambda s, b, h, k: s + bias[b, h, k])

    def stages(q: Any, k: Any, v: Any, bias: Any) -> Any:
        return attend(causal(), q, k, v, score=added, picks=choose(chosen, q, k, bias=bias), bias=bias, route=chosen)

    return graph(stages)


@entry(
    "tangnn",
    source="TANGNN: a Concise, Scalable and Effective Graph Neural Networks with Top-m Attention Mechanism; "
    "ejwww/TANGNN",
    example=Example({"m": 12}, heads=2, bindings={"direction": some_numbers(8)}),
    graph=True,
)
def tangnn(m: int = 64) -> Graph:
    """All queries see the same m keys: those whose relu points most along a learned direction.

    Tensor direction: [D], learned elsewhere; the choice has no gradient. The keys are gathered, m of every head.

    m   keys that are seen

    >>> import attnir as an
    >>> print(an.catalog.build("tangnn", m=16))  # doctest: +ELLIPSIS
    q  ...
    """
    whole(1, m=m)
    chosen = route.topk_keys(k=m, query_block=POSITION_LIMIT, score=route.values("along"))
    at = field("at")
    there = mask(lambda q, k: at(k) >= 0)

    def stages(q: Any, k: Any, v: Any, direction: Any) -> Any:
        lists = choose(chosen, q, k, along=epilogue(cosine, k, direction, q, gives=Rows("k")))
        rows, keys, values = fold(q), gather(k, lists), gather(v, lists)
        return unfold(attend(there, rows, keys, values, at=places(lists, q)), q)

    return graph(stages)


def cosine(k: Tensor, direction: Tensor, like: Tensor) -> Tensor:
    """The cosine between relu(k) [B, Hk, Sk, D] and a direction [D], for the heads of `like`: [B, Hq, Sk]."""
    along = torch.nn.functional.cosine_similarity(k.float().relu(), direction.float(), dim=-1)
    return spread_heads(along, like.shape[1])


@entry(
    "sparsifiner",
    source="Sparsifiner: Learning Sparse Instance-Dependent Attention for Efficient Vision Transformers; "
    "lim142857/Sparsifiner",
    example=Example({"k": 12}, q_len=48, heads=2, bindings={"connected": some_numbers(1, 2, 48, 48)}),
    graph=True,
)
def sparsifiner(k: int = 64, special: int = 1) -> Graph:
    """Each query sees the k keys that a predictor connects it to; special tokens, which come first, see all.

    Tensor connected: [B, Hq, S, Sk], S one past the last query's position, the predicted connectivity, sparse softmax
    of low-rank products times the size of a learned basis; the choice has no gradient.

    k         keys that a query sees
    special   tokens at the beginning that see all, such as the class token

    >>> import attnir as an
    >>> print(an.catalog.build("sparsifiner", k=16))  # doctest: +ELLIPSIS
    q  ...
    """
    whole(1, k=k)
    whole(0, special=special)
    chosen = route.topk_keys(k=k, score=route.given("connected"))
    seen = chosen.mask | mask(lambda q, k: q < special) if special else chosen.mask

    def stages(q: Any, k: Any, v: Any) -> Any:
        return attend(seen, q, k, v, picks=choose(chosen, q, k))

    return graph(stages)
