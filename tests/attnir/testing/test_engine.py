"""The engine: what fails is found, shrunk, and told apart; runs end when they should, and can be repeated."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

import attnir as an
from attnir.testing import Case, Executor, Property, cases
from attnir.testing import engine as engine_module
from attnir.testing.engine import Failure, Tally, first_failure
from attnir.testing.fuzzing import Limits, fuzz
from attnir.testing.properties import PROPERTIES

TORCH = Executor.of("torch")
ON = (TORCH,)


@pytest.fixture
def properties(monkeypatch: pytest.MonkeyPatch) -> dict[str, Property]:
    """A table of properties of the test's own."""
    table: dict[str, Property] = {}
    monkeypatch.setattr(engine_module, "PROPERTIES", table)
    return table


def short(case: Case, on: Executor) -> None:
    assert case.call.q_len < 6, "too many queries"


def dividing(case: Case, on: Executor) -> None:
    assert 1 / (case.batch - 3) < 0


def put(
    table: dict[str, Property], name: str, check: Callable[[Case, Executor], object], level: str = "kernel"
) -> None:
    table[name] = Property(name, level, "", check)


def test_a_failure_is_shrunk_to_its_smallest_case(properties: dict[str, Property]) -> None:
    put(properties, "short", short)
    (failure,) = fuzz(cases(an.causal()), ON, Limits(cases=100), seed=1).failures
    assert (failure.name, failure.backend) == ("short", "torch") and failure.error.startswith("too many queries")
    smallest = Case(an.pattern(an.causal()), q_len=6, k_len=6, heads=1, d=16, tile=(16, 16))
    assert failure.case == smallest
    assert 'check(case, "torch", "short")' in failure.script and "q_len=6," in failure.script


def test_whatever_is_raised_is_a_failure(properties: dict[str, Property]) -> None:
    put(properties, "dividing", dividing)
    (failure,) = fuzz(cases(an.causal()), ON, Limits(cases=200), seed=0).failures
    assert failure.error.startswith("ZeroDivisionError") and failure.case.batch == 3


def test_so_is_what_is_raised_by_whether_a_property_applies(properties: dict[str, Property]) -> None:
    properties["odd"] = Property("odd", "kernel", "", dividing, largest=0, always=lambda case: bool(1 / 0))
    (failure,) = fuzz(cases(an.causal()), ON, Limits(cases=5, shrinking=1), seed=0).failures
    assert failure.name == "odd" and failure.error.startswith("ZeroDivisionError")


def test_shrinking_stays_with_the_failure_that_it_began_with(properties: dict[str, Property]) -> None:
    """Long cases fail in one way, all of them in another, which is checked later and would be found in smaller ones."""
    put(properties, "long", lambda case, on: short(case, on))
    put(properties, "dividing", dividing)
    failure = fuzz(cases(an.causal()), ON, Limits(cases=100), seed=1).failures[0]
    assert failure.name == "long" and failure.case.q_len == 6


def test_going_on_finds_others_and_keeps_one_of_each(properties: dict[str, Property]) -> None:
    put(properties, "short", short)
    put(properties, "dividing", dividing)
    tally = fuzz(cases(an.causal()), ON, Limits(cases=200, keep_going=True), seed=2)
    assert sorted(f.name for f in tally.failures) == ["dividing", "short"] and tally.cases == 200


def test_properties_of_kernels_are_checked_on_every_executor(properties: dict[str, Property]) -> None:
    seen: list[tuple[str, str]] = []
    put(properties, "a", lambda case, on: seen.append(("a", on.backend)), "analysis")
    put(properties, "b", lambda case, on: seen.append(("b", on.backend)))
    assert first_failure(Case(an.causal(), q_len=2), (TORCH, Executor("triton"))) is None
    assert seen == [("a", "torch"), ("b", "torch"), ("b", "triton")]


def test_an_executor_that_takes_its_share_rests(properties: dict[str, Property]) -> None:
    put(properties, "b", lambda case, on: None)
    tally = Tally()
    tally.seconds = {("b", "torch"): 1.0, ("b", "triton"): 1.1}
    first_failure(Case(an.causal(), q_len=2), (TORCH, Executor("triton")), tally)
    assert tally.checks == {("b", "torch"): 1}
    tally.seconds["b", "torch"] = 2.0
    first_failure(Case(an.causal(), q_len=2), (TORCH, Executor("triton")), tally)
    assert tally.checks == {("b", "torch"): 2, ("b", "triton"): 1}


def test_a_run_ends_in_time_and_counts(properties: dict[str, Property]) -> None:
    put(properties, "slow", lambda case, on: time.sleep(0.02))
    began = time.monotonic()
    tally = fuzz(cases(an.causal()), ON, Limits(seconds=1.0))
    assert 0 < tally.cases < 60 and tally.checks["slow", "torch"] == tally.cases
    assert time.monotonic() - began < 30


def test_the_same_seed_draws_the_same_and_no_case_twice(properties: dict[str, Property]) -> None:
    drawn: list[str] = []
    put(properties, "note", lambda case, on: drawn.append(str(case)))
    runs = []
    for seed in (3, 3, 3, 4):
        drawn.clear()
        fuzz(cases(an.window(an.param("w"))), ON, Limits(cases=40), seed)
        runs.append(tuple(drawn))
    assert runs[1] == runs[2] != runs[3]
    assert len(set(runs[1])) == len(runs[1]) == 40


def test_failures_alike_are_of_one_property_executor_and_exception() -> None:
    case = Case(an.causal(), q_len=2)
    one = Failure(case, "walks", "torch", "x", "AssertionError")
    assert one.like(Failure(case, "walks", "torch", "another", "AssertionError"))
    assert not one.like(Failure(case, "keys", "torch", "x", "AssertionError"))
    assert not one.like(Failure(case, "walks", "torch", "x", "ValueError"))


def test_every_property_says_what_it_is() -> None:
    assert all(
        name == p.name and p.says and p.level in ("language", "analysis", "kernel") for name, p in PROPERTIES.items()
    )
