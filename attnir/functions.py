"""The functions of the language: what lambdas call where Python's own `min`, `max` and `if` cannot be symbolic."""

from __future__ import annotations

from attnir import expr as ex
from attnir import real
from attnir.errors import DeclarationError
from attnir.value import Value, condition, fail, integer_argument, is_condition, is_real, number_argument


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
    """The smaller of two integers, or, in a score, of two real numbers; for use inside a lambda."""
    if is_real(a) or is_real(b):
        return Value(real.minimum(number_argument(a), number_argument(b)))
    return Value(ex.minimum(integer_argument(a), integer_argument(b)))


def maximum(a: object, b: object) -> Value:
    """The larger of two integers, or, in a score, of two real numbers; for use inside a lambda."""
    if is_real(a) or is_real(b):
        return Value(real.maximum(number_argument(a), number_argument(b)))
    return Value(ex.maximum(integer_argument(a), integer_argument(b)))


def clip(value: object, low: object, high: object) -> Value:
    """`value` held within [low, high]: an integer, or, in a score, a real number.

    >>> import attnir as an
    >>> table = an.tensor("table", "h", "offset")       # learned: one number per head and clipped distance
    >>> an.score(lambda s, q, k, h: s + table[h, an.clip(q - k, 0, 127)])
    <Score table = tensor(h, offset, dtype=float); True; score = s + table[h, min(max(q - k, 0), 127)]>
    """
    return minimum(maximum(value, low), high)


def log(x: object) -> Value:
    """The natural logarithm, for use inside a score; that of an integer is 0 where it is below 1."""
    return Value(real.log(number_argument(x)))


def exp(x: object) -> Value:
    """e to the power of `x`; for use inside a score."""
    return Value(real.exp(number_argument(x)))


def tanh(x: object) -> Value:
    """The hyperbolic tangent; for use inside a score.

    >>> import attnir as an
    >>> an.score(lambda s: 30.0 * an.tanh(s / 30.0))
    <Score True; score = tanh(s / 30.0) * 30.0>
    """
    return Value(real.tanh(number_argument(x)))


def sigmoid(x: object) -> Value:
    """1 / (1 + exp(-x)); for use inside a score."""
    return Value(real.sigmoid(number_argument(x)))


def sqrt(x: object) -> Value:
    """The square root; for use inside a score."""
    return Value(real.sqrt(number_argument(x)))


def random(seed: object, *counters: object) -> Value:
    """A number from [0, 1), the same for the same integers; for use inside a score or a factor.

    seed       an integer, mostly a parameter
    counters   up to four integers: random(seed, b, h, q, k) differs from pair to pair, random(seed, k) from key to key

    It is a multiple of 2 ** -24, by Philox, and the same on every backend; see attnir/philox.py.

    >>> import attnir as an
    >>> seed = an.param("seed")
    >>> an.factor(lambda k: an.where(an.random(seed, k) < 0.5, 2.0, 0.0))
    <Factor seed = param(); True; factor = where(random(seed, k, 0, 0, 0) < 0.5, 2.0, 0.0)>
    """
    if len(counters) > real.COUNTERS:
        fail(DeclarationError, f"a random number has at most {real.COUNTERS} counters, not {len(counters)}")
    return Value(real.random(*map(integer_argument, (seed, *counters))))
