"""Which of the units that were scored are chosen, and which are listed whatever their score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from attnir.unit_scores import Units


@dataclass(frozen=True, slots=True)
class Beside:
    """What is forced and counted beside the candidates of each row.

    scores   of all units, those that are neither forced nor candidates -inf; where a choice does not weigh what is
             forced, of the candidates alone
    forced   which of them are forced and counted
    rows     how many rows choose together; of all rows, where each unit of keys chooses some, its share
    """

    scores: Tensor
    forced: Tensor
    rows: float = 1


class Choice(ABC):
    """Which of the scored units are chosen."""

    limit: int | None = None  # places of a list at most, where some are said
    leading: bool = False  # whether `kept` says the same of the largest scores alone, as many as are chosen at most

    @property
    def weighs_forced(self) -> bool:
        """Whether the scores of forced units, which may hold later keys, say how many others are chosen."""
        return False

    @abstractmethod
    def most(self, members: int) -> int:
        """How many are chosen at most, of so many."""

    @abstractmethod
    def kept(self, scores: Tensor, beside: Beside) -> Tensor:
        """Which of scores in descending order are chosen, beside those that are forced and counted."""


@dataclass(frozen=True, slots=True)
class TopK(Choice):
    """The k with the largest scores."""

    k: int
    leading = True

    def __str__(self) -> str:
        return f"the best {self.k}"

    def most(self, members: int) -> int:
        return min(self.k, members)

    def kept(self, scores: Tensor, beside: Beside) -> Tensor:
        left = self.k * beside.rows - beside.forced.sum(-1, keepdim=True)
        return torch.arange(scores.shape[-1], device=scores.device) < left


@dataclass(frozen=True, slots=True)
class Threshold(Choice):
    """All with a score of at least tau; of more than `limit` those with the largest scores."""

    tau: float
    limit: int | None = None
    leading = True

    def __str__(self) -> str:
        return f"those from {self.tau:g} on"

    def most(self, members: int) -> int:
        return members if self.limit is None else min(self.limit, members)

    def kept(self, scores: Tensor, beside: Beside) -> Tensor:
        return scores >= self.tau


@dataclass(frozen=True, slots=True)
class Mass(Choice):
    """The fewest, from the largest score on, that together have a share p of the softmax over all candidates."""

    p: float
    limit: int | None = None

    def __str__(self) -> str:
        return f"the fewest with {self.p:.0%} of the mass"

    def most(self, members: int) -> int:
        return members if self.limit is None else min(self.limit, members)

    def kept(self, scores: Tensor, beside: Beside) -> Tensor:
        if self.p >= 1.0:
            return scores > -torch.inf
        share = scores.double().softmax(-1)  # of many units, of which each has little, float32 loses some
        return share.cumsum(-1) - share < self.p


@dataclass(frozen=True, slots=True)
class Portion(Choice):
    """The fewest, one at least, that reach a share tau of all scores together with the forced ones.

    Scores count from the least of those that choose together, which is 0, to the largest, which is 1.
    """

    tau: float
    limit: int | None = None

    def __str__(self) -> str:
        return f"the fewest with {self.tau:.0%} of all scores"

    @property
    def weighs_forced(self) -> bool:
        return True

    def most(self, members: int) -> int:
        return members if self.limit is None else min(self.limit, members)

    def kept(self, scores: Tensor, beside: Beside) -> Tensor:
        if not beside.scores.shape[-1]:
            return scores > -torch.inf
        there = beside.scores > -torch.inf
        low = torch.where(there, beside.scores, torch.inf).amin(-1, keepdim=True)
        width = (beside.scores.amax(-1, keepdim=True) - low).clamp(min=torch.finfo(torch.float32).tiny)
        whole = torch.where(there, (beside.scores - low) / width, 0.0)
        total = whole.sum(-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
        remaining = (self.tau - torch.where(beside.forced, whole, 0.0).sum(-1, keepdim=True) / total).clamp(min=0)
        each = torch.where(scores > -torch.inf, (scores - low) / width, 0.0) / total
        before = each.cumsum(-1) - each
        return (before < remaining) | (torch.arange(scores.shape[-1], device=scores.device) == 0)


@dataclass(frozen=True, slots=True)
class Forced:
    """Units that are always listed: the own ones of a query unit, the first n, or those of `n` tokens before."""

    what: str
    n: int = 0

    def __str__(self) -> str:
        return {"own": "the own", "first": f"the first {self.n}"}.get(self.what, f"those of {self.n} tokens before")

    def range(self, units: Units, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """(first, last) for query units whose positions are from low to high."""
        if self.what == "first":
            return torch.zeros_like(low), torch.full_like(low, self.n - 1)
        return _quotient((low - self.reach).clamp(min=0), units.keys), _quotient(high, units.keys)

    @property
    def reach(self) -> int:
        """Tokens before a unit of queries."""
        return self.n if self.what == "window" else 0

    def most(self, queries: int, keys: int) -> int:
        """How many there are at most, of units of so many queries and keys."""
        if self.what == "first":
            return self.n
        tokens = queries + self.reach
        aligned = not self.reach and (queries % keys == 0 or keys % queries == 0)
        return max(1, tokens // keys) if aligned else (tokens + keys - 2) // keys + 1


def largest(scores: Tensor, places: int) -> tuple[Tensor, Tensor]:
    """The largest scores, float32 [..., units], in descending order, and their units; of equal ones the lower first.

    Neither a NaN may stand among them, nor more than 2 ** 31 units.
    """
    members = scores.shape[-1]
    if places >= members:
        order = scores.sort(stable=True, dim=-1, descending=True)
        return order.values, order.indices
    # A score's bits, negative ones turned round, are ordered as it is; below them the units, the last one lowest.
    bits = (scores + 0.0).view(torch.int32)  # of -0.0 and 0.0, which are equal, 0.0
    ordered = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long() << 32
    keys = ordered | torch.arange(members - 1, -1, -1, device=scores.device)
    units = members - 1 - (keys.topk(places, dim=-1).values & 0xFFFFFFFF)
    return scores.gather(-1, units), units


def _quotient(positions: Tensor, size: int) -> Tensor:
    """positions // size; that alone, of what counts up, torch.compile makes wrong on a CPU (torch 2.13)."""
    return (positions - positions % size) // size
