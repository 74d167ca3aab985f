"""What tests assert: the numbers of a case on a backend, and that a declaration is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

import attnir as an
from attnir.errors import AttnirError
from attnir.testing.case import Case
from attnir.testing.judge import judge, run


def check(
    backend: str, case: Case, device: str = "cpu", config: Mapping[str, an.Config] | None = None
) -> dict[str, float]:
    """Run a case on a backend and judge it."""
    return judge(run(an.compile(case.pattern, backend=backend, config=config), case, device), case)


def refused(kind: type[AttnirError], words: str, declare: Callable[[], object]) -> None:
    """Assert that a declaration is an error of exactly this kind, which says these words."""
    with pytest.raises(AttnirError) as caught:
        declare()
    assert type(caught.value) is kind
    assert words in str(caught.value)
