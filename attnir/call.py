"""What a pattern is bound to in one call: sizes, the values of its fields and parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from attnir.ops import Side


@dataclass(frozen=True, slots=True, eq=False)
class FieldValues:
    """One field in one call: int32 or int64, queries [Bf, q_len] and keys [Bf, k_len], Bf is 1 or the batch."""

    queries: Tensor
    keys: Tensor

    def on(self, side: Side) -> Tensor:
        return self.queries if side is Side.QUERIES else self.keys


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """Sizes and bindings. Queries stand at positions `q_start`, `q_start + 1`, ...; keys at 0, 1, ..., `k_len - 1`."""

    batch: int
    heads: int  # query heads
    q_len: int
    k_len: int
    q_start: int
    fields: Mapping[str, FieldValues]
    params: Mapping[str, int]
    device: torch.device
    tensors: Mapping[str, Tensor] = field(default_factory=dict)  # int32 or int64, [B or 1, H or 1]
    reals: Mapping[str, Tensor] = field(default_factory=dict)  # real tensors, of any axes
    numbers: Mapping[str, float] = field(default_factory=dict)  # real parameters
    selections: Mapping[str, Tensor] = field(default_factory=dict)  # int32 [B or 1, H or 1, lists, places], not empty

    @property
    def sizes(self) -> dict[str, int]:
        return {"q_start": self.q_start, "q_len": self.q_len, "k_len": self.k_len}

    @property
    def lengths(self) -> dict[str, int]:
        """How long axes are that are named as tokens."""
        return {"b": self.batch, "h": self.heads, "q": self.q_len, "k": self.k_len}

    @property
    def fields_differ(self) -> bool:
        """Whether some field has values of its own for each sample."""
        return any(f.on(side).shape[0] > 1 for f in self.fields.values() for side in Side)

    def start(self, side: Side) -> int:
        """The first position of a side."""
        return self.q_start if side is Side.QUERIES else 0

    def length(self, side: Side) -> int:
        """The number of tokens of a side."""
        return self.q_len if side is Side.QUERIES else self.k_len

    def positions(self, side: Side) -> Tensor:
        """The positions of a side, int64 [length]."""
        return self.start(side) + torch.arange(self.length(side), device=self.device)
