"""Attention by way of fewer tokens: projected, pooled, learned; beside tokens, or in their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnir.catalog.registry import Example, entry
from attnir.catalog.shared import check_same, of_same_tokens, some_numbers
from attnir.catalog.sizes import scale_of, whole
from attnir.errors import DeclarationError, ShapeError
from attnir.graph.edges import Tokens
from attnir.graph.graph import Graph
from attnir.graph.summaries import filled
from attnir.graph.tracing import attend, epilogue, graph, merge, project, summarise
from attnir.inputs import exact
from attnir.masks import Mask, causal, full, mask


@entry(
    "linformer",
    source="Linformer: Self-Attention with Linear Complexity",
    example=Example(heads=2, bindings={"to_k": some_numbers(8, 64) / 8, "to_v": some_numbers(2, 8, 64) / 8}),
    graph=True,
)
def linformer() -> Graph:
    """Queries see m sums of keys, by learned matrices along the sequence. Not causal.

    Tensors to_k and to_v: [m, Sk], or [Hk, m, Sk]; for one length, then. They have gradients.

    >>> import attnir as an
    >>> print(an.catalog.build("linformer"))  # doctest: +ELLIPSIS
    q  ...
    """
    return graph(lambda q, k, v, to_k, to_v: attend(full(), q, project(k, to_k), project(v, to_v)))


@entry(
    "nystrom",
    source="Nystromformer: A Nystrom-Based Algorithm for Approximating Self-Attention; mlpen/Nystromformer",
    example=Example({"block": 8}, heads=2),
    graph=True,
)
def nystrom(block: int = 64, steps: int = 6) -> Graph:
    """Softmax by way of landmarks, the means of blocks: F(q, k~) F(q~, k~)^-1 F(q~, k) v, where F is a softmax.

    The inverse is that of Newton's iteration, differentiable; more steps, nearer. Not causal. There are as many
    landmarks of queries as of keys.

    block   tokens that a landmark is the mean of
    steps   of the iteration

    >>> import attnir as an
    >>> print(an.catalog.build("nystrom", block=8))  # doctest: +ELLIPSIS
    q  ...
    """
    whole(1, block=block, steps=steps)

    def stages(q: Any, k: Any, v: Any) -> Any:
        q_mean, k_mean = summarise(q, block), summarise(k, block)
        seen = attend(full(), q_mean, k, v)  # of landmarks of queries: F(q~, k) v
        mixed = epilogue(_Inverted(steps), seen, q_mean, k_mean, gives=Tokens(f"k // {block}"))
        return attend(full(), q, k_mean, mixed)

    return graph(stages)


@dataclass(frozen=True, slots=True)
class _Inverted:
    """F(q~, k~)^-1 times what landmarks see."""

    steps: int

    def __call__(self, seen: Tensor, q: Tensor, k: Tensor) -> Tensor:
        if q.shape[2] != k.shape[2] or not q.shape[2]:
            raise ShapeError(
                f"there are {q.shape[2]} landmarks of queries and {k.shape[2]} of keys; give as many tokens"
            )
        wide = torch.promote_types(q.dtype, torch.float32)
        k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
        with exact(q.device):
            weights = (q.to(wide) @ k.to(wide).mT * q.shape[-1] ** -0.5).softmax(-1)
            return (newton_inverse(weights, self.steps) @ seen.to(wide)).to(seen.dtype)


def newton_inverse(a: Tensor, steps: int) -> Tensor:
    """The inverse of square matrices with rows that sum to 1, nearly: Newton's iteration of third order."""
    one = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    inverse = a.mT / a.abs().sum(-2, keepdim=True).amax(-1, keepdim=True)  # the rows' sums are 1
    for _ in range(steps):
        once = a @ inverse
        inverse = 0.25 * inverse @ (13 * one - once @ (15 * one - once @ (7 * one - once)))
    return inverse


