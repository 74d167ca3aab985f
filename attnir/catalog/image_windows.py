"""Windows of images: blocks with a halo, shifted windows, lines."""

from __future__ import annotations

from functools import reduce
from operator import and_, or_

from attnir.catalog.registry import Example, entry
from attnir.catalog.sizes import at_most, divides, within
from attnir.errors import DeclarationError
from attnir.facts import tensor
from attnir.masks import Mask, mask
from attnir.scores import Pattern, pattern, score
from attnir.space import Space, grid
from attnir.value import Value, fail


@entry(
    "halo",
    source="Scaling Local Self-Attention for Parameter Efficient Visual Backbones; lucidrains/halonet-pytorch",
    example=Example({"height": 8, "width": 8, "block": 4, "halo": 1}),
)
def halo(
    height: int | Value,
    width: int | Value,
    block: int | Value = 8,
    halo: int | Value = 3,
    border: str = "mask",
    relative: bool = False,
) -> Mask | Pattern:
    """Blocks of an image see themselves and a halo around them.

    Tensors, where `relative`: qy, qx: [B, Hq, Sq, rows], scale * q @ R.transpose(-1, -2) of the embeddings R_h and R_w
    [rows, D], which the heads share, made before the call, so that torch makes the gradients of q, R_h and R_w of
    those of qy and qx. rows is 2 * (block + 2 * halo) - 1; the middle one is for equal coordinates, k - q = 0.

    height, width  the image's tokens, multiples of the block
    block          tokens along a side of a block
    halo           how many tokens around its block a query sees on each side
    border         "mask": beyond the border there is nothing to see. "zero_key": there are keys and values, of the
                   image padded with `halo` rows and columns of zeros on each side, (height + 2 * halo) *
                   (width + 2 * halo) in all; they count in the softmax, as in timm
    relative       products of each query with an embedding of the distance down and of that across are added

    >>> import attnir as an
    >>> print(an.catalog.build("halo", height=56, width=56, block=8, halo=3))  # doctest: +NORMALIZE_WHITESPACE
    q, k = grid(y=56, x=56);
    (q.y // 8 * 8 - 3 <= k.y) & (k.y < q.y // 8 * 8 + 11) & ((q.x // 8 * 8 - 3 <= k.x) & (k.x < q.x // 8 * 8 + 11))
    >>> relative = an.catalog.build("halo", height=56, width=56, relative=True)
    >>> print(str(relative).rpartition("; ")[2])
    score = s + qy[b, h, q, k.y - q.y + 13] + qx[b, h, q, k.x - q.x + 13]
    """
    within(1, block=block)
    within(0, halo=halo)
    divides("the block", block, height=height, width=width)
    if border not in ("mask", "zero_key"):
        fail(DeclarationError, f"the border is 'mask' or 'zero_key', not {border!r}")
    image = grid(y=height, x=width)
    if border == "mask":
        seen = mask(lambda q, k: _around(q.y, k.y, block, halo) & _around(q.x, k.x, block, halo), grid=image)
        return _relative(seen, (image, image), block + 2 * halo - 1) if relative else seen
    if not (isinstance(height, int) and isinstance(width, int) and isinstance(halo, int)):
        fail(DeclarationError, "an image that is padded with zeros has a known height and width, and so has its halo")
    padded = grid(y=height + 2 * halo, x=width + 2 * halo)
    seen = mask(
        lambda q, k: _around(q.y, k.y - halo, block, halo) & _around(q.x, k.x - halo, block, halo),
        grid=(image, padded),
    )
    return _relative(seen, (image, padded), block + halo - 1) if relative else seen


