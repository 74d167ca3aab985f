"""Kept block lists: those that depend on sizes and parameters alone, and no others."""

from __future__ import annotations

import pytest
import torch

import attnir as an
from attnir.testing import Case
from attnir.testing.judge import judge, run


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_tensors_over_samples_make_lists_of_their_own(backend: str) -> None:
    """A pattern that is listed, called with other values of a tensor over samples each time."""
    n = an.tensor("n", "b")
    attention = an.compile(an.mask(lambda q, k, b: (q * k) % 70 < n[b]), backend=backend)
    for value in (70, 1, 30):
        case = Case(attention.pattern, q_len=80, heads=1, d=16, bindings={"n": torch.tensor([value])})
        judge(run(attention, case), case)
