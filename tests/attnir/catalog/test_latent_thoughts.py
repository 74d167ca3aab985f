"""Latent thoughts and iterations, against their definitions."""

from __future__ import annotations

import pytest
import torch

import attnir as an
from tests.attnir.catalog.checks import brute, matrix, rows


def test_ladir_is_the_literal_matrices() -> None:
    thought, pad = torch.tensor([0, 0, 1, 1, 0, 2, 2, 0]), torch.zeros(8, dtype=torch.int64)
    everyone = "10000000/11000000/11110110/11110110/11111000/11111110/11111110/11111111"
    blocks = "10000000/11000000/11110000/11110000/11111000/11111110/11111110/11111111"
    assert rows(an.catalog.build("ladir"), 8, thought=thought, pad=pad) == everyone
    assert rows(an.catalog.build("ladir", same_thought_block=True), 8, thought=thought, pad=pad) == blocks


@pytest.mark.parametrize("same_thought_block", [False, True])
@pytest.mark.parametrize("text", ["t", "A", "ttAAAttBBtCC", "AtA.Bt.AB", "AAABBB", "..AA"])
def test_ladir_is_its_definition(text: str, same_thought_block: bool) -> None:
    """`t` text, `.` padding, letters the thoughts of a block."""
    number = {"t": 0, ".": 0, "A": 1, "B": 2, "C": 7}

    def allow(i: int, j: int) -> bool:
        thoughts = text[i] in "ABC" and text[j] in "ABC"
        if same_thought_block:
            thoughts = thoughts and text[i] == text[j]
        return (j <= i or thoughts) and text[j] != "."

    found = matrix(
        an.catalog.build("ladir", same_thought_block=same_thought_block),
        len(text),
        thought=torch.tensor([number[t] for t in text]),
        pad=torch.tensor([int(t == ".") for t in text]),
    )
    assert found[0, 0].equal(brute(allow, len(text)))


def duo_causal(slots: list[tuple[int, int]], pads: set[int]) -> dict[str, torch.Tensor]:
    return {
        "position": torch.tensor([p for p, _ in slots]),
        "iteration": torch.tensor([t for _, t in slots]),
        "pad": torch.tensor([int(i in pads) for i in range(len(slots))]),
    }


def test_duo_causal_is_the_literal_matrix() -> None:
    slots = [(0, 0), (1, 0), (2, 0), (0, 1), (2, 1)]
    found = rows(an.catalog.build("duo-causal"), 5, **duo_causal(slots, set()))
    assert found == "10000/11000/11100/10010/11111"


@pytest.mark.parametrize("pads", [set(), {1, 4}])
@pytest.mark.parametrize(
    "slots",
    [
        [(0, 0)],
        [(p, t) for t in range(3) for p in range(7)],
        [(p, t) for p in range(7) for t in range(3)],
        [(5, 0), (2, 2), (2, 0), (9, 1), (0, 0), (9, 0), (2, 1)],
    ],
)
def test_duo_causal_is_its_definition(slots: list[tuple[int, int]], pads: set[int]) -> None:
    def allow(i: int, j: int) -> bool:
        (pq, tq), (pk, tk) = slots[i], slots[j]
        return pk <= pq and tk <= tq and j not in pads

    found = matrix(an.catalog.build("duo-causal"), len(slots), **duo_causal(slots, pads))[0, 0]
    assert found.equal(brute(allow, len(slots)))
