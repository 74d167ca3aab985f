"""Chance as a pure function of integers: the same numbers give the same choice, whatever the tile, schedule or device.

A choice is made of global indices and a seed alone, so the backward pass makes it again and nothing is stored. A seed
that is a parameter draws anew in every call without compiling again.
"""

from __future__ import annotations

import operator
from functools import reduce

from attnir.catalog.sizes import whole
from attnir.value import Value, integer_argument

PRIME = 2**30 - 35  # a square of what is below it fits 60 bits; it is 2 modulo 3, so that cubing only permutes
FACTORS = (1, 663610937, 506832829, 350377163)  # multiples of them lie far apart modulo PRIME
ROUND_KEYS = (160481219, 824633702)  # any numbers would do


def scramble(position: Value, *others: int | Value) -> Value:
    """A number in [0, PRIME) that looks random, of a position and up to three more numbers.

    x is the sum of the numbers, each times its factor; then each round makes of it (x + the round's key) ** 3 % PRIME.
    Before the rounds, other numbers beside a position only shift it, by distances that are large and irregular: each
    seed, sample and head reads a stretch of its own of one long sequence.
    """
    x = Value(integer_argument(0))
    for number, factor in zip((position, *others), FACTORS, strict=False):
        x = x + number % PRIME * factor % PRIME
    for key in ROUND_KEYS:
        mixed = (x + key) % PRIME
        x = mixed * mixed % PRIME * mixed % PRIME
    return x


def picks(seed: int | Value, row: Value, count: int, low: int, high: int) -> list[Value]:
    """`count` different numbers of [low, high) for a row: a random one from each of as many equal parts."""
    whole(0, max(0, high - low), picks=count)
    ends = [low + (high - low) * n // max(1, count) for n in range(count + 1)]
    return [ends[n] + scramble(row * count + n, seed) % (ends[n + 1] - ends[n]) for n in range(count)]


def is_one_of(value: Value, numbers: list[Value]) -> Value | bool:
    """Whether a value is one of some numbers; False where there are none."""
    return reduce(operator.or_, (value == n for n in numbers)) if numbers else False
