"""Which configuration a kernel of a pattern gets: of the tiles that fit the target, those with the least work.

The resource model says what fits, best tiles first. Smaller tiles follow a pattern more closely, but bring their moving
operands in more often and keep fewer products in flight; `burden` is what a pair costs in them. The layout pass counts
the pairs that each tile shape visits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from attnir.arrange import Arrangement
from attnir.codegen.budgets import Extra, extra_of
from attnir.codegen.plan import CONFIGURED, Plan
from attnir.codegen.resources import choose, shortlist
from attnir.codegen.targets import Config, Target


@dataclass(frozen=True, slots=True)
class Choice:
    """A configuration, and those that it was compared with: (configuration, what it visits, its cost)."""

    config: Config
    compared: tuple[tuple[Config, int, float], ...] = ()


def tile_of(kind: str, config: Config) -> tuple[int, int]:
    """(row tokens, column tokens) of a kernel's tiles."""
    return (config.block_k, config.block_q) if kind == "dkv" else (config.block_q, config.block_k)


def arrangement_of(plan: Plan, kind: str, config: Config) -> Arrangement:
    """The layouts of a kernel that walks tile programs."""
    return plan.arrangement(tile_of(kind, config), transposed=kind == "dkv")


@lru_cache(maxsize=1024)
def configure(plan: Plan, kind: str, target: Target, d: int, dv: int, dtype: torch.dtype) -> Choice:
    """The configuration that the user fixed, or else the one with the least work of those that fit."""
    fixed = plan.config(kind)
    if fixed is not None or kind not in CONFIGURED:
        return Choice(fixed or choose(kind, target, d, dv, dtype))
    asked = Extra(block=plan.pattern.weights.landmarks or 0)
    compared, most = [], asked
    for config in shortlist(kind, target, d, dv, dtype, asked):
        arrangement = arrangement_of(plan, kind, config)
        extra = max(extra_of(programs) for programs in arrangement.taken.launches)
        most = max(most, extra)
        same_tile = [
            c for c in shortlist(kind, target, d, dv, dtype, extra) if tile_of(kind, c) == tile_of(kind, config)
        ]
        visited = arrangement.taken.visited
        compared += [(c, visited, visited * burden(tile_of(kind, c))) for c in same_tile]
    if not compared:
        return Choice(choose(kind, target, d, dv, dtype, most))
    best = min(compared, key=lambda c: c[2])
    return Choice(best[0], tuple(compared))


def burden(tile: tuple[int, int]) -> float:
    """The cost of a pair in tiles of (rows, columns), beside that in endless ones. Assumed, not measured.

    >>> round(burden((64, 64)) / burden((128, 128)), 2)
    1.23
    """
    rows, columns = tile
    return (1 + 24 / rows) * (1 + 8 / columns)
