"""Kept block lists: those that depend on sizes and parameters alone, and no others."""

from __future__ import annotations

import pytest
import torch

import attnir as an
from attnir.codegen import lists
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


def test_lists_are_kept_for_a_stream_and_not_for_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another stream makes may not be ready, and what a graph captures is the graph's."""
    attn = an.compile(an.mask(lambda q, k: (q // 64) * (k // 64) % 5 == 1))
    made: list[object] = []
    plain = lists.list_blocks
    monkeypatch.setattr(lists, "list_blocks", lambda program, call: made.append(program) or plain(program, call))
    x = torch.randn(1, 1, 700, 16)
    for stream, count in ((0, 1), (0, 1), (9, 2), (0, 2), (None, 3), (None, 4), (9, 4)):
        monkeypatch.setattr(lists, "_stream", lambda device, stream=stream: stream)
        attn(x, x, x)
        assert len(made) == count, stream