def _relative(seen: Mask, spaces: tuple[Space, Space], middle: int | Value) -> Pattern:
    """Products with embeddings of both distances added; `middle` is the row of those of equal coordinates."""
    qy, qx = (tensor(name, "b", "h", "q", "row") for name in ("qy", "qx"))
    return pattern(
        seen,
        score=score(
            lambda s, b, h, q, k: s + qy[b, h, q, k.y - q.y + middle] + qx[b, h, q, k.x - q.x + middle], grid=spaces
        ),
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
def swin(
    height: int | Value, width: int | Value, window: int | Value = 7, shift: int | Value = 0, relative: bool = False
) -> Mask | Pattern:
    """Square windows of an image, shifted or not: tokens see those of their own window.

    Tensor, where `relative`: bias: [Hq, 2 * window - 1, 2 * window - 1], for q.y - k.y, then q.x - k.x, from 1 - window
    on.

    height, width  the image's tokens; windows at its border are smaller where they do not fit
    window         tokens along a side of a window, at most the image's
    shift          how far the windows are moved, below the window; nothing wraps around the border
    relative       a learned number for each head and pair of distances is added

    The pairs that wrap in the official code, where they keep a weight, are no pairs here.

    >>> import attnir as an
    >>> print(an.catalog.build("swin", height=56, width=56, window=7, shift=3))
    q, k = grid(y=56, x=56); ((q.y + 4) // 7 == (k.y + 4) // 7) & ((q.x + 4) // 7 == (k.x + 4) // 7)
    >>> print(str(an.catalog.build("swin", height=56, width=56, relative=True)).rpartition("; ")[2])
    score = s + bias[h, q.y - k.y + 6, q.x - k.x + 6]
    """
    within(1, window=window)
    within(0, shift=shift)
    at_most("the image", height, window=window)
    at_most("the image", width, window=window)
    if isinstance(window, int):
        at_most("one less than the window", window - 1, shift=shift)
    first = window - shift  # from the border to the first window's end
    image = grid(y=height, x=width)
    seen = mask(
        lambda q, k: (
            ((q.y + first) // window == (k.y + first) // window) & ((q.x + first) // window == (k.x + first) // window)
        ),
        grid=image,
    )
    if not relative:
        return seen
    bias, far = tensor("bias", "h", "down", "across"), window - 1
    added = score(lambda s, h, q, k: s + bias[h, q.y - k.y + far, q.x - k.x + far], grid=image)
    return pattern(seen, score=added)


@entry(
    "axial",
    source="Axial Attention in Multidimensional Transformers; lucidrains/axial-attention",
    example=Example({"grid": grid(y=8, x=8), "axes": ("y", "x")}),
)
def axial(grid: Space, axes: str | tuple[str, ...]) -> Mask:
    """Lines of a grid: a query sees the keys that differ from it along one axis alone.

    grid  the tokens' grid, of any axes
    axes  the axis, by its name; or a tuple of several, along any of which the keys may differ (criss-cross)

    With one axis it is one of the attentions that axial attention sums or chains, each with a softmax of its own.
    Several axes share one softmax here, which is another result than their sum.

    >>> import attnir as an
    >>> image = an.grid(y=64, x=64)
    >>> print(an.catalog.build("axial", grid=image, axes="y"))
    q, k = grid(y=64, x=64); q.x == k.x
    >>> print(an.catalog.build("axial", grid=image, axes=("y", "x")))
    q, k = grid(y=64, x=64); (q.x == k.x) | (q.y == k.y)
    """
    if not isinstance(grid, Space):
        fail(DeclarationError, f"the lines are those of an.grid(...) or an.concat(...), not of {grid!r}")
    names = [axis.name for region in grid.regions for axis in region.axes]
    along = [axes] if isinstance(axes, str) else list(axes)
    if not along or any(axis not in names for axis in along):
        fail(DeclarationError, f"axes are among those of the grid, {', '.join(names)}; not {axes!r}")
    return reduce(or_, (_line(grid, [n for n in names if n != axis]) for axis in along))


def _line(grid: Space, others: list[str]) -> Mask:
    """Keys with all of these coordinates in common with the query."""
    return mask(lambda q, k: reduce(and_, (getattr(q, a) == getattr(k, a) for a in others), True), grid=grid)
