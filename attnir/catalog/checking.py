"""What entries check of their parameters before they declare anything."""

from __future__ import annotations

from attnir.bounds import bounds
from attnir.errors import DeclarationError
from attnir.trace import Value, fail, integer_argument


def at_least(low: int, **given: int | Value) -> None:
    """Raise DeclarationError unless each is an integer from `low` on, or a parameter whose range begins there."""
    for name, value in given.items():
        number = integer_argument(value)
        if bounds(number).low < low:
            fail(DeclarationError, f"{name} is an integer or a parameter from {low} on, not {number}")


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
    at_least(0, count=count)
    return isinstance(count, Value) or count > 0
