"""Attention of an image's tokens by where they are alone, whatever they hold."""

from __future__ import annotations

import torch

from attnir.catalog.registry import Example, entry
from attnir.facts import tensor
from attnir.masks import mask
from attnir.scores import Pattern, pattern, score
from attnir.space import grid
from attnir.value import Value

_W = torch.tensor([[0.4, -0.2, -0.3], [0.0, 0.5, -0.2]])


@entry(
    "gpsa",
    source="ConViT: Improving Vision Transformers with Soft Convolutional Inductive Biases; facebookresearch/convit",
    example=Example({"height": 8, "width": 8}, heads=2, bindings={"w": _W}),
)
def gpsa(height: int | Value, width: int | Value) -> Pattern:
    """The positional half of gated attention: keys weigh by their distance, by learned factors of each head.

    Tensor w: [Hq, 3], of k.x - q.x, of k.y - q.y, and of the sum of their squares.

    height, width  the image's tokens

    Gated positional self-attention takes a share `sigmoid(lam)` of each head from it, and the rest from plain attention
    over the same values. These are two softmaxes, so two calls, which torch puts together. Scores of the positional
    one read no product of q and k, which get no gradient from it. The bias that the authors add for each head, and
    their dividing by the sum of the mixed weights, change nothing.

    >>> import attnir as an, torch
    >>> plain, by_place = an.compile(an.full()), an.compile(an.catalog.build("gpsa", height=4, width=4))
    >>> q, k, v = torch.randn(3, 1, 2, 16, 8)
    >>> w, lam = torch.randn(2, 3, requires_grad=True), torch.zeros(2, requires_grad=True)
    >>> g = torch.sigmoid(lam)[:, None, None]
    >>> o = (1 - g) * plain(q, k, v) + g * by_place(q, k, v, w=w)
    >>> o.sum().backward()                                     # w.grad, lam.grad
    """
    w = tensor("w", "h", "term")
    image = grid(y=height, x=width)
    by_place = score(lambda q, k, h: _weighed(w[h, 0], w[h, 1], w[h, 2], k.x - q.x, k.y - q.y), grid=image)
    return pattern(mask(lambda q, k: True, grid=image), score=by_place)


def _weighed(across: Value, down: Value, far: Value, dx: Value, dy: Value) -> Value:
    return across * dx + down * dy + far * (dx * dx + dy * dy)
