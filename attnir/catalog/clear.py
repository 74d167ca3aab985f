"""CLEAR: every image token sees the text and a disc of the image around it."""

from __future__ import annotations

from dataclasses import replace

from attnir.catalog.registry import Example, entry
from attnir.catalog.sizes import divides, within
from attnir.masks import Mask, mask
from attnir.space import concat, grid
from attnir.value import Value


@entry(
    "clear",
    source="CLEAR: Conv-Like Linearization Revs Pre-Trained Diffusion Transformers Up; Huage001/CLEAR",
    example=Example({"text": 8, "height": 8, "width": 8, "radius": 3, "pool": 4}, q_len=72, k_len=76),
)
def clear(
    height: int | Value, width: int | Value, text: int | Value = 512, radius: int | Value = 16, pool: int = 0
) -> Mask:
    """Image tokens see the text and a disc of the image around them; text tokens see everything but pooled keys.

    height, width  the image's tokens, which stand after the text
    text           how many text tokens there are
    radius         keys nearer than this are seen; the disc is cut off at the image's edges
    pool           with more than 0, keys pooled from pool x pool tokens of the image stand after those of the image,
                   in k and v alone, and every image token sees them; the image's sides are multiples of it

    >>> import attnir as an
    >>> print(an.catalog.build("clear", height=64, width=64, radius=8))  # doctest: +NORMALIZE_WHITESPACE
    q, k = concat(text=512, image=grid(y=64, x=64));
    (q < 512) | (k < 512) | ((q.y - k.y) * (q.y - k.y) + (q.x - k.x) * (q.x - k.x) < 64)
    """
    within(1, radius=radius)
    within(0, pool=pool)
    image = grid(y=height, x=width)
    page = concat(text=text, image=image)
    near = mask(
        lambda q, k: q.in_("text") | k.in_("text") | ((q.y - k.y) ** 2 + (q.x - k.x) ** 2 < radius * radius),
        grid=page,
    )
    if not pool:
        return near
    divides("the pool", pool, height=height, width=width)
    spaces = (page, concat(text=text, image=image, pooled=height // pool * (width // pool)))
    pooled = mask(lambda q, k: k.in_("pooled"), grid=spaces)
    return (replace(near, spaces=spaces) & ~pooled) | (pooled & mask(lambda q, k: q.in_("image"), grid=spaces))
