"""Regions of images and chunks of videos that are chosen: for a region, or for a query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnir import route
from attnir.catalog.registry import Example, entry
from attnir.catalog.sizes import scale_of, whole
from attnir.errors import DeclarationError, ShapeError
from attnir.facts import field, selection
from attnir.graph.edges import Facts, Tokens
from attnir.graph.graph import Graph
from attnir.graph.summaries import filled
from attnir.graph.tracing import attend, choose, epilogue, graph
from attnir.masks import full, mask


@entry(
    "biformer",
    source="BiFormer: Vision Transformer with Bi-Level Routing Attention; rayleizhu/BiFormer",
    example=Example({"height": 8, "width": 8, "regions": 4, "k": 2}, heads=2),
    graph=True,
)
def biformer(height: int, width: int, regions: int = 7, k: int = 4, channels: int | None = None) -> Graph:
    """An image is cut into regions x regions; the tokens of each see all tokens of the k regions that fit it best.

    Regions fit by the product of their means of q and of k, over all heads together, without a gradient; the own region
    is one as any other. A side that regions do not divide has a last one that is smaller, and may have fewer of them.
    Tokens are put in the order of regions for it, and back. The convolution of v that the source adds is no part of it.

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
    cut = _Regions(height, width, -(-height // regions), -(-width // regions))
    size, picks, there = cut.high * cut.wide, selection("picks", "b"), field("there")
    seen = mask(lambda q, k: picks(q // size, k // size) > 0)
    if not cut.is_whole:
        seen = seen & mask(lambda q, k: there(k) == 1)
    best = route.topk_keys(k=k, heads="all")

    def stages(q: Any, k: Any, v: Any) -> Any:
        bound = {} if cut.is_whole else {"there": epilogue(_There(cut), k, gives=Facts("k"))}
        q, k, v = (epilogue(_Into(cut), x) for x in (q, k, v))
        lists = choose(best, *(epilogue(_Means(cut), x, gives=Tokens("region")) for x in (q, k)))
        o = attend(seen, q, k, v, picks=lists, scale=scale_of(channels), **bound)
        return epilogue(_Back(cut), o)

    return graph(stages)


@dataclass(frozen=True, slots=True)
class _Regions:
    """An image in regions of `high` x `wide` tokens; those at its end may be smaller, and are filled up."""

    height: int
    width: int
    high: int
    wide: int

    @property
    def counts(self) -> tuple[int, int]:
        """Regions down and across."""
        return -(-self.height // self.high), -(-self.width // self.wide)

    @property
    def is_whole(self) -> bool:
        """Whether all regions have as many tokens."""
        return self.height % self.high == 0 and self.width % self.wide == 0

    def apart(self, x: Tensor) -> Tensor:
        """x [B, H, height * width, D]: [B, H, rows of regions, high, columns, wide, D], with 0 where no token is."""
        if x.shape[2] != self.height * self.width:
            raise ShapeError(f"the image has {self.height} x {self.width} tokens, not {x.shape[2]}")
        rows, columns = self.counts
        more = (0, 0, 0, columns * self.wide - self.width, 0, rows * self.high - self.height)
        whole = filled(x.unflatten(2, (self.height, self.width)), more)
        found: Tensor = whole.unflatten(3, (columns, self.wide)).unflatten(2, (rows, self.high))
        return found


@dataclass(frozen=True, slots=True)
class _Means:
    """The means of the regions of an image."""

    cut: _Regions

    def __call__(self, x: Tensor) -> Tensor:
        """x [B, H, places, D], region by region, 0 where no token is: [B, H, regions, D], in float32."""
        cut = self.cut
        ones = x.new_ones(1, 1, cut.height * cut.width, 1, dtype=torch.float32)
        total = x.detach().float().unflatten(2, (-1, cut.high * cut.wide)).sum(3)
        mean: Tensor = total / cut.apart(ones).sum((3, 5)).flatten(2, 3)
        return mean


@dataclass(frozen=True, slots=True)
class _There:
    """1 for each place of a region that has a token, else 0: facts."""

    cut: _Regions

    def __call__(self, k: Tensor) -> Tensor:
        ones = torch.ones(1, 1, k.shape[2], 1, device="cpu" if k.is_meta else k.device)
        return self.cut.apart(ones).transpose(3, 4).flatten().int()


@dataclass(frozen=True, slots=True)
class _Into:
    """Tokens region by region."""

    cut: _Regions

    def __call__(self, x: Tensor, q_start: int) -> Tensor:
        if q_start:
            raise ShapeError(f"an image is given as a whole, from position 0 on, not from {q_start}")
        return self.cut.apart(x).transpose(3, 4).flatten(2, 5)


@dataclass(frozen=True, slots=True)
class _Back:
    """Tokens row by row again."""

    cut: _Regions

    def __call__(self, x: Tensor) -> Tensor:
        (rows, columns), cut = self.cut.counts, self.cut
        apart = x.unflatten(2, (rows, columns, cut.high, cut.wide)).transpose(3, 4)
        found: Tensor = apart.flatten(4, 5).flatten(2, 3)[:, :, : cut.height, : cut.width].flatten(2, 3)
        return found


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
    scope                   what competes: the chunks of a query, in a "row"; the queries of a chunk, a "block"; both in
                            all of a "head"; or "overall"
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

    def __call__(self, x: Tensor, q_start: int) -> Tensor:
        """x [B, H, S, D]: the same, in the other order."""
        if q_start:
            raise ShapeError(f"a video is given as a whole, from position 0 on, not from {q_start}")
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
