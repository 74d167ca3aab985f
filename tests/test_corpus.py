"""The corpus: every failure that was once found stays away."""

from __future__ import annotations

from pathlib import Path

import pytest

from attnir.testing.corpus import replay, scripts_of

SCRIPTS = scripts_of(Path(__file__).parent / "corpus")


def test_there_is_a_corpus() -> None:
    assert SCRIPTS


@pytest.mark.parametrize("path", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_a_script_of_the_corpus_is_as_it_should_be(path: Path) -> None:
    assert replay(path).problem == ""
