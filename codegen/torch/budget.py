"""How much the torch target does in one step: tile sizes and bounds of its working memory. Measured, not derived."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Budget:
    """Bounds of one step."""

    heads: int  # query heads, over all samples, in one unit
    rows: int  # query rows of a panel, over the query heads that share a key head
    wide: int  # keys that all rows of a panel must see in full, for a product of their own to pay
    pairs: int  # scores held at once: 4 MiB in float32, which stays in a cache


CPU = Budget(heads=16, rows=512, wide=512, pairs=1 << 20)
OTHER = Budget(heads=256, rows=1024, wide=512, pairs=1 << 24)


def budget_on(device: torch.device) -> Budget:
    """The bounds for a device."""
    return CPU if device.type == "cpu" else OTHER


def default_tile(d: int, dv: int, dtype: torch.dtype, landmarks: int | None = None) -> tuple[int, int]:
    """(query rows, key columns) of the tiles that a schedule is best built with, for widths D and Dv.

    Small rows follow a narrow window closely, and panels make up for them on wide ranges. A column of tiles holds whole
    blocks that have landmarks.
    """
    return 64, max(64, landmarks or 0)
