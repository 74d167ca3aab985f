"""How much the torch target does in one step: tile sizes and bounds of its working memory. Measured, not derived."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch

from attnir.listing import listing_of
from attnir.ops import Side
from attnir.scores import Pattern

TILE = 64  # small rows follow a narrow window closely, and panels make up for them on wide ranges
SMALLEST = 16  # units of tokens that are chosen, below which a tile holds several


@dataclass(frozen=True, slots=True)
class Budget:
    """Bounds of one step."""

    heads: int  # query heads, over all samples, in one unit
    rows: int  # query rows of a panel, over the query heads that share a key head
    wide: int  # keys that all rows of a panel must see in full, for a product of their own to pay
    pairs: int  # scores held at once: 4 MiB in float32, which stays in a cache
    alone: int  # pairs of a span, over the heads and samples that share it, from which a product of its own pays
    tile: int = TILE  # query rows, and key columns, of a tile


CPU = Budget(heads=16, rows=512, wide=512, pairs=1 << 20, alone=1 << 17)
OTHER = Budget(heads=256, rows=1024, wide=512, pairs=1 << 24, alone=1 << 21)
_LIMITED: ContextVar[Budget | None] = ContextVar("_LIMITED", default=None)


def budget_on(device: torch.device) -> Budget:
    """The bounds for a device."""
    return _LIMITED.get() or (CPU if device.type == "cpu" else OTHER)


@contextmanager
def limited(budget: Budget) -> Iterator[None]:
    """Calls within have other bounds, whatever their device: for those who try what small or large steps compute."""
    before = _LIMITED.set(budget)
    try:
        yield
    finally:
        _LIMITED.reset(before)


def default_tile(pattern: Pattern, tile: int = TILE) -> tuple[int, int]:
    """(query rows, key columns) of the tiles of a schedule: `tile`, or what units and landmarks ask for.

    A column of tiles holds whole blocks that have landmarks; tiles divide the units of tokens that are listed,
    where some tile does.

    >>> import attnir as an
    >>> default_tile(an.pattern(an.causal())), default_tile(an.pattern(an.route.topk_blocks(block=96, k=2).mask))
    ((64, 64), (48, 48))
    """
    rows = columns = tile
    listing = listing_of(pattern.predicate)
    if listing is not None:
        rows, columns = (_within(listing.unit(side), tile) for side in Side)
    landmarks = pattern.weights.landmarks
    return rows, columns if landmarks is None else max(tile, landmarks)


def _within(unit: int, tile: int) -> int:
    """A tile within a unit of tokens."""
    if unit < SMALLEST:
        return tile
    return next((n for n in range(min(unit, tile), SMALLEST - 1, -1) if unit % n == 0), tile)
