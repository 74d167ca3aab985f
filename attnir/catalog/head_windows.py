"""Windows of images that differ between heads: fine and pooled, vertical and horizontal."""

from __future__ import annotations

from attnir.catalog.registry import Example, entry
from attnir.catalog.sizes import at_most, divides, within
from attnir.errors import DeclarationError
from attnir.masks import Mask, mask
from attnir.per_head import per_head
from attnir.space import concat, grid
from attnir.value import Value, fail


@entry(
    "hilo",
    source="Fast Vision Transformers with HiLo Attention; ziplab/LITv2",
    example=Example({"height": 8, "width": 8, "heads": 2}, k_len=80, heads=2),
)
def hilo(height: int, width: int, heads: int, alpha: float = 0.5, window: int = 2) -> Mask:
    """High-frequency heads see their own small window, low-frequency heads all keys of a pooled image.

    height, width  the image's tokens, multiples of the window
    heads          how many heads there are; the high-frequency ones come first
    alpha          the share of low-frequency heads, from 0 to 1, rounded down to whole heads
    window         tokens along a side of a window, and of what is pooled to one key; 1: every head sees every token

    The keys are those of the image, then one for each window, projected from its mean: the former are for the first
    heads, the latter for the others. With windows of 1 there are those of the image alone.

    >>> import attnir as an
    >>> print(an.catalog.build("hilo", height=14, width=14, heads=4, alpha=0.25))  # doctest: +NORMALIZE_WHITESPACE
    q = grid(y=14, x=14); k = concat(image=grid(y=14, x=14), pooled=49); h = heads(4);
    (h < 3) & ((k < 196) & (q.y // 2 == k.y // 2) & (q.x // 2 == k.x // 2)) | (h == 3) & (196 <= k)
    """
    within(1, height=height, width=width, heads=heads, window=window)
    divides("the window", window, height=height, width=width)
    if not 0 <= alpha <= 1:
        fail(DeclarationError, f"alpha is the share of low-frequency heads, from 0 to 1, not {alpha}")
    image = grid(y=height, x=width)
    if window == 1:
        return per_head([(slice(0, heads), mask(lambda q, k: True, grid=image))])
    spaces = (image, concat(image=image, pooled=height // window * (width // window)))
    high = mask(
        lambda q, k: k.in_("image") & (q.y // window == k.y // window) & (q.x // window == k.x // window), grid=spaces
    )
    low = mask(lambda q, k: k.in_("pooled"), grid=spaces)
    split = heads - int(heads * alpha)
    parts = [(range(split), high), (range(split, heads), low)]
    return per_head([(among, seen) for among, seen in parts if among])


@entry(
    "stripe",
    source="CSWin Transformer: A General Vision Transformer Backbone with Cross-Shaped Windows; "
    "microsoft/CSWin-Transformer",
    example=Example({"height": 8, "width": 8, "heads": 2, "stripe": 2}, heads=2),
)
def stripe(height: int | Value, width: int | Value, heads: int, stripe: int | Value = 1) -> Mask:
    """Stripes of an image: half of the heads see their vertical stripe, the other half their horizontal one.

    height, width  the image's tokens; the last stripe is narrower where the others do not fill the image
    heads          how many heads there are, an even number; the first half has the vertical stripes
    stripe         how many tokens wide a stripe is, at most the image's longer side

    >>> import attnir as an
    >>> print(an.catalog.build("stripe", height=56, width=56, heads=2, stripe=7))  # doctest: +NORMALIZE_WHITESPACE
    q, k = grid(y=56, x=56); h = heads(2);
    (h == 0) & (q.x // 7 == k.x // 7) | (h == 1) & (q.y // 7 == k.y // 7)
    """
    within(1, stripe=stripe, heads=heads)
    divides("2", 2, heads=heads)
    if isinstance(height, int) and isinstance(width, int):
        at_most("the image's longer side", max(height, width), stripe=stripe)
    image = grid(y=height, x=width)
    vertical = mask(lambda q, k: q.x // stripe == k.x // stripe, grid=image)
    horizontal = mask(lambda q, k: q.y // stripe == k.y // stripe, grid=image)
    return per_head([(slice(0, heads // 2), vertical), (slice(heads // 2, heads), horizontal)])
