"""Integers for fields and tensors, said by a short recipe: what is drawn, what a call gets, what a script writes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LISTED = 24  # values that a script writes out, rather than as a recipe


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of equal values, [length]: `low + i // run`, modulo `modulus` where it is not 0."""

    length: int
    run: int
    low: int = 0
    modulus: int = 0

    def tensor(self) -> Tensor:
        i = torch.arange(self.length) // self.run
        return (i % self.modulus if self.modulus else i) + self.low

    def __str__(self) -> str:
        cycle = f" % {self.modulus}" if self.modulus else ""
        return f"torch.arange({self.length}) // {self.run}{cycle} + {self.low}"


@dataclass(frozen=True, slots=True)
class Drawn:
    """Random values from `low` to `high`, of a shape; ascending along the last axis where `sorted` says so."""

    shape: tuple[int, ...]
    low: int
    high: int
    seed: int
    sorted: bool = False

    def tensor(self) -> Tensor:
        found = torch.randint(self.low, self.high + 1, self.shape, generator=torch.Generator().manual_seed(self.seed))
        return found.sort(-1).values if self.sorted else found

    def __str__(self) -> str:
        drawn = f"torch.randint({self.low}, {self.high + 1}, {self.shape}, generator=torch.Generator().manual_seed"
        return f"{drawn}({self.seed}))" + (".sort(-1).values" if self.sorted else "")


@dataclass(frozen=True, slots=True)
class Normal:
    """Random real numbers of a shape, of mean 0 and a standard deviation of 1."""

    shape: tuple[int, ...]
    seed: int

    def tensor(self) -> Tensor:
        return torch.randn(self.shape, dtype=torch.float32, generator=torch.Generator().manual_seed(self.seed))

    def __str__(self) -> str:
        return f"torch.randn({self.shape}, generator=torch.Generator().manual_seed({self.seed}))"


@dataclass(frozen=True, slots=True)
class Values:
    """A recipe in a dtype."""

    recipe: Runs | Drawn | Normal
    dtype: torch.dtype = torch.int64

    def tensor(self) -> Tensor:
        return self.recipe.tensor().to(self.dtype)

    def __str__(self) -> str:
        found = self.tensor()
        if found.numel() <= LISTED and not found.is_floating_point():
            return written(found)
        own = torch.float32 if isinstance(self.recipe, Normal) else torch.int64
        return str(self.recipe) if self.dtype is own else f"({self.recipe}).to({self.dtype})"


def written(t: Tensor) -> str:
    """A tensor as Python.

    >>> written(torch.tensor([1, 2], dtype=torch.int32))
    'torch.tensor([1, 2], dtype=torch.int32)'
    """
    dtype = "" if t.dtype in (torch.int64, torch.bool) and t.numel() else f", dtype={t.dtype}"
    return f"torch.tensor({t.tolist()}{dtype})"


def resolved(value: object) -> object:
    """What a call binds, with a tensor for each recipe."""
    if isinstance(value, tuple):
        return tuple(map(resolved, value))
    return value.tensor() if isinstance(value, Values) else value


def moved(value: object, device: str | torch.device) -> object:
    """What a call binds, with its tensors on a device."""
    if isinstance(value, tuple):
        return tuple(moved(v, device) for v in value)
    return value.to(device) if isinstance(value, Tensor) else value
