"""The regions of a space in one call: names, first positions, sizes, and their tokens as images.

A region of two axes is one image; of more, one image for each coordinate along the axes before the last two; of one
axis, and tokens without a space, a strip.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from attnir.signature import value_of
from attnir.space import Space


@dataclass(frozen=True, slots=True)
class Grid:
    """A region of a space in one call: its name, its first position, and its axes' names and sizes."""

    name: str
    start: int
    axes: tuple[str, ...]
    sizes: tuple[int, ...]

    @property
    def length(self) -> int:
        return math.prod(self.sizes)

    def images(self) -> list[tuple[str, Tensor]]:
        """The positions of its tokens, [height, width], for each coordinate along the axes before the last two."""
        height, width = (1, *self.sizes)[-2:]
        positions = (self.start + torch.arange(self.length, device="cpu")).view(-1, height, width)
        outer = [range(n) for n in self.sizes[:-2]]
        titles = [
            ", ".join(f"{a} = {i}" for a, i in zip(self.axes, at, strict=False)) for at in itertools.product(*outer)
        ]
        return list(zip(titles, positions, strict=True))


def grids_of(space: Space | None, params: Mapping[str, int], length: int) -> tuple[Grid, ...]:
    """The regions of a space; all tokens in a strip where there is none."""
    if space is None:
        return (Grid("", 0, (), (length,)),)
    found, start = [], 0
    for region in space.regions:
        sizes = tuple(value_of(a.size, params) for a in region.axes)
        found.append(Grid(region.name, start, tuple(a.name for a in region.axes), sizes))
        start += found[-1].length
    return tuple(found)