@entry(
    "isab",
    source="Set Transformer: A Framework for Attention-based Permutation-Invariant Neural Networks; "
    "juho-lee/set_transformer",
    example=Example(heads=2, bindings={"seeds": some_numbers(1, 2, 8, 8)}),
    graph=True,
)
def isab(channels: int | None = None) -> Graph:
    """A few learned seeds see all tokens, and the tokens see what came of them.

    The attention of an induced set block alone: what lies between its two softmaxes (projections, a normalisation, a
    feed-forward net) is left out, so what the first gives is keys and values of the second.

    Tokens seeds: [B, Hq, m, D], learned; with gradients. v has the width of k.

    channels   the width of all heads together, whose root's inverse is the scale in the source; D ** -0.5 where it is
               left out

    >>> import attnir as an
    >>> print(an.catalog.build("isab"))  # doctest: +ELLIPSIS
    q  ...
    """

    scale = scale_of(channels)

    def stages(q: Any, k: Any, v: Any, seeds: Any) -> Any:
        induced = attend(full(), seeds, k, v, scale=scale)
        return attend(full(), q, induced, induced, scale=scale)

    return graph(stages, seeds="m")


@entry(
    "pma",
    source="Set Transformer: A Framework for Attention-based Permutation-Invariant Neural Networks; "
    "juho-lee/set_transformer",
    example=Example(q_len=8, k_len=64, heads=2),
    graph=True,
)
def pma(channels: int | None = None) -> Graph:
    """A set is pooled by a few learned seeds, which are the queries. Keys that pad it are none of the set.

    Tokens q: the seeds, expanded to all samples.

    channels   the width of all heads together, whose root's inverse is the scale in the source; D ** -0.5 where it is
               left out

    >>> import attnir as an
    >>> print(an.catalog.build("pma"))  # doctest: +ELLIPSIS
    q  ...
    """
    scale = scale_of(channels)
    return graph(lambda q, k, v: attend(full(), q, k, v, scale=scale))


