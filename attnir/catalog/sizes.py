"""Sizes that a mechanism takes: integers, or parameters whose range is known. What cannot be meant is refused."""

from __future__ import annotations

from attnir.bounds import bounds
from attnir.errors import DeclarationError
from attnir.value import Value, fail, integer_argument


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


def scale_of(channels: int | None) -> float | None:
    """The scale of scores where the width of all heads together is said: its root's inverse.

    >>> scale_of(64), scale_of(None)
    (0.125, None)
    """
    if channels is None:
        return None
    whole(1, channels=channels)
    return float(channels**-0.5)


def at_most(limit_name: str, limit: int | Value, **given: int | Value) -> None:
    """Raise DeclarationError where integers are known to be larger than another one."""
    for name, value in given.items():
        if isinstance(value, int) and isinstance(limit, int) and value > limit:
            fail(DeclarationError, f"{name} is at most {limit_name}, but {value} is more than {limit}")


def divides(part_name: str, part: int | Value, **given: int | Value) -> None:
    """Raise DeclarationError where integers are known to be no multiples of another one."""
    for name, value in given.items():
        if isinstance(value, int) and isinstance(part, int) and value % part:
            fail(DeclarationError, f"{name} is a multiple of {part_name}, but {value} is none of {part}")


def one_for_each(axes: str, **given: tuple[int, ...]) -> None:
    """Raise DeclarationError unless each is a tuple with a value for every axis, named as `"t, y, x"`."""
    for name, values in given.items():
        if not isinstance(values, tuple) or len(values) != len(axes.split(", ")):
            fail(DeclarationError, f"{name} is a tuple with one value for each of {axes}, not {values!r}")


def some(count: int | Value) -> bool:
    """Whether there are any: an optional region of 0 tokens is left out, one of a parameter's size is there."""
    within(0, count=count)
    return isinstance(count, Value) or count > 0
