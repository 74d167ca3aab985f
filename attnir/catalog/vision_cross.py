"""Cross-attention from interleaved text to the images in it."""

from __future__ import annotations

import torch

from attnir.catalog.registry import Example, entry
from attnir.facts import field
from attnir.masks import Mask, mask


@entry(
    "vision-cross-attention",
    source="Flamingo: a Visual Language Model for Few-Shot Learning; lucidrains/flamingo-pytorch",
    example=Example(
        q_len=48,
        k_len=32,
        bindings={
            "image": (
                torch.tensor([0, 1, 3, 4]).repeat_interleave(torch.tensor([8, 16, 12, 12])),
                torch.tensor([1, 2, 3, 4]).repeat_interleave(8),
            )
        },
    ),
)
def vision_cross_attention(latest: bool = False) -> Mask:
    """Text tokens see the images before them.

    Queries are tokens of the text, keys those of its images, one image after the other.

    latest  whether only the last image before a token is seen

    Field: `image`, given as a pair. For queries the number of images before them in the text; for keys the number of
    their image, from 1. Both never decrease along the sequence (it is declared sorted). Text before the first image
    sees nothing, and its output is 0.

    >>> import attnir as an
    >>> print(an.catalog.build("vision-cross-attention"))
    image = field(sorted=True); image(k) <= image(q)
    """
    image = field("image", sorted=True)
    if latest:
        return mask(lambda q, k: image(k) == image(q))
    return mask(lambda q, k: image(k) <= image(q))
