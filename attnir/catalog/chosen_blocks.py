"""Blocks of keys that are chosen from content: those whose means, whose weights or whose landmarks fit best."""

from __future__ import annotations

from typing import Any

import torch

from attnir import route
from attnir.catalog.registry import Example, entry
from attnir.catalog.sizes import whole
from attnir.graph.graph import Graph
from attnir.graph.tracing import attend, combine, graph, summarise
from attnir.masks import causal, mask
from attnir.normalizers import softmax


@entry(
    "moba",
    source="MoBA: Mixture of Block Attention for Long-Context LLMs; MoonshotAI/MoBA",
    example=Example({"chunk": 8, "k": 3}, heads=2),
    graph=True,
)
def moba(chunk: int = 512, k: int = 3) -> Graph:
    """Causal; a query sees its own chunk and the k - 1 earlier ones whose mean keys fit it best.

    The gate is the query times the mean of a chunk's keys, in float32, without a gradient; of equal gates the earlier
    chunk wins. The own chunk counts among the k. Strict: no later token changes what an earlier one sees.

    chunk   tokens in a chunk
    k       chunks that a query sees, its own one included

    >>> import attnir as an, torch
    >>> attn = an.compile(an.catalog.build("moba", chunk=16, k=2))
    >>> q = k = v = torch.randn(1, 2, 100, 16)
    >>> attn(q, k, v).shape
    torch.Size([1, 2, 100, 16])
    """
    whole(1, chunk=chunk, k=k)
    chosen = route.topk_blocks(
        block=chunk, query_block=1, k=k, forced=[route.own()], counted=True, causal=True, name="chunks"
    )
    return graph(lambda q, k, v: attend(causal(), q, k, v, route=chosen))


@entry(
    "nsa",
    source="Native Sparse Attention: Hardware-Aligned and Natively Trainable Sparse Attention; "
    "fla-org/native-sparse-attention",
    example=Example(
        {"block": 8, "k": 3, "window": 12},
        heads=2,
        bindings={name: torch.linspace(0.1, 0.9, 128).view(1, 2, 64) for name in ("compressed", "selected", "near")},
    ),
    graph=True,
)
def nsa(block: int = 64, k: int = 16, window: int = 512) -> Graph:
    """Three branches with gates: means of blocks, the tokens of chosen blocks, and a window.

    A query sees the means of all blocks that end before it or with it; the weights that it gives them, summed over the
    query heads of a key head, choose the blocks whose tokens it sees. Its own block is always chosen, and counts among
    the k. Causal, and strict. The choice has no gradient, the means have theirs.

    Tensors compressed, selected and near [B, Hq, Sq] are the gates, between 0 and 1, of the three branches.

    block    tokens in a block
    k        blocks that a query sees, its own one included
    window   tokens that the last branch sees, the own one included

    >>> import attnir as an
    >>> print(an.catalog.build("nsa"))  # doctest: +ELLIPSIS
    q  ...
    """
    whole(1, block=block, k=k, window=window)
    chosen = route.topk_blocks(
        block=block,
        query_block=1,
        k=k,
        score=route.shares(),
        heads="group",
        forced=[route.own()],
        counted=True,
        causal=True,
        name="blocks",
    )

    def branches(q: Any, k: Any, v: Any, compressed: Any, selected: Any, near: Any) -> Any:
        whole = mask(lambda q, k: (k + 1) * block - 1 <= q)
        return combine(
            [
                (compressed, attend(whole, q, summarise(k, block), summarise(v, block))),
                (selected, attend(causal(), q, k, v, route=chosen)),
                (near, attend(causal() & mask(lambda q, k: q - k < window), q, k, v)),
            ]
        )

    return graph(branches)


@entry(
    "landmark-retrieval",
    source="Landmark Attention: Random-Access Infinite Context Length for Transformers, where it retrieves; "
    "epfml/landmark-attention",
    example=Example({"block": 16, "k": 2}, heads=2),
    graph=True,
)
def landmark_retrieval(block: int = 64, k: int = 4) -> Graph:
    """Causal; of the earlier blocks a query sees those k whose landmarks fit it best, in a softmax of two levels.

    The last key of every block is its landmark. A query attends to the keys of its own block and to the landmarks of
    the retrieved ones; what a landmark gets goes to the other keys of its block, by a softmax over these. It is
    `landmark` where k is the number of blocks. No gradient through the choice; of equal products the earlier block
    wins. Strict. Where positions are turned into k, they are remapped there.

    block  keys of a block, the landmark included: 16, 32, 64 or 128
    k      earlier blocks that are retrieved

    >>> import attnir as an
    >>> print(an.catalog.build("landmark-retrieval"))  # doctest: +ELLIPSIS
    q  ...
    """
    whole(1, k=k)
    chosen = route.topk_blocks(
        block=block, query_block=1, k=k, score=route.last_key(), forced=[route.own()], causal=True, name="blocks"
    )
    landmarks = softmax(landmarks=block)
    return graph(lambda q, k, v: attend(causal(), q, k, v, normalize=landmarks, route=chosen))
