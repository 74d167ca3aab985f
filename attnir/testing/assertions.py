"""The assertion about a case: it has the properties that every case has."""

from __future__ import annotations

from attnir.errors import UnknownNameError
from attnir.testing.case import Case, DoesNotApply
from attnir.testing.executor import Executor
from attnir.testing.properties import PROPERTIES


def check(case: Case, backend: str = "torch", *names: str) -> None:
    """Assert that a case has every property, or those that are named, on a backend: "torch" or "triton".

    Triton kernels run on a GPU where there is one, else in Triton's interpreter. A law that says nothing of the case,
    such as one about positions of a pattern on a grid, passes.

    >>> import attnir as an
    >>> check(Case(an.causal(), q_len=20))
    >>> check(Case(an.causal(), q_len=20), "torch", "walks", "numbers")

    Raises AssertionError, which says what is wrong, and UnknownNameError for a property that is not there.
    """
    for name in names:
        if name not in PROPERTIES:
            raise UnknownNameError(f"there is no property {name!r}; there are {', '.join(PROPERTIES)}")
    on = Executor.of(backend)
    for name, p in PROPERTIES.items():
        if name in names or (not names and p.applies(case)):
            try:
                p.holds(case, on)
            except DoesNotApply:
                continue
            except AssertionError as error:
                raise AssertionError(f"`{name}` on {on}: {error}") from error
