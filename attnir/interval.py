"""Interval arithmetic: from the intervals of operands to one that holds every value of the operation.

The rules are written once, over what numbers can do. `Integers` serves one expression at a time; `tile_bounds.py` has
tensors, for many tiles at once. In both a truth is a number of the same kind: a bool, or a bool tensor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Generic, TypeVar

from torch import Tensor

N = TypeVar("N", int, Tensor)
INFINITE = 2**61  # stands for every value at least as large, so that the sum of two still fits 64 bits


@dataclass(frozen=True, slots=True)
class Interval(Generic[N]):
    """low <= value <= high, for an integer or elementwise for int64 tensors of them."""

    low: N
    high: N


UNKNOWN = Interval(-INFINITE, INFINITE)


class Arithmetic(ABC, Generic[N]):
    """What a kind of number can do, and the rules of intervals that follow from it."""

    @abstractmethod
    def number(self, value: int) -> N: ...

    @abstractmethod
    def least(self, a: N, b: N) -> N: ...

    @abstractmethod
    def greatest(self, a: N, b: N) -> N: ...

    @abstractmethod
    def choose(self, condition: N, a: N, b: N) -> N: ...

    @abstractmethod
    def sum(self, a: N, b: N) -> N:
        """a + b, held within +-INFINITE."""

    @abstractmethod
    def product(self, a: N, b: N) -> N:
        """a * b, held within +-INFINITE."""

    def point(self, value: int) -> Interval[N]:
        return Interval(self.number(value), self.number(value))

    def add(self, a: Interval[N], b: Interval[N]) -> Interval[N]:
        low, high = self.sum(a.low, b.low), self.sum(a.high, b.high)
        endless_low = (a.low <= -INFINITE) | (b.low <= -INFINITE)
        endless_high = (a.high >= INFINITE) | (b.high >= INFINITE)
        return Interval(
            self.choose(endless_low, self.number(-INFINITE), low),
            self.choose(endless_high, self.number(INFINITE), high),
        )

    def times(self, a: Interval[N], factor: int) -> Interval[N]:
        low, high = self.product(a.low, self.number(factor)), self.product(a.high, self.number(factor))
        return Interval(low, high) if factor >= 0 else Interval(high, low)

    def multiply(self, a: Interval[N], b: Interval[N]) -> Interval[N]:
        return self._corners(self.product, a, b)

    def square(self, a: Interval[N]) -> Interval[N]:
        found = self.multiply(a, a)
        return Interval(self.greatest(found.low, self.number(0)), found.high)

    def quotient(self, a: Interval[N], b: Interval[N]) -> Interval[N]:
        found, known = self._corners(lambda x, y: x // y, a, b), self._finite(a)
        return Interval(
            self.choose(known, found.low, self.number(-INFINITE)), self.choose(known, found.high, self.number(INFINITE))
        )

    def modulo(self, a: Interval[N], b: Interval[N]) -> Interval[N]:
        positive, zero = b.low > 0, self.number(0)
        below, above = self.add(b, self.point(1)), self.add(b, self.point(-1))
        low, high = self.choose(positive, zero, below.low), self.choose(positive, above.high, zero)
        # Inside one period of a known divisor the remainder moves with its argument.
        known = (b.low == b.high) & (a.low // b.low == a.high // b.low) & self._finite(a)
        return Interval(self.choose(known, a.low % b.low, low), self.choose(known, a.high % b.low, high))

    def absolute(self, a: Interval[N]) -> Interval[N]:
        low, high = abs(a.low), abs(a.high)
        crosses = (a.low <= 0) & (a.high >= 0)
        return Interval(self.choose(crosses, self.number(0), self.least(low, high)), self.greatest(low, high))

    def minimum(self, a: Interval[N], b: Interval[N]) -> Interval[N]:
        return Interval(self.least(a.low, b.low), self.least(a.high, b.high))

    def maximum(self, a: Interval[N], b: Interval[N]) -> Interval[N]:
        return Interval(self.greatest(a.low, b.low), self.greatest(a.high, b.high))

    def either(self, can: N, cannot: N, a: Interval[N], b: Interval[N]) -> Interval[N]:
        """a where a condition holds, b where it does not: `can` it hold, and can it not?"""
        low = self.choose(can, self.choose(cannot, self.least(a.low, b.low), a.low), b.low)
        return Interval(low, self.choose(can, self.choose(cannot, self.greatest(a.high, b.high), a.high), b.high))

    def _corners(self, f: Callable[[N, N], N], a: Interval[N], b: Interval[N]) -> Interval[N]:
        values = [f(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
        return Interval(reduce(self.least, values), reduce(self.greatest, values))

    def _finite(self, a: Interval[N]) -> N:
        """Whether no end of the interval stands for values beyond it."""
        return (a.low > -INFINITE) & (a.high < INFINITE)


class Integers(Arithmetic[int]):
    """Python's integers."""

    def number(self, value: int) -> int:
        return value

    def least(self, a: int, b: int) -> int:
        return min(a, b)

    def greatest(self, a: int, b: int) -> int:
        return max(a, b)

    def choose(self, condition: int, a: int, b: int) -> int:
        return a if condition else b

    def sum(self, a: int, b: int) -> int:
        return max(-INFINITE, min(INFINITE, a + b))

    def product(self, a: int, b: int) -> int:
        return max(-INFINITE, min(INFINITE, a * b))
