"""Rounds of random cases: they end, whatever the limits are and however few cases there are."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

import attnir as an
from attnir.testing import Case, cases
from attnir.testing import engine as rounds
from attnir.testing.engine import EXAMPLES, Failure, Tally
from attnir.testing.fuzzing import Limits, fuzz

FEW = st.integers(1, 3).map(lambda n: Case(an.causal(), q_len=n))


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Case]:
    """The cases in their order; none of them is computed, and those with 3 queries fail."""
    found: list[Case] = []

    def first_failure(case: Case, *_: object) -> Failure | None:
        found.append(case)
        return Failure(case, "walks", "torch", "three", "AssertionError") if case.q_len == 3 else None

    monkeypatch.setattr(rounds, "first_failure", first_failure)
    monkeypatch.setattr(rounds.Coverage, "add", lambda self, case, tile: None)
    return found


@pytest.mark.parametrize("wanted", [1, 2, EXAMPLES, EXAMPLES + 1, EXAMPLES + 2])
def test_as_many_cases_are_checked_as_are_asked_for(wanted: int, tried: list[Case]) -> None:
    tally = fuzz(cases(an.causal()).filter(lambda c: c.q_len != 3), (), Limits(cases=wanted))
    assert tally.cases == len(tried) == wanted


def test_a_run_ends_where_there_are_no_more_cases(tried: list[Case]) -> None:
    tally = fuzz(FEW.filter(lambda c: c.q_len < 3), (), Limits(cases=1000))
    assert tally.cases == len(tried) == 2


def test_a_run_ends_where_there_is_no_case(tried: list[Case]) -> None:
    assert fuzz(FEW.filter(lambda c: False), (), Limits(cases=5)).cases == 0


def test_a_run_of_no_time_ends_at_once(tried: list[Case]) -> None:
    assert fuzz(FEW, (), Limits(seconds=0)).cases == 0


def test_the_same_seed_draws_the_same(tried: list[Case]) -> None:
    runs: list[Tally] = [fuzz(cases(an.causal()), (), Limits(cases=5, keep_going=True), seed) for seed in (3, 3, 4)]
    assert runs[0].seen == runs[1].seen != runs[2].seen


def test_a_failure_of_a_sort_is_told_once_and_the_run_goes_on(tried: list[Case]) -> None:
    told: list[Failure] = []
    strategy = st.integers(1, 200).map(lambda n: Case(an.causal(), q_len=3, seed=n))
    tally = fuzz(strategy, (), Limits(cases=8, keep_going=True, shrinking=0), found=told.append)
    assert tally.failures == told and len(told) == 1
    assert tally.cases == 8
