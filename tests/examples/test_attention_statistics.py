"""The example runs, its statistics agree with the probabilities, and rollout of no attention is the identity."""

import importlib
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
SMALL = ["--folder", str(ROOT / "attnir"), "--steps", "2", "--length", "300"]


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch):
    """The example's files import each other as scripts do: from their own folder."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    return importlib.import_module("attention_statistics")


def test_it_runs(example, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    assert example.main([*SMALL, "--picture", str(tmp_path / "curves.png")]) == 0
    printed = capsys.readouterr().out
    assert "attention rollout" in printed and (tmp_path / "curves.png").stat().st_size > 0


def test_rollout(example):
    eye = torch.eye(4)[None, None]
    assert torch.equal(example.rollout([eye, eye])[0], torch.eye(4))
    first = torch.zeros(1, 1, 4, 4)
    first[..., 0] = 1.0  # everyone looks at the first token alone
    flow = example.rollout([first])[0]
    assert flow[3].tolist() == [0.5, 0.0, 0.0, 0.5]
