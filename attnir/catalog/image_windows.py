"""Windows of images: blocks with a halo, shifted windows, stripes, lines, and windows in some heads alone."""

from __future__ import annotations

from functools import reduce
from operator import and_, or_

from attnir.catalog.checking import at_least, at_most, divides
from attnir.catalog.registry import Example, entry
from attnir.errors import DeclarationError
from attnir.pattern import Mask, mask
from attnir.per_head import per_head
from attnir.space import Space, concat, grid
from attnir.trace import Value, fail


@entry(
    "halo",
    source="Scaling Local Self-Attention for Parameter Efficient Visual Backbones; lucidrains/halonet-pytorch",
    example=Example({"height": 8, "width": 8, "block": 4, "halo": 1}),
)
def halo(height: int | Value, width: int | Value, block: int | Value = 8, halo: int | Value = 3) -> Mask:
    """Blocks of an image see themselves and a halo around them; beyond the border there is nothing to see.

    height, width  the image's tokens, multiples of the block
    block          tokens along a side of a block
    halo           how many tokens around its block a query sees on each side

    >>> import attnir as an
    >>> print(an.catalog.build("halo", height=56, width=56, block=8, halo=3))  # doctest: +NORMALIZE_WHITESPACE
    q, k = grid(y=56, x=56);
    (q.y // 8 * 8 - 3 <= k.y) & (k.y < q.y // 8 * 8 + 11) & ((q.x // 8 * 8 - 3 <= k.x) & (k.x < q.x // 8 * 8 + 11))
    """
    at_least(1, block=block)
    at_least(0, halo=halo)
    divides("the block", block, height=height, width=width)
    return mask(
        lambda q, k: _around(q.y, k.y, block, halo) & _around(q.x, k.x, block, halo), grid=grid(y=height, x=width)
    )


def _around(q: Value, k: Value, block: int | Value, halo: int | Value) -> Value:
    """Whether a key lies in the query's block or its halo, along one axis."""
    start = q // block * block
    return (start - halo <= k) & (k < start + (block + halo))


@entry(
    "swin",
    source="Swin Transformer: Hierarchical Vision Transformer using Shifted Windows; microsoft/Swin-Transformer",
    example=Example({"height": 8, "width": 8, "window": 4, "shift": 2}),
)
def swin(height: int | Value, width: int | Value, window: int | Value = 7, shift: int | Value = 0) -> Mask:
    """Square windows of an image, shifted or not: tokens see those of their own window.

    height, width  the image's tokens; windows at its border are smaller where they do not fit
    window         tokens along a side of a window, at most the image's
    shift          how far the windows are moved, below the window; nothing wraps around the border

    The pairs that wrap in the official code, where they keep a weight, are no pairs here.

    >>> import attnir as an
    >>> print(an.catalog.build("swin", height=56, width=56, window=7, shift=3))
    q, k = grid(y=56, x=56); ((q.y + 4) // 7 == (k.y + 4) // 7) & ((q.x + 4) // 7 == (k.x + 4) // 7)
    """
    at_least(1, window=window)
    at_least(0, shift=shift)
    at_most("the image", height, window=window)
    at_most("the image", width, window=window)
    if isinstance(window, int):
        at_most("one less than the window", window - 1, shift=shift)
    first = window - shift  # from the border to the first window's end
    return mask(
        lambda q, k: (
            ((q.y + first) // window == (k.y + first) // window) & ((q.x + first) // window == (k.x + first) // window)
        ),
        grid=grid(y=height, x=width),
    )


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
    at_least(1, height=height, width=width, heads=heads, window=window)
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
    "axial",
    source="Axial Attention in Multidimensional Transformers; lucidrains/axial-attention",
    example=Example({"grid": grid(y=8, x=8)}),
)
def axial(grid: Space, axes: str | tuple[str, ...] | None = None) -> Mask:
    """Lines of a grid: a query sees the keys that differ from it along one axis alone.

    grid  the tokens' grid, of any axes
    axes  the axis, or several, any of which the keys may differ along; left out, each one (criss-cross)

    With one axis it is one of the attentions that axial attention sums or chains, each with a softmax of its own.
    Several axes share one softmax here, which is another result than their sum.

    >>> import attnir as an
    >>> image = an.grid(y=64, x=64)
    >>> print(an.catalog.build("axial", grid=image, axes="y"))
    q, k = grid(y=64, x=64); q.x == k.x
    >>> print(an.catalog.build("axial", grid=image))
    q, k = grid(y=64, x=64); (q.x == k.x) | (q.y == k.y)
    """
    names = [axis.name for region in grid.regions for axis in region.axes]
    along = names if axes is None else [axes] if isinstance(axes, str) else list(axes)
    if not along or any(axis not in names for axis in along):
        fail(DeclarationError, f"axes are among those of the grid, {', '.join(names)}; not {axes!r}")
    return reduce(or_, (_line(grid, [n for n in names if n != axis]) for axis in along))


def _line(grid: Space, others: list[str]) -> Mask:
    """Keys with all of these coordinates in common with the query."""
    return mask(lambda q, k: reduce(and_, (getattr(q, a) == getattr(k, a) for a in others), True), grid=grid)


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
    at_least(1, stripe=stripe, heads=heads)
    divides("2", 2, heads=heads)
    if isinstance(height, int) and isinstance(width, int):
        at_most("the image's longer side", max(height, width), stripe=stripe)
    image = grid(y=height, x=width)
    vertical = mask(lambda q, k: q.x // stripe == k.x // stripe, grid=image)
    horizontal = mask(lambda q, k: q.y // stripe == k.y // stripe, grid=image)
    return per_head([(slice(0, heads // 2), vertical), (slice(heads // 2, heads), horizontal)])
