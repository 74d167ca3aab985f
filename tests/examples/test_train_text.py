"""The example trains: its two loss curves agree, a wrong mask is noticed, and documents do not leak into each other."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).parents[2]
SMALL = ["--folder", str(ROOT / "attnir"), "--steps", "3", "--length", "1200", "--dtype", "float32"]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """The example's files import each other as scripts do: from their own folder."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    return importlib.import_module


@pytest.fixture
def text_model(load) -> ModuleType:
    return load("text_model")


def test_the_curves_agree(load, capsys):
    assert load("train_text").main(SMALL) == 0
    printed = capsys.readouterr().out
    assert "The loss curves agree" in printed
    assert "memory of a step" in printed


def test_one_key_more_in_the_window_is_noticed(load, text_model, monkeypatch, capsys):
    monkeypatch.setattr(
        text_model, "WINDOW", text_model.WINDOW + 1
    )  # of the dense mask; the pattern is declared already
    assert load("train_text").main(SMALL) == 1
    assert "The loss curves DISAGREE" in capsys.readouterr().out


def test_a_batch_is_packed_documents(load):
    text_data = load("text_data")
    texts = [b"one\ntwo\nthree\n", b"1\n2\n"]
    tokens, targets, start = text_data.pack(iter(texts * 2), 24)
    assert bytes(tokens.tolist()) == b"one\ntwo\nthree\n1\n2\none\ntw"
    assert start.tolist() == [0] * 14 + [14] * 4 + [18] * 6
    ends = [13, 17, 23]
    assert (targets == text_data.NO_TARGET).nonzero().flatten().tolist() == ends
    inside = [i for i in range(24) if i not in ends]
    assert targets[inside].tolist() == [tokens[i + 1].item() for i in inside]
    first, again = (next(text_data.batches(texts, 2, 24, seed=5)) for _ in range(2))
    assert torch.equal(first.tokens, again.tokens)


@pytest.mark.parametrize("way", ["by_tiles", "by_dense_mask"])
def test_documents_do_not_leak(text_model, way):
    torch.manual_seed(0)
    model = text_model.TextModel(getattr(text_model, way))
    sizes = (300, 400, 100)  # the second is longer than the window, so its sinks are far from its end
    tokens = torch.randint(256, (1, sum(sizes)))
    start = torch.repeat_interleave(torch.tensor([0, 300, 700], dtype=torch.int32), torch.tensor(sizes))[None]
    other = tokens.clone()
    other[:, 300:700] = torch.randint(256, (1, 400))
    with torch.no_grad():
        before, after = model(tokens, start), model(other, start)
        alone = model(tokens[:, 300:700], start[:, 300:700] - 300)
    changed = (before - after).abs().amax(-1)[0]
    assert changed[300:700].max() > 0.1
    assert changed[:300].max() == 0, "a document before the changed one reads it"
    assert changed[700:].max() == 0, "a document after the changed one reads it"
    torch.testing.assert_close(before[:, 300:700], alone, rtol=0, atol=2e-5)  # positions restart
