"""Random catalog entries: the parameters of an entry's example, moved a little."""

from __future__ import annotations

from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

import attnir as an
from attnir.errors import DeclarationError


def _integer(n: int) -> st.SearchStrategy[int]:
    return st.integers(min(n, 0), max(3 * n, n + 3))


def _near(value: Any) -> st.SearchStrategy[Any]:
    """Values like the one of the example."""
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, int):
        return st.one_of(st.just(value), _integer(value))
    if isinstance(value, tuple):
        return st.tuples(*map(_near, value))
    if isinstance(value, an.Space):
        (region,) = value.regions
        sizes = {a.name: st.integers(1, a.size.const + 4) for a in region.axes}
        return st.fixed_dictionaries(sizes).map(lambda found: an.grid(**found))
    return st.just(value)


@st.composite
def entries(draw: st.DrawFn, only: str | None = None) -> tuple[str, an.Mask | an.Pattern]:
    """(name, pattern) of a catalog entry, of `only` that one, with parameters near those of its example."""
    entry = an.catalog.get(draw(st.sampled_from(an.catalog.names(graphs=False))) if only is None else only)
    params = {name: draw(_near(value)) for name, value in entry.example.params.items()}
    try:
        pattern = entry.build(**params)
    except DeclarationError:  # parameters that do not fit each other
        assume(False)
        raise
    return entry.name, pattern
