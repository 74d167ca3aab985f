"""Scores that change: caps and temperatures, and what is added to them by distance, by token or by pair."""

from __future__ import annotations

import torch

from attnir import biases
from attnir.catalog.registry import Example, entry
from attnir.catalog.shared import past_or_all, some_numbers
from attnir.catalog.sizes import whole
from attnir.facts import field, tensor
from attnir.functions import log
from attnir.masks import causal, full
from attnir.scores import Pattern, Score, multiplicity, pattern, score
from attnir.value import Value


@entry("softcap", source="Gemma 2: Improving Open Language Models at a Practical Size", example=Example({"cap": 2.0}))
def softcap(cap: float | Value = 50.0) -> Pattern:
    """Causal, with scores held within (-cap, cap) by cap * tanh(s / cap).

    cap   a positive number, or a real parameter

    >>> import attnir as an
    >>> print(an.catalog.build("softcap", cap=30.0))
    k <= q; score = tanh(s / 30.0) * 30.0
    """
    return pattern(causal(), score=biases.softcap(cap))


@entry("scale", source="Log-length scaling, in many codes", example=Example(bindings={"tau": some_numbers(1)}, heads=1))
def scale() -> Pattern:
    """Causal, with scores times a factor of each head, which may be learned.

    Tensor tau: [Hq].

    >>> import attnir as an
    >>> print(an.catalog.build("scale"))
    tau = tensor(h, dtype=float); k <= q; score = s * tau[h]
    """
    tau = tensor("tau", "h")
    return pattern(causal(), score=score(lambda s, h: s * tau[h]))


@entry(
    "selective-temperature",
    source="Selective Attention: Enhancing Transformer through Principled Context Control; its repository",
    example=Example(bindings={"c": torch.tensor([0.3])}),
)
def selective_temperature(by_token: bool = False) -> Pattern:
    """Causal, with scores times a temperature that grows with the query's position: 1 + c * log(1 + position).

    Tensor c: [Hq], each within (0, 1), may be learned.

    by_token   also times a factor of each query, the tensor tau: [B, Hq, Sq], which a small network makes of it

    Values that are scaled by a factor of their token are `v * factor`, before the call.

    >>> import attnir as an
    >>> print(an.catalog.build("selective-temperature"))
    c = tensor(h, dtype=float); k <= q; score = s * (1.0 + c[h] * log(q + 1))
    """
    c, tau = tensor("c", "h"), tensor("tau", "b", "h", "q")
    by_position = score(lambda s, q, h: s * (1.0 + c[h] * log(q + 1)))
    return pattern(causal(), score=[by_position, *([score(lambda s, b, h, q: s * tau[b, h, q])] if by_token else [])])


@entry(
    "alibi-causal",
    source="Train Short, Test Long: Attention with Linear Biases Enables Input Length Extrapolation",
    example=Example(heads=2, bindings={"slopes": biases.alibi_slopes(2)}),
)
def alibi_causal() -> Pattern:
    """Causal, with a penalty that grows with the distance.

    Tensor slopes: [Hq]; `an.alibi_slopes(heads)` makes those of the paper.

    >>> import attnir as an
    >>> print(an.catalog.build("alibi-causal"))
    slopes = tensor(h, dtype=float); k <= q; score = s - slopes[h] * (q - k)
    """
    return pattern(causal(), score=biases.alibi())


@entry(
    "alibi-symmetric",
    source="Train Short, Test Long; mosaicml/examples, for encoders",
    example=Example(heads=2, bindings={"slopes": biases.alibi_slopes(2)}),
)
def alibi_symmetric() -> Pattern:
    """Everything, with a penalty that grows with the distance to both sides.

    Tensor slopes: [Hq]; `an.alibi_slopes(heads)` makes those of the paper.

    >>> import attnir as an
    >>> print(an.catalog.build("alibi-symmetric"))
    slopes = tensor(h, dtype=float); True; score = s - slopes[h] * abs(q - k)
    """
    return pattern(full(), score=biases.alibi(symmetric=True))


@entry(
    "table-bias",
    source="Self-Attention with Relative Position Representations; the scalar form of T5",
    example=Example({"reach": 8}, heads=2, bindings={"bias": some_numbers(2, 9)}),
)
def table_bias(reach: int = 127, past: bool = True) -> Pattern:
    """A learned number for each head and clipped distance is added.

    Tensor bias: [Hq, reach + 1], or [Hq, 2 * reach + 1] where queries see both sides.

    reach    the distance from which on all are alike
    past     only up to the query's own position

    >>> import attnir as an
    >>> print(an.catalog.build("table-bias", reach=4, past=False))
    bias = tensor(h, distance, dtype=float); True; score = s + bias[h, min(max(k - q, -4), 4) + 4]
    """
    whole(0, reach=reach)
    return pattern(past_or_all(past), score=biases.relative_bias(reach, causal=past))


