"""Drawn cases: a call takes each of them, and everything that is to be drawn is drawn."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, find, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

import attnir as an
from attnir.testing import Case, cases, entries, patterns
from attnir.testing.cases import MOST_PAIRS, allowed
from attnir.testing.coverage import AXES, WAYS, Coverage
from attnir.testing.properties import SMALLEST

QUICK = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), database=None)


@settings(QUICK, max_examples=100)
@given(cases())
def test_a_call_takes_every_case(case: Case) -> None:
    assert allowed(case) and case.pairs <= MOST_PAIRS
    assert len(case.heads_of.k) == len(case.heads_of.v) == case.heads
    assert case.live.shape == (case.batch, case.heads, case.call.q_len, case.call.k_len)


@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")  # of random keys, whose text is long
@pytest.mark.parametrize("name", an.catalog.names(graphs=False))
def test_every_entry_of_the_catalog_has_cases(name: str) -> None:
    assert allowed(find(entries(name).flatmap(lambda found: cases(found[1])), lambda case: True, settings=QUICK))


def test_cases_keep_to_a_space_to_heads_and_to_conditions() -> None:
    """A run-time grid whose window has to fit it, and a mask for three heads."""
    width = an.param("width", low=1, high=20)
    line = an.neighborhood(an.grid(x=width), an.param("kernel", low=1, high=20))
    of_heads = an.per_head([(0, line), (slice(1, 3), line & an.causal())])

    @settings(QUICK, max_examples=60)
    @given(cases(of_heads))
    def holds(case: Case) -> None:
        assert case.heads == 3 and case.call.k_len == case.bound["width"] >= case.bound["kernel"]

    holds()


def test_the_compilers_tiles_are_kept_where_asked_for() -> None:
    with pytest.raises(NoSuchExample):
        find(cases(an.causal(), own_tiles=True), lambda case: case.tile is not None, settings=QUICK)


@pytest.mark.slow
def test_everything_is_covered_in_time() -> None:
    """Some hundred cases meet every axis of a call, every operation, every way to find live tiles.

    The rarest of them is in one case of 200, so 600 miss it by chance now and then; four times as many do not.
    """
    covered = Coverage()

    def add(data: st.DataObject) -> None:
        case = data.draw(cases())
        covered.add(case, case.tile or SMALLEST)

    for number in range(4):
        if any(covered.missed().values()):
            seed(number)(settings(QUICK, max_examples=600, derandomize=False)(given(st.data())(add)))()
    assert covered.missed() == {"nodes": [], "axes": [], "ways": []}
    assert set(covered.axes) <= set(AXES) and set(covered.ways) <= set(WAYS)


@settings(QUICK, max_examples=100)
@given(patterns())
def test_patterns_read_back(pattern: an.Pattern) -> None:
    assert an.pattern(an.parse(str(pattern))) == pattern
