"""Tokens that are gathered: by centroids, by bits that keep them, by heads that want them; and hash buckets."""

from __future__ import annotations

from typing import Any

from attnir.catalog.registry import Example, entry
from attnir.catalog.shared import some_numbers
from attnir.catalog.sizes import whole
from attnir.facts import field
from attnir.graph.graph import Graph
from attnir.graph.tracing import (
    attend,
    clusters,
    combine,
    fold,
    gather,
    graph,
    hash_buckets,
    pack,
    places,
    positions,
    scatter,
    unfold,
)
from attnir.masks import Mask, mask


@entry(
    "routing-transformer",
    source="Efficient Content-Based Sparse Attention with Routing Transformers; google-research",
    example=Example({"tokens": 16}, heads=2, bindings={"centroids": some_numbers(2, 4, 8)}),
    graph=True,
)
def routing_transformer(tokens: int = 256, eps: float = 1e-2, past: bool = True) -> Graph:
    """Each centroid picks the queries and the keys that fit it best, and they attend among themselves.

    A token that several centroids pick gets the sum of what it sees there, divided by their count plus eps; one that
    none picks gets 0. Positions decide what is causal, not the places among those picked. Later tokens may push an
    early one out of its cluster: causal in values only.

    Tensor centroids: [Hq, C, D], or [C, D] for all heads, a moving average that is kept elsewhere; no gradient. q and k
    are normalised elsewhere.

    tokens   queries, and keys, that a centroid picks
    eps      beside the count of clusters
    past     only keys up to the query's own position are seen

    >>> import attnir as an
    >>> print(an.catalog.build("routing-transformer"))  # doctest: +ELLIPSIS
    q  ...
    """
    whole(1, tokens=tokens)
    seen = _seen(bool(past))

    def stages(q: Any, k: Any, v: Any, centroids: Any) -> Any:
        of_q, of_k = clusters(q, centroids, tokens), clusters(k, centroids, tokens, like=q)
        at = (places(of_q, q), places(of_k, q))
        o = attend(seen, gather(q, of_q), gather(k, of_k), gather(v, of_k), at=at)
        return scatter(o, of_q, q, "mean", eps)

    return graph(stages)


@entry(
    "scfa-qk",
    source="Faster Causal Attention Over Large Sequences Through Sparse Flash Attention; "
    "epfml/dynamic-sparse-flash-attention",
    example=Example(heads=2, bindings={name: some_numbers(1, 2, 64) > -0.5 for name in ("keep_q", "keep_k")}),
    graph=True,
)
def scfa_qk(past: bool = True) -> Graph:
    """Queries and keys that are kept, for each head others; a query that is dropped gives 0. Strict.

    Tensors keep_q [B, Hq, Sq] and keep_k [B, Hq, Sk]: bits, from anywhere. Kept tokens move together, so that tiles
    are full of them.

    past   only keys up to the query's own position are seen

    >>> import attnir as an
    >>> print(an.catalog.build("scfa-qk"))  # doctest: +ELLIPSIS
    q  ...
    """
    seen = _seen(bool(past))

    def stages(q: Any, k: Any, v: Any, keep_q: Any, keep_k: Any) -> Any:
        of_q, of_k = pack(keep_q, q), pack(keep_k, k)
        at = (places(of_q, q), places(of_k, q))
        return scatter(attend(seen, gather(q, of_q), gather(k, of_k), gather(v, of_k), at=at), of_q, q)

    return graph(stages)


@entry(
    "scfa-hash",
    source="Faster Causal Attention Over Large Sequences Through Sparse Flash Attention; "
    "epfml/dynamic-sparse-flash-attention",
    example=Example(heads=2, bindings={"directions": some_numbers(8, 2)}),
    graph=True,
)
def scfa_hash() -> Graph:
    """A query sees earlier keys of its own hash bucket, and not itself; where there is none it gives 0. Strict.

    The bucket of a vector x is the largest of [x R, -x R]; queries and keys are hashed apart, without a gradient.

    Tensor directions: R, [D, n] or [Hk, D, n].

    >>> import attnir as an
    >>> print(an.catalog.build("scfa-hash"))  # doctest: +ELLIPSIS
    q  ...
    """
    bucket = field("bucket")
    same = mask(lambda q, k: (bucket(q) == bucket(k)) & (k < q))

    def stages(q: Any, k: Any, v: Any, directions: Any) -> Any:
        of_q, of_k = hash_buckets(q, directions), hash_buckets(k, directions, like=q)
        return unfold(attend(same, fold(q), fold(k, like=q), fold(v, like=q), bucket=(of_q, of_k)), q)

    return graph(stages)


@entry(
    "moh",
    source="MoH: Multi-Head Attention as Mixture-of-Head Attention; SkyworkAI/MoH",
    example=Example(heads=2, bindings={"gate": some_numbers(1, 2, 64).relu()}),
    graph=True,
)
def moh(past: bool = True) -> Graph:
    """Each token has a gate for every head; where it is not above 0 the head is not computed for the token. Strict.

    Tensor gate: [B, Hq, Sq], such as the k largest of a softmax over heads, renormalised; its gradient is that of the
    heads that are kept. The dense form, where every head is computed, is a factor: the entry "gated".

    past   only keys up to the query's own position are seen

    >>> import attnir as an
    >>> print(an.catalog.build("moh"))  # doctest: +ELLIPSIS
    q  ...
    """
    seen = _seen(bool(past))

    def stages(q: Any, k: Any, v: Any, gate: Any) -> Any:
        of_q = pack(gate, q)
        at = (places(of_q, q), positions(k, q))
        o = attend(seen, gather(q, of_q), fold(k, like=q), fold(v, like=q), at=at)
        return combine([(gate, scatter(o, of_q, q))])

    return graph(stages)


def _seen(past: bool) -> Mask:
    """Which gathered key a gathered query sees: one that is there, and not later."""
    at = field("at")
    there = mask(lambda q, k: at(k) >= 0)
    return there & mask(lambda q, k: at(k) <= at(q)) if past else there
