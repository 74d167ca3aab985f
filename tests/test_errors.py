"""Every error has an example that raises it and says what was given and what to do; the docs show the same ones."""

from __future__ import annotations

import pytest

from attnir import errors
from attnir.errors import AttnirError
from docs.error_examples import EXAMPLES, Example, kinds, message
from docs.tables import errors as page


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_every_error_has_an_example(kind: type[AttnirError]) -> None:
    assert [e for e in EXAMPLES if e.kind is kind], f"give {kind.__name__} an example in docs/error_examples.py"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.kind.__name__)
def test_an_example_raises_its_error_and_the_message_helps(example: Example) -> None:
    said = message(example)
    assert example.given in said and example.advice in said
    assert example.given != example.advice


def test_an_example_that_raises_another_error_is_found() -> None:
    with pytest.raises(AssertionError, match="HeadsError, not WidthError"):
        message(Example(errors.WidthError, "causal(torch.randn(1, 3, 8, 16), k, v)", "3", "n"))
    with pytest.raises(AssertionError, match="raises nothing"):
        message(Example(errors.WidthError, "causal(q, k, v)", "3", "n"))


def test_a_message_leads_to_the_line_of_the_user() -> None:
    (example,) = (e for e in EXAMPLES if e.kind is errors.DivisorError)
    assert message(example).endswith(f"at mine.py:1: {example.code}")


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_an_error_says_what_it_is(kind: type[AttnirError]) -> None:
    assert "__doc__" in vars(kind) and kind.__doc__ and kind.__doc__.endswith(".")


def test_the_page_shows_every_error_with_its_message() -> None:
    shown = page()
    assert [f"## {kind.__name__}" in shown for kind in kinds()] == [True] * len(kinds())
    assert all(message(example) in shown for example in EXAMPLES)
