"""Weights that are not softmax's alone: sinks, functions of the score, factors of weights that meet values."""

from __future__ import annotations

import torch

from attnir import factors
from attnir import normalizers as ways
from attnir.catalog.registry import Example, entry
from attnir.catalog.shared import past_or_all, some_numbers
from attnir.factors import factor
from attnir.facts import field, param, tensor
from attnir.functions import exp, sigmoid, where
from attnir.scores import Pattern, pattern
from attnir.value import Value

Q64 = 64  # tokens of an example


@entry(
    "sink-logit",
    source="gpt-oss-120b & gpt-oss-20b Model Card; openai/gpt-oss",
    example=Example(heads=2, bindings={"sink": torch.tensor([0.5, -1.0])}),
)
def sink_logit(past: bool = True) -> Pattern:
    """Softmax with one more score in each row, whose value is 0: a row may look at nothing.

    Tensor sink: [Hq], learned.

    past   only up to the query's own position

    >>> import attnir as an
    >>> print(an.catalog.build("sink-logit"))
    sink = tensor(h, dtype=float); k <= q; weights = softmax(sink[h])
    """
    return pattern(past_or_all(past), normalize=ways.softmax(sink=tensor("sink", "h")))


@entry(
    "landmark",
    source="Landmark Attention: Random-Access Infinite Context Length for Transformers; epfml/landmark-attention",
    example=Example({"block": 32}),
)
def landmark(block: int = 64, past: bool = True) -> Pattern:
    """Softmax in two levels: the last key of every block is its landmark, whose weight its block shares.

    A query attends to the keys of its own block and to the landmarks of others; what a landmark gets goes to the other
    keys of its block, by a softmax over these. Values of landmarks count nowhere.

    block  keys of a block, the landmark included: 16, 32, 64 or 128
    past   only up to the query's own position

    >>> import attnir as an
    >>> print(an.catalog.build("landmark"))
    k <= q; weights = softmax(landmarks=64)
    """
    return pattern(past_or_all(past), normalize=ways.softmax(landmarks=block))


@entry(
    "sigmoid",
    source="Theory, Analysis, and Best Practices for Sigmoid Self-Attention; apple/ml-sigmoid-attention",
    example=Example(heads=2, bindings={"level": torch.tensor([-4.0, -3.0])}),
)
def sigmoid_weights(past: bool = True) -> Pattern:
    """Weights sigmoid(s + level) that are not divided: no row knows of its other keys.

    Tensor level: [Hq], about -log of the number of keys; may be learned.

    past   only up to the query's own position

    >>> import attnir as an
    >>> print(an.catalog.build("sigmoid"))
    level = tensor(h, dtype=float); k <= q; weights = sigmoid(s + level[h])
    """
    level = tensor("level", "h")
    return pattern(past_or_all(past), normalize=ways.weights(lambda s, h: sigmoid(s + level[h])))


@entry("relu2", source="Primer: Searching for Efficient Transformers for Language Modeling", example=Example())
def relu2(past: bool = True) -> Pattern:
    """Weights max(s, 0) squared, not divided.

    past   only up to the query's own position

    >>> import attnir as an
    >>> print(an.catalog.build("relu2"))
    k <= q; weights = where(s > 0.0, s * s, 0.0)
    """
    return pattern(past_or_all(past), normalize=ways.relu2)


@entry("linear", source="Common form: the product of queries and keys is the weight", example=Example())
def linear(past: bool = True) -> Pattern:
    """Weights that are the scores themselves, not divided.

    past   only up to the query's own position

    >>> import attnir as an
    >>> print(an.catalog.build("linear"))
    k <= q; weights = s
    """
    return pattern(past_or_all(past), normalize=ways.weights(lambda s: s))


@entry("fast", source="FAST: Factorizable Attention for Speeding up Transformers", example=Example())
def fast(past: bool = True) -> Pattern:
    """Weights 1 + s + s ** 2 / 2, which are at least a half, divided by their sum.

    Queries and keys are normalised before the call.

    past   only up to the query's own position

    >>> import attnir as an
    >>> print(an.catalog.build("fast"))
    k <= q; weights = normalized(1.0 + s + s * s / 2.0)
    """
    return pattern(past_or_all(past), normalize=ways.weights(lambda s: 1 + s + s * s / 2, divide=True))


@entry(
    "column-softmax",
    source="Visual Dependency Transformers: Dependency Tree Emerges from Reversed Attention (DependencyViT)",
    example=Example(bindings={"column": some_numbers(1, 1, Q64) + 4.0}),
)
def column_softmax(past: bool = False) -> Pattern:
    """Softmax over the queries of each key, in place of the keys of each query.

    Tensor column: [B, Hq, Sk], the lse of each key over its queries. That is the lse of the transposed pattern, with
    keys for queries, which gives it its gradient:

    past   only up to the query's own position; it is not causal then: a column's sum has later queries

    >>> import attnir as an, torch
    >>> q, k, v = torch.randn(3, 1, 2, 50, 16)
    >>> _, column = an.compile(an.transpose(an.full()))(k, q, q[..., :1], return_lse=True)
    >>> o = an.compile(an.catalog.build("column-softmax"))(q, k, v, column=column)
    >>> torch.allclose(o, (q @ k.mT / 4).softmax(-2) @ v, atol=1e-5)
    True
    """
    column = tensor("column", "b", "h", "k")
    return pattern(past_or_all(past), normalize=ways.weights(lambda s, b, h, k: exp(s - column[b, h, k])))


