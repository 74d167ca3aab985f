"""The functions of the language: what lambdas call where Python's own `min`, `max` and `if` cannot be symbolic."""

from __future__ import annotations

from attnir import expr as ex
from attnir import real
from attnir.value import Value, condition, integer_argument, is_condition, is_real, number_argument


def where(condition_: object, a: object, b: object) -> Value:
    """`a` where the condition holds, else `b`: two integers, two conditions, or, in a score, two real numbers.

    >>> import attnir as an
    >>> print(an.mask(lambda q, k: k <= an.where(q < 4, 3, q)))
    k <= where(q < 4, 3, q)
    """
    if is_real(a) or is_real(b):
        return Value(real.where(condition(condition_), number_argument(a), number_argument(b)))
    take = condition if is_condition(a) and is_condition(b) else integer_argument
    return Value(ex.where(condition(condition_), take(a), take(b)))


def minimum(a: object, b: object) -> Value:
    """The smaller of two integers; for use inside a lambda."""
    return Value(ex.minimum(integer_argument(a), integer_argument(b)))


def maximum(a: object, b: object) -> Value:
    """The larger of two integers; for use inside a lambda."""
    return Value(ex.maximum(integer_argument(a), integer_argument(b)))


def log(count: object) -> Value:
    """The natural logarithm of an integer, 0 where it is below 1; for use inside a score."""
    return Value(real.log(integer_argument(count)))
