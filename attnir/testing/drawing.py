"""One of several: as often as it stands in the list.

Hypothesis's `one_of` takes what stands there twice once, and the parts of what is one of several itself for its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import strategies as st

T = TypeVar("T")


def one_of_these(found: Sequence[T]) -> st.SearchStrategy[T]:
    """One of some masks or lambdas, by its index: hypothesis describes what it samples from, which is long here."""
    return st.integers(0, len(found) - 1).map(lambda i: found[i])


def often(*found: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """What one of some strategies draws.

    >>> from hypothesis import find
    >>> find(often(st.just(1), st.just(1), st.just(2)), lambda n: n > 1)
    2
    """
    return st.integers(0, len(found) - 1).flatmap(lambda i: found[i])