@entry(
    "attn-dropout",
    source="Dropout: A Simple Way to Prevent Neural Networks from Overfitting; Attention Is All You Need",
    example=Example({"rate": 0.25}, bindings={"seed": 1}),
)
def attn_dropout(rate: float | Value = 0.1, past: bool = True) -> Pattern:
    """Each weight is dropped by chance behind softmax, and the others are divided by the share that stays.

    Parameter seed: another one in every step of the training.

    rate   the share that is dropped, from 0 to below 1; may be a real parameter
    past   only up to the query's own position

    >>> import attnir as an
    >>> print(an.catalog.build("attn-dropout", rate=0.5))
    seed = param(); k <= q; factor = where(random(seed, b, h, q, k) >= 0.5, 2.0, 0.0)
    """
    return pattern(past_or_all(past), factor=factors.dropout(rate))


@entry(
    "attend-out",
    source="Not All Attention Is All You Need",
    example=Example(bindings={"keep": (some_numbers(1, 1, Q64, Q64) > -1.0).float()}),
)
def attend_out(past: bool = False) -> Pattern:
    """Weights that a given tensor keeps or drops behind softmax; the abstract gives no rule for which.

    Tensor keep: [B, Hq, Sq, Sk], each axis its own length or 1, of ones, zeros, or what is to grow. The source lets no
    gradient through it: give it without one, `keep.detach()`, where it is made of something learned.

    past   only up to the query's own position

    >>> import attnir as an
    >>> print(an.catalog.build("attend-out"))
    keep = tensor(b, h, q, k, dtype=float); True; factor = keep[b, h, q, k]
    """
    keep = tensor("keep", "b", "h", "q", "k")
    return pattern(past_or_all(past), factor=factor(lambda b, h, q, k: keep[b, h, q, k]))


@entry(
    "transfer-msad",
    source="TransFER: Learning Relation-aware Facial Expression Representations with Transformers",
    example=Example({"heads": 4}, heads=4, bindings={"dropped": 2}),
)
def transfer_msad(heads: int | None = None, past: bool = False) -> Pattern:
    """One head is dropped as a whole, and gives 0; training only.

    Parameter dropped: which one, drawn anew in every step; -1 for none.

    heads   where one is dropped the others are scaled so that the sum of all keeps its size, for so many; no scaling
            where it is left out
    past    only up to the query's own position

    >>> import attnir as an
    >>> print(an.catalog.build("transfer-msad"))
    dropped = param(low=-1); True; factor = where(h == dropped, 0.0, 1.0)
    """
    dropped = param("dropped", low=-1)
    if heads is None:
        return pattern(past_or_all(past), factor=factor(lambda h: where(h == dropped, 0.0, 1.0)))
    rest = heads / max(1, heads - 1)
    return pattern(past_or_all(past), factor=factor(lambda h: where(h == dropped, 0.0, where(dropped < 0, 1.0, rest))))


@entry(
    "gated",
    source="Gated Attention for Large Language Models: Non-linearity, Sparsity, and Attention-Sink-Free",
    example=Example(heads=2, bindings={"gate": some_numbers(1, 2, Q64).sigmoid()}),
)
def gated(past: bool = True) -> Pattern:
    """The output of each head times a gate of the query.

    Tensor gate: [B, Hq, Sq], the sigmoid of what a linear layer makes of the token, made before the call, so that torch
    makes its gradient. A gate for each element of the output is `o * gate`, behind the call. Weights of heads that a
    router gives to tokens (MoH: Multi-Head Attention as Mixture-of-Head Attention, in its dense form) are such a gate.

    past   only up to the query's own position

    >>> import attnir as an
    >>> print(an.catalog.build("gated"))
    gate = tensor(b, h, q, dtype=float); k <= q; factor = gate[b, h, q]
    """
    gate = tensor("gate", "b", "h", "q")
    return pattern(past_or_all(past), factor=factor(lambda b, h, q: gate[b, h, q]))


@entry(
    "calibrated-keys",
    source="Common form: weights of chosen keys are raised or lowered behind softmax, by head",
    example=Example(heads=2, bindings={"kind": torch.arange(Q64) // 24, "gain": some_numbers(2, 3).exp()}),
)
def calibrated_keys(past: bool = True) -> Pattern:
    """Weights times a number for the head and the kind of the key, behind softmax: the others stay as they are.

    So heads that look at images are reinforced, or the keys of a sink are muted. Where what is taken from some keys is
    to go to others, `gain` depends on their mass, which `Attention.statistics` gives.

    Field kind: of each key, from 0. Tensor gain: [Hq, kinds], may be learned.

    past   only up to the query's own position

    >>> import attnir as an
    >>> print(an.catalog.build("calibrated-keys"))
    kind = field(); gain = tensor(h, kind, dtype=float); k <= q; factor = gain[h, kind(k)]
    """
    kind, gain = field("kind"), tensor("gain", "h", "kind")
    return pattern(past_or_all(past), factor=factor(lambda h, k: gain[h, kind(k)]))
