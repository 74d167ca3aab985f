"""Edits of images by what their attention is shown."""

from __future__ import annotations

import torch

from attnir.catalog.registry import Example, entry
from attnir.facts import field
from attnir.functions import where
from attnir.masks import Mask, full, mask
from attnir.scores import Pattern, pattern, score


@entry(
    "design-edit",
    source="DesignEdit: Multi-Layered Latent Decomposition and Fusion for Unified & Accurate Image Editing; "
    "design-edit/DesignEdit",
    example=Example(bindings={"erased": (torch.arange(64) % 8 > 4).int()}),
)
def design_edit(hide: bool = False) -> Mask | Pattern:
    """Keys of what is erased from an image get a logit of zero: their values stay in the mixture.

    hide  whether erased keys are not seen at all instead

    Field: `erased`, 1 for the tokens that a binary mask of the image covers, else 0.

    The released code takes the keys times 1 - erased, which is the same where keys have no bias.

    >>> import attnir as an
    >>> print(an.catalog.build("design-edit"))
    erased = field(); True; score = where(erased(k) == 1, 0.0, s)
    >>> print(an.catalog.build("design-edit", hide=True))
    erased = field(); erased(k) != 1
    """
    erased = field("erased")
    if hide:
        return mask(lambda k: erased(k) != 1)
    return pattern(full(), score=score(lambda s, k: where(erased(k) == 1, 0.0, s)))