@entry(
    "music-relative",
    source="Music Transformer: Generating Music with Long-Term Structure",
    example=Example({"reach": 16}, bindings={"qe": some_numbers(1, 1, 64, 16)}),
)
def music_relative(reach: int = 128, past: bool = True) -> Pattern:
    """A product of each query with an embedding of the distance is added.

    Tensor qe: [B, Hq, Sq, rows], scale * q @ E.transpose(-1, -2), made before the call, of the embeddings E [rows, D],
    so that torch makes the gradients of q and E of that of qe. rows is `reach` where queries see the past alone, for
    k - q from 1 - reach to 0, else 2 * reach - 1. Pairs further apart get no term.

    reach    M of the paper
    past     only up to the query's own position

    >>> import attnir as an
    >>> print(an.catalog.build("music-relative", reach=16))
    qe = tensor(b, h, q, row, dtype=float); k <= q; score = s + qe[b, h, q, k - q + 15]
    """
    whole(1, reach=reach)
    qe = tensor("qe", "b", "h", "q", "row")
    return pattern(past_or_all(past), score=score(lambda s, b, h, q, k: s + qe[b, h, q, k - q + (reach - 1)]))


@entry(
    "rcmha",
    source="Relative Convolutional Multi-Head Attention; after Transformer-XL",
    example=Example({"reach": 16}, bindings={"uk": some_numbers(1, 1, 64), "qr": some_numbers(1, 1, 64, 16)}),
)
def rcmha(reach: int = 128) -> Pattern:
    """Causal: (q + u) . k + (q + w) . R[q - k], with learned vectors u and w of a head and embeddings R of distances.

    Tensors uk: [B, Hq, Sk], scale * (k @ u); qr: [B, Hq, Sq, reach], scale * (q + w) @ R.transpose(-1, -2). They are
    made before the call, so that torch makes the gradients of u, w and R of theirs; the convolutions of q, k and v come
    before that. Pairs further apart than the rows of R get no second term.

    reach   the rows of R

    >>> import attnir as an
    >>> print(str(an.catalog.build("rcmha", reach=16)).rpartition("; ")[2])
    score = s + uk[b, h, k] + qr[b, h, q, q - k]
    """
    whole(1, reach=reach)
    uk, qr = tensor("uk", "b", "h", "k"), tensor("qr", "b", "h", "q", "row")
    return pattern(causal(), score=score(lambda s, b, h, q, k: s + uk[b, h, k] + qr[b, h, q, q - k]))


@entry(
    "dense-bias",
    source="Common form: an additive mask, as in torch's scaled_dot_product_attention",
    example=Example(bindings={"bias": some_numbers(1, 1, 64, 64)}),
)
def dense_bias() -> Pattern:
    """A number for every pair is added, where one table has to be stored in any case.

    Tensor bias: [B, Hq, Sq, Sk], each axis its own length or 1; float16, bfloat16 or float32, may be learned.

    >>> import attnir as an
    >>> print(an.catalog.build("dense-bias"))
    bias = tensor(b, h, q, k, dtype=float); True; score = s + bias[b, h, q, k]
    """
    bias = tensor("bias", "b", "h", "q", "k")
    return pattern(full(), score=score(lambda s, b, h, q, k: s + bias[b, h, q, k]))


@entry(
    "lowrank-bias",
    source="FlashBias: Fast Computation of Attention with Bias; thuml/FlashBias",
    example=Example({"rank": 2}, bindings={"qb": some_numbers(1, 1, 64, 2), "kb": some_numbers(1, 1, 64, 2)}),
)
def lowrank_bias(rank: int = 2) -> Pattern:
    """A bias of low rank is added: the product of a vector of the query and a vector of the key.

    Tensors qb: [B, Hq, Sq, rank], kb: [B, Hq, Sk, rank], both may be learned.

    rank   the length of the vectors, at most 16

    >>> import attnir as an
    >>> print(str(an.catalog.build("lowrank-bias", rank=1)).rpartition("; ")[2])
    score = s + qb[b, h, q, 0] * kb[b, h, k, 0]
    """
    whole(1, 16, rank=rank)
    qb, kb = tensor("qb", "b", "h", "q", "rank"), tensor("kb", "b", "h", "k", "rank")

    def term(r: int) -> Score:
        return score(lambda s, b, h, q, k: s + qb[b, h, q, r] * kb[b, h, k, r])

    return pattern(full(), score=[term(r) for r in range(rank)])


@entry(
    "log-multiplicity",
    source="Token Merging: Your ViT But Faster; common form",
    example=Example(bindings={"n": torch.arange(64) % 4 + 1}),
)
def log_multiplicity() -> Pattern:
    """Tokens that stand for several ones count as often: log(n) is added.

    Field n: how many tokens each key stands for; one that stands for none is not there.

    >>> import attnir as an
    >>> print(an.catalog.build("log-multiplicity"))
    n = field(); n(k) >= 1; score = s + log(n(k))
    """
    n = field("n")
    return pattern(full(), score=multiplicity(lambda k: n(k)))


@entry(
    "event-time",
    source="Transformer Hawkes Process; common form",
    example=Example(heads=1, bindings={"time": some_numbers(1, 64).abs().cumsum(-1), "rate": torch.tensor([0.1])}),
)
def event_time() -> Pattern:
    """Causal, with a penalty that grows with the time between two events.

    Tensors time: [B, S], a real number for each token, of queries and keys alike; rate: [Hq].

    >>> import attnir as an
    >>> print(str(an.catalog.build("event-time")).rpartition("; ")[2])
    score = s - rate[h] * (time[b, q] - time[b, k])
    """
    time, rate = tensor("time", "b", "k"), tensor("rate", "h")
    return pattern(causal(), score=score(lambda s, b, h, q, k: s - rate[h] * (time[b, q] - time[b, k])))
