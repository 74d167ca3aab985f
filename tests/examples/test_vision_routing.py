"""The example runs, draws where it looked, and looks where its attention does."""

import importlib
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    return importlib.import_module("vision_routing")


def test_it_runs(example, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "looked.png"
    assert example.main(["--steps", "2", "--batch", "2", "--side", "8", "--picture", str(picture)]) == 0
    printed = capsys.readouterr().out
    assert "routed" in printed and "12.5% of all pairs" in printed and picture.stat().st_size > 0


def test_lists_that_are_watched_are_those_that_attention_takes(example):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, 64, 32)
    watch = []
    assert torch.equal(example.routed(8, watch)(q, k, v), example.routed(8)(q, k, v))
    assert watch[0].shape == (2, 16, 2)


def test_images_have_all_kinds_and_are_the_same_for_a_seed(example):
    pixels, kind = example.images(64, 8, 3)
    assert pixels.shape == (64, 24, 24) and set(kind.tolist()) == {0, 1, 2, 3}
    assert torch.equal(pixels, example.images(64, 8, 3)[0])


def test_a_side_that_regions_do_not_divide_is_refused(example, capsys):
    with pytest.raises(SystemExit):
        example.main(["--side", "10"])
    assert "multiple of 4" in capsys.readouterr().err
