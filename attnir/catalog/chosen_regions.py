"""Regions of images and chunks of videos that are chosen: for a region, or for a query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnir import route
from attnir.catalog.registry import Example, entry
from attnir.catalog.sizes import whole
from attnir.errors import DeclarationError, ShapeError
from attnir.facts import selection
from attnir.graph.edges import Tokens
from attnir.graph.graph import Graph
from attnir.graph.tracing import attend, choose, epilogue, graph
from attnir.masks import full, mask
from attnir.space import grid


@entry(
    "biformer",
    source="BiFormer: Vision Transformer with Bi-Level Routing Attention; rayleizhu/BiFormer",
    example=Example({"height": 8, "width": 8, "regions": 4, "k": 2}, heads=2),
    graph=True,
)
def biformer(height: int, width: int, regions: int = 7, k: int = 4, channels: int | None = None) -> Graph:
    """An image is cut into regions x regions; the tokens of each see all tokens of the k regions that fit it best.

    Regions fit by the product of their means of q and of k, over all heads together, without a gradient; the own region
    is one as any other. A side that regions do not divide has a last one that is smaller. The convolution of v that the
    source adds is no part of it.

    height, width   of the image, in tokens
    regions         along each side
    k               regions that a region sees
    channels        the width of all heads together, whose root's inverse is the scale in the source; D ** -0.5 where it
                    is left out

    >>> import attnir as an, torch
    >>> attn = an.compile(an.catalog.build("biformer", height=14, width=14, regions=7, k=4, channels=64))
    >>> q = k = v = torch.randn(1, 2, 14 * 14, 32)
    >>> attn(q, k, v).shape
    torch.Size([1, 2, 196, 32])
    """
    whole(1, height=height, width=width, regions=regions, k=k)
    if channels is not None:
        whole(1, channels=channels)
    cut = _Regions(height, width, -(-height // regions), -(-width // regions))
    picks = selection("picks", "b")
    across = -(-width // cut.wide)
    image = grid(y=height, x=width)
    seen = mask(
        lambda q, k: picks(q.y // cut.high * across + q.x // cut.wide, k.y // cut.high * across + k.x // cut.wide) > 0,
        grid=image,
    )
    best = route.topk_keys(k=k, heads="all")

    def stages(q: Any, k: Any, v: Any) -> Any:
        of_q, of_k = (epilogue(cut, x, gives=Tokens("region")) for x in (q, k))
        scale = None if channels is None else channels**-0.5
        return attend(seen, q, k, v, picks=choose(best, of_q, of_k), scale=scale)

    return graph(stages)


@dataclass(frozen=True, slots=True)
class _Regions:
    """The means of the regions of an image, `high` x `wide` tokens each."""

    height: int
    width: int
    high: int
    wide: int

    def __call__(self, x: Tensor) -> Tensor:
        """x [B, H, height * width, D]: [B, H, regions, D], in float32."""
        if x.shape[2] != self.height * self.width:
            raise ShapeError(f"the image has {self.height} x {self.width} tokens, not {x.shape[2]}")
        x = x.detach().float().unflatten(2, (self.height, self.width))
        rows, columns = -(-self.height // self.high), -(-self.width // self.wide)
        more = (0, 0, 0, columns * self.wide - self.width, 0, rows * self.high - self.height)
        padded = torch.nn.functional.pad(x, more).unflatten(3, (columns, self.wide)).unflatten(2, (rows, self.high))
        counts = [
            torch.tensor([min(size, length - at) for at in range(0, length, size)], device=x.device)
            for length, size in ((self.height, self.high), (self.width, self.wide))
        ]
        total: Tensor = padded.sum((3, 5))
        return (total / (counts[0][:, None] * counts[1])[..., None]).flatten(2, 3)


@entry(
    "vmoba",
    source="VMoBA: Mixture-of-Block Attention for Video Diffusion Models; KwaiVGI/VMoBA",
    example=Example({"frames": 2, "height": 4, "width": 8, "chunk": (2, 2, 4), "k": 2}, heads=2),
    graph=True,
)
def vmoba(
    frames: int,
    height: int,
    width: int,
    chunk: tuple[int, int, int],
    k: int = 3,
    scope: str = "row",
    tau: float | None = None,
) -> Graph:
    """A query of a video sees its own chunk and those whose mean keys fit it best; chunks are boxes. Not causal.

    The gate is the query times the mean of a chunk's keys, in float32, without a gradient. Layers take chunks of one,
    two and three dimensions by turns: whole frames, columns of all frames, boxes. Tokens are put in the order of chunks
    for it, and back.

    frames, height, width   of the video, in tokens
    chunk                   tokens of a chunk along each of these axes, which they divide
    k                       chunks that a query sees, its own one included; on average, where the scope is wider
    scope                   what competes: the chunks of a query, in a "row"; of all queries of a "head"; or "overall"
    tau                     in the place of k: the fewest chunks, at least one beside the own, with this share of all
                            gates, which count from the smallest to the largest of the scope

    >>> import attnir as an
    >>> print(an.catalog.build("vmoba", frames=4, height=8, width=8, chunk=(2, 4, 4)))  # doctest: +ELLIPSIS
    q  ...
    """
    whole(1, frames=frames, height=height, width=width, k=k)
    sizes = frames, height, width
    if not isinstance(chunk, tuple) or len(chunk) != 3:
        raise DeclarationError(f"chunk is a tuple with one value for each of frames, height, width, not {chunk!r}")
    whole(1, **dict(zip(("chunk of frames", "chunk of height", "chunk of width"), chunk, strict=True)))
    for size, part in zip(sizes, chunk, strict=True):
        if size % part:
            raise DeclarationError(
                f"chunks of {chunk} tokens do not fill a video of {sizes}: {part} does not divide {size}"
            )
    into, back = _Boxes(sizes, chunk, back=False), _Boxes(sizes, chunk, back=True)
    best = route.blocks(
        route.topk(k) if tau is None else route.portion(tau),
        block=chunk[0] * chunk[1] * chunk[2],
        query_block=1,
        forced=[route.own()],
        counted=True,
        name="chunks",
        scope=scope,
    )

    def stages(q: Any, k: Any, v: Any) -> Any:
        return epilogue(back, attend(full(), *(epilogue(into, x) for x in (q, k, v)), route=best))

    return graph(stages)


@dataclass(frozen=True, slots=True)
class _Boxes:
    """Tokens of a video in the order of its boxes, or `back` in their own."""

    sizes: tuple[int, int, int]
    box: tuple[int, int, int]
    back: bool

    def __call__(self, x: Tensor) -> Tensor:
        """x [B, H, S, D]: the same, in the other order."""
        counts = [size // part for size, part in zip(self.sizes, self.box, strict=True)]
        if x.shape[2] != self.sizes[0] * self.sizes[1] * self.sizes[2]:
            raise ShapeError(f"the video has {' x '.join(map(str, self.sizes))} tokens, not {x.shape[2]}")
        if self.back:
            sizes, order = [*counts, *self.box], (0, 1, 2, 5, 3, 6, 4, 7, 8)
        else:
            sizes = [n for pair in zip(counts, self.box, strict=True) for n in pair]
            order = (0, 1, 2, 4, 6, 3, 5, 7, 8)
        moved: Tensor = x.unflatten(2, sizes).permute(order).flatten(2, 7)
        return moved
