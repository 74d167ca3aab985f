"""Edits of images by what their attention is shown."""

from __future__ import annotations

import torch

from attnir.catalog.registry import Example, entry
from attnir.errors import DeclarationError
from attnir.facts import field, tensor
from attnir.functions import where
from attnir.masks import Mask, full, mask
from attnir.scores import Pattern, pattern, score
from attnir.value import fail


@entry(
    "design-edit",
    source="DesignEdit: Multi-Layered Latent Decomposition and Fusion for Unified & Accurate Image Editing; "
    "design-edit/DesignEdit",
    example=Example(bindings={"erased": (torch.arange(64) % 8 > 4).int()}),
)
def design_edit(hide: bool = False, soft: bool = False) -> Mask | Pattern:
    """Keys of what is erased from an image get a logit of zero: their values stay in the mixture.

    hide  whether erased keys are not seen at all instead
    soft  whether a mask that was resized is taken as it is, with numbers between 0 and 1 along its edges

    Field: `erased`, 1 for the tokens that a binary mask of the image covers, else 0. Where `soft`, the tensor erased:
    [B, Sk], of real numbers.

    The released code takes the keys times 1 - erased, which is the same where keys have no bias.

    >>> import attnir as an
    >>> print(an.catalog.build("design-edit"))
    erased = field(); True; score = where(erased(k) == 1, 0.0, s)
    >>> print(an.catalog.build("design-edit", hide=True))
    erased = field(); erased(k) != 1
    >>> print(an.catalog.build("design-edit", soft=True))
    erased = tensor(b, k, dtype=float); True; score = s * (1.0 - erased[b, k])
    """
    if soft:
        if hide:
            fail(DeclarationError, "what is half erased is not hidden: give hide or soft, not both")
        share = tensor("erased", "b", "k")
        return pattern(full(), score=score(lambda s, b, k: s * (1.0 - share[b, k])))
    erased = field("erased")
    if hide:
        return mask(lambda k: erased(k) != 1)
    return pattern(full(), score=score(lambda s, k: where(erased(k) == 1, 0.0, s)))
