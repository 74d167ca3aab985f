"""Testing patterns: random patterns and calls, what is checked of each, and the assertion for tests of your own.

>>> import attnir as an
>>> from hypothesis import given, settings
>>> from attnir.testing import cases, check
>>> mine = an.causal() & (an.window(64) | an.mask(lambda q, k: k % 16 == 0))
>>> @settings(max_examples=5, deadline=None)
... @given(cases(mine))
... def test_my_pattern(case):
...     check(case)                # every property, on the torch target; check(case, "triton") for the kernels
>>> test_my_pattern()

`cases()` draws the pattern as well; `masks` and `patterns()` draw patterns alone, to be composed with your own.
"""

from attnir.testing.assertions import check
from attnir.testing.case import Case
from attnir.testing.cases import cases
from attnir.testing.entries import entries
from attnir.testing.executor import Executor
from attnir.testing.judge import judge
from attnir.testing.patterns import masks, patterns
from attnir.testing.properties import PROPERTIES, Property
from attnir.testing.values import Drawn, Runs, Values

__all__ = [
    "PROPERTIES",
    "Case",
    "Drawn",
    "Executor",
    "Property",
    "Runs",
    "Values",
    "cases",
    "check",
    "entries",
    "judge",
    "masks",
    "patterns",
]
