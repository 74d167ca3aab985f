"""Verifying: a report says what was checked, and a pattern of which nothing can be checked does not pass."""

from __future__ import annotations

import pytest

import attnir as an
from attnir.errors import BackendError, VerificationError


def test_a_report_counts_what_was_checked() -> None:
    report = an.verify(an.causal() & an.window(3), cases=2)
    assert report.cases == report.checks["numbers"] == report.checks["keys"] == 2
    assert "verified      2 calls on torch on cpu, seed 0" in str(report)


@pytest.mark.parametrize("axes, cases", [((1000, 1000), 3), ((8, 8), 0)], ids=["too many pairs", "no case"])
def test_that_nothing_was_checked_is_an_error(axes: tuple[int, int], cases: int) -> None:
    pattern = an.neighborhood(an.grid(y=axes[0], x=axes[1]), (3, 3))
    with pytest.raises(VerificationError, match=f"nothing was checked: of {cases} calls"):
        an.verify(pattern, cases=cases)


def test_the_reference_is_not_verified() -> None:
    with pytest.raises(BackendError, match="against the reference"):
        an.verify(an.causal(), backend="reference")
