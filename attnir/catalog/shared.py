"""What entries share: the masks that most of them are tried with, and the numbers of examples."""

from __future__ import annotations

import torch

from attnir.masks import Mask, causal, full


def past_or_all(past: bool) -> Mask:
    """What a query sees: all up to its own position, or everything."""
    return causal() if past else full()


def some_numbers(*shape: int) -> torch.Tensor:
    """Normal numbers of an example, float32, the same every time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))