@entry(
    "combiner",
    source="Combiner: Full Attention Transformer with Sparse Computation Cost; google-research",
    example=Example({"segment": 8}, heads=2),
    graph=True,
)
def combiner(segment: int = 64) -> Graph:
    """Causal; a query sees its own segment up to itself, and one summary of each earlier segment, in one softmax.

    A summary's key is the mean of the segment's keys, its value what the mean of the segment's queries sees in it.
    Summaries stand for their tokens without a count. All is differentiable. Strict; q and k are of the same tokens.

    segment   tokens in a segment

    >>> import attnir as an
    >>> print(an.catalog.build("combiner", segment=16))  # doctest: +ELLIPSIS
    q  ...
    """
    whole(1, segment=segment)
    own = mask(lambda q, k: k // segment == q // segment)
    earlier = mask(lambda q, k: k < q // segment)

    def stages(q: Any, k: Any, v: Any) -> Any:
        keys = summarise(k, segment)
        seen = attend(_within(segment), summarise(q, segment), k, v)
        values = epilogue(of_same_tokens, seen, q, k, gives=Tokens(f"k // {segment}"))
        near = attend(own & causal(), q, k, v, return_lse=True)
        return merge([near, attend(earlier, q, keys, values, return_lse=True)])[0]

    return graph(stages)


@entry(
    "combiner-log-n",
    source="Combiner: Full Attention Transformer with Sparse Computation Cost; google-research",
    example=Example({"most": 64}, heads=2),
    graph=True,
)
def combiner_log_n(most: int = 65536) -> Graph:
    """Causal; a query sees itself, and the earlier tokens as summaries of 1, 2, 4 and so on, in one softmax.

    For each bit of its position that is set there is one summary, of as many tokens as the bit stands for; the larger
    ones are further away, and together they are all earlier tokens. A summary's key is the mean of its keys, its value
    what the mean of its queries sees in it. Summaries stand for their tokens without a count. All is differentiable.
    Strict; q and k are of the same tokens.

    most   tokens of the longest sequence, a power of 2

    >>> import attnir as an
    >>> print(an.catalog.build("combiner-log-n", most=4))  # doctest: +ELLIPSIS
    q  ...
    """
    whole(1, most=most)
    if most & (most - 1):
        raise DeclarationError(f"`most` is a power of 2, not {most}")

    def stages(q: Any, k: Any, v: Any) -> Any:
        k = epilogue(_AtMost(most), k, q)
        parts = [attend(mask(lambda q, k: k == q) | _before(1), q, k, v, return_lse=True)]
        for size in (2**level for level in range(1, most.bit_length() - 1)):
            seen = attend(_within(size), summarise(q, size), k, v)
            values = epilogue(of_same_tokens, seen, q, k, gives=Tokens(f"k // {size}"))
            parts.append(attend(_before(size), q, summarise(k, size), values, return_lse=True))
        return merge(parts)[0]

    return graph(stages)


@entry(
    "combiner-axial",
    source="Combiner: Full Attention Transformer with Sparse Computation Cost; google-research",
    example=Example({"width": 8}, heads=2),
    graph=True,
)
def combiner_axial(width: int = 64) -> Graph:
    """Causal; tokens lie in rows: a query sees its row and its column up to itself, and of others what is above it.

    Of each other column there is one summary, which grows from row to row, of all its tokens above the query's row. A
    summary's key is the mean of its keys, its value what the mean of its queries sees in it; so a query's keys are all
    earlier tokens, in one softmax. Summaries stand for their tokens without a count. All is differentiable. Strict; q
    and k are of the same tokens.

    width   tokens in a row

    >>> import attnir as an
    >>> print(an.catalog.build("combiner-axial", width=16))  # doctest: +ELLIPSIS
    q  ...
    """
    whole(1, width=width)
    row = mask(lambda q, k: q // width == k // width)
    column = mask(lambda q, k: q % width == k % width)
    above = mask(lambda q, k: k // width == q // width - 1)

    def stages(q: Any, k: Any, v: Any) -> Any:
        q_so_far, k_so_far = (epilogue(_RunningMean(width), x) for x in (q, k))
        seen = attend(causal() & column, q_so_far, k, v)
        values = epilogue(of_same_tokens, seen, q, k, gives=Tokens("k"))
        near = attend(causal() & (row | column), q, k, v, return_lse=True)
        return merge([near, attend(above & ~column, q, k_so_far, values, return_lse=True)])[0]

    return graph(stages)


@dataclass(frozen=True, slots=True)
class _RunningMean:
    """The mean of every token and those above it, in rows of so many."""

    width: int

    def __call__(self, x: Tensor) -> Tensor:
        short = -x.shape[2] % self.width
        rows = filled(x, (0, 0, 0, short)).unflatten(2, (-1, self.width))
        count = torch.arange(1, rows.shape[2] + 1, device=x.device)
        wide = torch.promote_types(x.dtype, torch.float32)
        mean: Tensor = rows.cumsum(2, dtype=wide) / count[:, None, None]
        return mean.to(x.dtype).flatten(2, 3)[:, :, : x.shape[2]]


def _within(size: int) -> Mask:
    """The tokens that a summary of so many stands for, of its query, which is its number."""
    return mask(lambda q, k: k // size == q)


def _before(size: int) -> Mask:
    """The summary of so many tokens that a query sees, if any: the one before that in which it stands."""
    return mask(lambda q, k: (q // size % 2 == 1) & (k == q // size - 1))


@dataclass(frozen=True, slots=True)
class _AtMost:
    """Keys, of the same tokens as queries, of which there are not too many."""

    most: int

    def __call__(self, k: Tensor, q: Tensor, q_start: int) -> Tensor:
        check_same(q, k, q_start)
        if k.shape[2] > self.most:
            raise ShapeError(f"{k.shape[2]} tokens are more than the {self.most} that `most` says")
        return k
