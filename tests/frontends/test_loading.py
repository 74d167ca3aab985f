"""Patterns by name: what `module:name` may stand for, and every way in which it may not be there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import attnir as an
from attnir.errors import TextError
from attnir.frontends.arguments import attention_of
from attnir.frontends.loading import is_named, load

MODULE = """
import sys

import attnir as an

near = an.causal() & an.window(7)
doc = an.field("doc")
scored = an.pattern(near, score=an.score(lambda s: 0.5 * s))
compiled = an.compile(near, backend="reference")
number = 3

def made():
    return near

def of_width(w):
    return an.window(w)

def wrong():
    return 3

def failing():
    return an.mask(lambda q, k: q and k)

def leaving():
    sys.exit("no licence")

class Masks:
    inner = near
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with modules, the current one; what is imported from it is forgotten."""
    (tmp_path / "my_masks.py").write_text(MODULE)
    (tmp_path / "broken_masks.py").write_text("import attnir as an\n\nnear = 1 // 0\n")
    (tmp_path / "half_masks.py").write_text("near = (\n")
    (tmp_path / "hungry_masks.py").write_text("import no_such_package\n")
    (tmp_path / "mask_package").mkdir()
    (tmp_path / "mask_package" / "__init__.py").write_text("")
    (tmp_path / "mask_package" / "inner.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name in [n for n in sys.modules if "mask" in n and str(tmp_path) in str(sys.modules[n])]:
        del sys.modules[name]


NEAR = an.causal() & an.window(7)


@pytest.mark.parametrize("name", ["my_masks:near", "my_masks:made", "my_masks:Masks.inner", "mask_package.inner:near"])
def test_a_name_stands_for_its_pattern(name: str) -> None:
    assert is_named(name) and load(name) == NEAR
    assert attention_of(name) == an.compile(NEAR)


def test_scores_and_attentions_have_names_too() -> None:
    assert load("my_masks:scored") == an.pattern(NEAR, score=an.score(lambda s: 0.5 * s))
    assert attention_of("my_masks:compiled") == an.compile(NEAR, backend="reference")
    assert attention_of("my_masks:compiled", backend="torch") == an.compile(NEAR, backend="torch")


@pytest.mark.parametrize(
    "text",
    ["causal", "causal & window(8)", "(q - k) % 8 == 0", "q, k = grid(y=8, x=8); q.y == k.y", "a:b:c", "a:", ":b"],
)
def test_a_pattern_is_no_name(text: str) -> None:
    assert not is_named(text)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_masks:near", "there is no module 'no_such_masks' here"),
        ("mask_package.nothing:near", "there is no module 'mask_package.nothing' here"),
        ("my_masks:far", "has no 'far'; patterns in it: near, scored, compiled"),
        ("mask_package:near", "has no 'near'"),
        ("my_masks:number", "is of type int; expected a mask, a pattern, an attention, a graph, or a function"),
        ("my_masks:doc", "is of type Field; expected"),
        ("my_masks:an", "is a module; expected"),
        ("my_masks:wrong", "is of type int; expected"),
        ("my_masks:of_width", r"my_masks:of_width\(\) fails: TypeError: .*missing 1 required positional argument: 'w'"),
        ("my_masks:failing", r"my_masks:failing\(\) fails, .*my_masks.py:22: .*ControlFlowError"),
        ("my_masks:leaving", r"my_masks:leaving\(\) fails, .*my_masks.py:25: SystemExit: no licence"),
        ("broken_masks:near", "broken_masks fails, .*broken_masks.py:3: ZeroDivisionError"),
        ("half_masks:near", "half_masks fails: .*(?s:SyntaxError)"),
        ("hungry_masks:near", "the module hungry_masks imports 'no_such_package', which is not installed"),
    ],
)
def test_what_goes_wrong_is_said_in_words(name: str, words: str) -> None:
    with pytest.raises(TextError, match=f"(?s){words}") as caught:
        load(name)
    assert "Traceback" not in str(caught.value)


def test_a_line_is_shown_though_its_folder_begins_like_attnir_s(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(an, "__file__", str(here / "my" / "__init__.py"))  # beside my_plain.py
    (here / "my_plain.py").write_text("def failing():\n    raise ValueError('no')\n")
    with pytest.raises(TextError, match=r"my_plain\.py:2: ValueError: no"):
        load("my_plain:failing")
