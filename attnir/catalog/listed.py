"""Keys that are listed elsewhere: the edges of a graph, spans of each query, what was packed of several images."""

from __future__ import annotations

import torch

from attnir.catalog.registry import Example, entry
from attnir.catalog.shared import some_numbers
from attnir.catalog.sizes import whole
from attnir.facts import field, selection, tensor
from attnir.masks import Mask, causal, full, mask
from attnir.scores import Pattern, pattern, score

_EDGES = torch.tensor([[(i * j) % 24 if j < 1 + i % 4 else -1 for j in (1, 2, 3, 5)] for i in range(24)])
_LOW = torch.arange(64) // 3


@entry(
    "graph-edges",
    source="Graph Attention Networks; Do Transformers Really Perform Badly for Graph Representation?",
    example=Example(q_len=24, bindings={"edges": _EDGES, "bias": some_numbers(24, 4)}),
)
def graph_edges(biased: bool = True) -> Pattern:
    """Attention along the edges of a given graph, with a learned bias of each edge.

    Selection edges: for each node its neighbours, integers [nodes, places], -1 where there is none; `an.csr` makes it
    of a graph in compressed form. Tensor bias: [nodes, places], of the nodes that are queries, a number of each edge;
    with a gradient.

    biased   whether edges have a bias

    >>> import attnir as an
    >>> print(an.catalog.build("graph-edges", biased=False))
    edges = selection(); edges(q, k) > 0
    """
    edges, bias = selection("edges"), tensor("bias", "q", "place")
    there = mask(lambda q, k: edges(q, k) > 0)
    if not biased:
        return pattern(there)
    return pattern(there, score=score(lambda s, q, k: s + bias[q, edges(q, k) - 1]))


@entry(
    "ltri",
    source="Ltri-LLM: Streaming Long Context Inference for LLMs with Training-Free Dynamic Triangular Attention "
    "Pattern",
    example=Example(
        {"spans": 2},
        bindings={"low0": _LOW, "high0": _LOW + 4, "low1": 2 * _LOW, "high1": 2 * _LOW + 3},
    ),
)
def ltri(spans: int = 1, past: bool = True) -> Mask:
    """Each query sees a few spans of keys, which are given.

    Finding them needs the attention map, and is done elsewhere. Fields low0, high0, low1, high1, ...: for each query
    the first key of a span, and the one behind its last; spans may overlap, or be empty.

    spans   how many there are
    past    only keys up to the query's own position are seen

    >>> import attnir as an
    >>> print(an.catalog.build("ltri"))
    high0 = field(); low0 = field(); (k <= q) & ((k >= low0(q)) & (k < high0(q)))
    """
    whole(1, 16, spans=spans)
    seen = ~full()
    for n in range(spans):
        seen = seen | _span(n)
    return causal() & seen if past else seen


def _span(n: int) -> Mask:
    low, high = field(f"low{n}"), field(f"high{n}")
    return mask(lambda q, k: (low(q) <= k) & (k < high(q)))


@entry(
    "spa",
    source="Select and Pack Attention",
    example=Example(bindings={"image": torch.tensor([0] * 20 + [1] * 25 + [2] * 12 + [-1] * 7)}),
)
def spa() -> Mask:
    """Tokens that a gate kept, of several images, are packed into one sequence; each sees those of its own image.

    Field image: the number of the image, -1 for what pads the end. Choosing, packing and putting back is done
    elsewhere: `an.pack`, `an.gather` and `an.scatter` do it in a graph.

    >>> import attnir as an
    >>> print(an.catalog.build("spa"))
    image = field(); (image(q) == image(k)) & (image(k) >= 0)
    """
    image = field("image")
    return mask(lambda q, k: (image(q) == image(k)) & (image(k) >= 0))
