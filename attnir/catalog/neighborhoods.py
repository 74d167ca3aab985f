"""Neighbourhoods on grids: windows that shift inward at the edges, sliding tiles, windows of fixed reach."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from attnir.catalog.registry import Example, entry
from attnir.catalog.sizes import at_most, divides, one_for_each, some, within
from attnir.masks import Mask, mask
from attnir.neighborhood import PerAxis, neighborhood
from attnir.space import Space, concat, grid
from attnir.value import Value


@entry(
    "neighborhood",
    source="Neighborhood Attention Transformer; Dilated Neighborhood Attention Transformer; Generalized Neighborhood "
    "Attention; SHI-Labs/NATTEN",
    example=Example({"grid": grid(y=8, x=8), "kernel": 3}),
)
def neighborhood_attention(
    grid: Space,
    kernel: PerAxis,
    stride: PerAxis = 1,
    dilation: PerAxis = 1,
    causal: Collection[str] | bool = (),
    extra: int | Value = 0,
) -> Mask:
    """A window of `kernel` keys along each axis of a grid of one to four axes; at the edges it shifts inward.

    grid      the tokens' grid: an.grid(x=...), an.grid(y=..., x=...), an.grid(t=..., y=..., x=...)
    kernel    the window's keys along each axis, for all axes or a tuple; even windows see one more before than after
    stride    how many neighbouring queries share the window of the one in their middle (GNA); at most the kernel
    dilation  only every dilation-th token is seen; kernel * dilation is at most the axis
    causal    names of axes, or True for all, along which no later key is seen
    extra     how many keys stand after those of the grid, in k and v alone, and are visible to every query

    >>> import attnir as an
    >>> print(an.compile(an.catalog.build("neighborhood", grid=an.grid(x=7), kernel=3)).pattern)
    q, k = grid(x=7); (min(max(q - 1, 0), 4) <= k) & (k < min(max(q - 1, 0), 4) + 3)
    """
    near = neighborhood(grid, kernel, stride, dilation, causal)
    if not some(extra):
        return near
    spaces = (grid, concat(tokens=grid, extra=extra))  # no window reaches past the grid, so none holds an extra key
    return replace(near, spaces=spaces) | mask(lambda q, k: k.in_("extra"), grid=spaces)


@entry(
    "sliding-tile",
    source="Fast Video Generation with Sliding Tile Attention; hao-ai-lab/FastVideo",
    example=Example({"frames": 2, "height": 4, "width": 12, "tile": (2, 2, 2), "window": (1, 1, 3)}, q_len=96),
)
def sliding_tile(
    frames: int,
    height: int,
    width: int,
    tile: tuple[int, int, int],
    window: tuple[int, int, int],
) -> Mask:
    """Tiles of a video see the tiles around them: every query of a tile sees the same whole tiles.

    frames, height, width  the video's tokens, row-major; multiples of the tile
    tile                   tokens of a tile along (t, y, x)
    window                 tiles that are seen along (t, y, x); as many on both sides, so an even number sees one more,
                           unless the axis ends; at the edges the window shifts inward

    It is a neighbourhood whose stride is the tile. Tokens stay in the order of the video.

    >>> import attnir as an
    >>> an.catalog.build("sliding-tile", frames=1, height=8, width=16, tile=(1, 8, 8), window=(1, 1, 1)) == \\
    ...     an.neighborhood(an.grid(t=1, y=8, x=16), kernel=(1, 8, 8), stride=(1, 8, 8))
    True
    """
    one_for_each("t, y, x", tile=tile, window=window)
    sizes = {"frames": frames, "height": height, "width": width}
    kernel = tuple(_tiled(name, size, *pair) for (name, size), *pair in zip(sizes.items(), tile, window, strict=True))
    return neighborhood(grid(t=frames, y=height, x=width), kernel, stride=tile)


def _tiled(name: str, size: int, tile: int, window: int) -> int:
    """How many keys a window of tiles holds along an axis."""
    within(1, tile=tile, window=window, **{name: size})
    divides("the tile", tile, **{name: size})
    at_most(f"the tiles along {name}", size // tile, window=window)
    return min(window // 2 * 2 + 1, size // tile) * tile


@entry(
    "freeswim",
    source="FreeSwim: Revisiting Sliding-Window Attention Mechanisms for Training-Free Ultra-High-Resolution Video "
    "Generation; WillWu111/FreeSwim",
    example=Example({"frames": 2, "height": 6, "width": 8, "reach": (1, 2)}, q_len=96, batch=2),
)
def freeswim(
    frames: int | Value,
    height: int,
    width: int,
    reach: tuple[int, int] = (15, 26),
    full_sample: int | Value | None = 1,
) -> Mask:
    """A window of the training resolution in height and width, with no limit in time; one sample sees everything.

    frames, height, width  the video's tokens, row-major
    reach                  keys before and after a query along (y, x): a 32nd of the training resolution in pixels, so
                           480 x 832 gives (15, 26). The window shifts inward at the edges and is the axis at most
    full_sample            the sample of the batch with full attention, which guides the others; None: there is none

    >>> import attnir as an
    >>> pattern = an.catalog.build("freeswim", frames=1, height=68, width=120)
    >>> f"{an.compile(pattern).explain(68 * 120).live_pairs / (68 * 120) ** 2:.1%}"
    '20.1%'
    """
    one_for_each("y, x", reach=reach)
    reach_y, reach_x = reach
    within(1, height=height, width=width)
    within(0, reach_y=reach_y, reach_x=reach_x)
    kernel = (frames, min(2 * reach_y + 1, height), min(2 * reach_x + 1, width))
    near = neighborhood(grid(t=frames, y=height, x=width), kernel)
    return near if full_sample is None else near | mask(lambda b: b == full_sample)
