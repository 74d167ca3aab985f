"""What comes into a backward, what it is asked for, and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which gradients are asked for: that of q, those of k and v, those of real tensors by name."""

    q: bool = True
    kv: bool = True
    reals: tuple[str, ...] = ()


EVERYTHING = Wanted()  # but for real tensors


@dataclass(frozen=True, slots=True, eq=False)
class Incoming:
    """What comes into a backward.

    q, k, v, scale  what the forward was given
    o, lse          what it gave; lse is empty where weights have none
    do, dlse        the gradients of these; None: lse has none
    """

    q: Tensor
    k: Tensor
    v: Tensor
    o: Tensor
    lse: Tensor
    do: Tensor
    dlse: Tensor | None
    scale: float

    @property
    def device(self) -> torch.device:
        return self.q.device


@dataclass(frozen=True, slots=True, eq=False)
class Gradients:
    """Gradients, contiguous, shaped and typed as what they are of; those that are not asked for may be missing."""

    q: Tensor | None
    k: Tensor | None
    v: Tensor | None
    reals: Mapping[str, Tensor] = field(default_factory=dict)
