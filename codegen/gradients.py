"""What a backward is asked for, and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which gradients are asked for: that of q, those of k and v, those of real tensors by name."""

    q: bool = True
    kv: bool = True
    reals: tuple[str, ...] = ()


EVERYTHING = Wanted()  # but for real tensors


@dataclass(frozen=True, slots=True, eq=False)
class Gradients:
    """Gradients, contiguous, shaped and typed as what they are of; those that are not asked for may be missing."""

    q: Tensor | None
    k: Tensor | None
    v: Tensor | None
    reals: Mapping[str, Tensor] = field(default_factory=dict)
