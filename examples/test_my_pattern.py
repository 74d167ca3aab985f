"""A pattern of your own under test: properties on random calls, and what you know of it yourself.

pytest examples/test_my_pattern.py
"""

from __future__ import annotations

from hypothesis import given, settings

import attnir as an
from attnir.testing import Case, cases, check

KIND = an.field("kind")
SUMMARY = an.mask(lambda q, k: KIND(k) == 1)  # summary tokens, which every later token sees
MINE = an.causal() & (an.window(24) | SUMMARY)


@settings(max_examples=15, deadline=None)
@given(cases(MINE))
def test_it_is_what_it_says(case: Case) -> None:
    """Lengths, dtypes, layouts and values of the field are drawn; a failure is shrunk to its smallest."""
    check(case)


@settings(max_examples=10, deadline=None)
@given(cases(MINE))
def test_every_query_sees_itself(case: Case) -> None:
    """A property of one's own, on the same calls: here a query's key at its own position is live."""
    own = case.live.diagonal(case.call.q_start, -2, -1)  # of the queries that have a key there
    assert bool(own.all())
