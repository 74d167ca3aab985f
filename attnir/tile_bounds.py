"""The bounds of a condition over many tiles at once, on the device: which tiles can be live, which can be dead."""

from __future__ import annotations

import operator
from collections.abc import Callable

import torch
from torch import Tensor

from attnir.bounder import Bounder, Leaf
from attnir.expr import Expr
from attnir.interval import INFINITE, Arithmetic


class Tensors(Arithmetic[Tensor]):
    """int64 tensors on one device, which broadcast; truths are bool tensors."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def number(self, value: int) -> Tensor:
        return torch.full((), value, device=self.device)  # filled there: nothing is copied, and nothing waits

    def least(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.minimum(a, b)

    def greatest(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.maximum(a, b)

    def choose(self, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return torch.where(condition, a, b)

    def sum(self, a: Tensor, b: Tensor) -> Tensor:
        return _saturated(operator.add, a, b)

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        return _saturated(operator.mul, a, b)


def _saturated(operation: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
    """The operation held within +-INFINITE, also where 64 bits would wrap around."""
    size = operation(a.double(), b.double())
    return torch.where(size.abs() < INFINITE, operation(a, b), torch.where(size > 0, INFINITE, -INFINITE))


def decide_tiles(e: Expr, leaf: Leaf[Tensor], device: torch.device) -> tuple[Tensor, Tensor]:
    """(can be true, can be false) of a condition in each tile, bool. Both True means: not proved."""
    return Bounder(Tensors(device), leaf).condition(e)
