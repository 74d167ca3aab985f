"""What entries share: the masks that most of them are tried with, and the numbers of examples."""

from __future__ import annotations

import torch

from attnir.errors import ShapeError
from attnir.masks import Mask, causal, full


def past_or_all(past: bool) -> Mask:
    """What a query sees: all up to its own position, or everything."""
    return causal() if past else full()


def check_same(q: torch.Tensor, k: torch.Tensor, q_start: int) -> None:
    """Raise ShapeError unless queries and keys are of the same tokens, all of them."""
    if q.shape[2] != k.shape[2] or q_start:
        given = f"{q.shape[2]} queries from position {q_start}, and {k.shape[2]} keys"
        raise ShapeError(f"q and k are of the same tokens, all of them; there are {given}")


def of_same_tokens(x: torch.Tensor, q: torch.Tensor, k: torch.Tensor, q_start: int) -> torch.Tensor:
    """x, where queries and keys are of the same tokens: what is of the ones is of the others."""
    check_same(q, k, q_start)
    return x


def some_numbers(*shape: int) -> torch.Tensor:
    """Normal numbers of an example, float32, the same every time."""
    return torch.randn(shape, dtype=torch.float32, generator=torch.Generator().manual_seed(0))
