"""Sizes that a mechanism takes: integers, or parameters whose range is known. What cannot be meant is refused."""

from __future__ import annotations

from attnir.bounds import bounds
from attnir.errors import DeclarationError
from attnir.trace import Value, fail, integer_argument


def within(low: int, high: int | None = None, **sizes: int | Value) -> None:
    """Raise DeclarationError unless every size lies in [low, high], a parameter with its whole range.

    >>> within(1, block=0)
    Traceback (most recent call last):
    ...
    attnir.errors.DeclarationError: `block` is an integer from 1, or a parameter with such a range, not 0
    ...
    """
    for name, size in sizes.items():
        found = bounds(integer_argument(size))
        if found.low < low or (high is not None and found.high > high):
            upto = "" if high is None else f" to {high}"
            fail(
                DeclarationError,
                f"`{name}` is an integer from {low}{upto}, or a parameter with such a range, not {size}",
            )


def whole(low: int, high: int | None = None, **counts: int) -> None:
    """Raise DeclarationError unless every count is known now, and lies in [low, high].

    >>> whole(1, blocks=4)
    """
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool):
            fail(DeclarationError, f"`{name}` shapes the pattern, so it is an integer that is known now, not {count!r}")
    within(low, high, **counts)
