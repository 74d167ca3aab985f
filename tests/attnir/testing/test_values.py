"""Recipes: what they draw, and what a script writes of them."""

from __future__ import annotations

import pytest
import torch

from attnir.testing.values import Drawn, Runs, Values, resolved, written

RECIPES = [
    Runs(7, 3),
    Runs(300, 37, 2),
    Runs(300, 11, -2, 5),
    Drawn((40,), -3, 9, 5),
    Drawn((2, 40), -3, 9, 5, sorted=True),
    Drawn((1, 3), 0, 0, 1),
]


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.int64, torch.int16])
def test_a_recipe_is_what_its_text_says(recipe: Runs | Drawn, dtype: torch.dtype) -> None:
    values = Values(recipe, dtype)
    found = eval(str(values), {"torch": torch})
    assert found.dtype is dtype and torch.equal(found, values.tensor())


def test_runs_and_drawn_values() -> None:
    assert Runs(5, 2, 1).tensor().tolist() == [1, 1, 2, 2, 3]
    assert Runs(5, 1, 0, 2).tensor().tolist() == [0, 1, 0, 1, 0]
    drawn = Drawn((2, 50), -1, 3, 7, sorted=True).tensor()
    assert drawn.min() == -1 and drawn.max() == 3 and bool((drawn.diff(dim=-1) >= 0).all())


def test_bindings_are_resolved_in_pairs() -> None:
    pair = (Values(Runs(2, 1)), torch.ones(3))
    assert [t.tolist() for t in resolved(pair)] == [[0, 1], [1, 1, 1]]
    assert resolved(5) == 5


@pytest.mark.parametrize("t", [torch.tensor([True, False]), torch.tensor([[1, 2]]), torch.zeros(0, dtype=torch.int64)])
def test_written_tensors_read_back_with_their_dtype(t: torch.Tensor) -> None:
    found = eval(written(t), {"torch": torch})
    assert found.dtype is t.dtype and torch.equal(found, t)
