"""Philox: random numbers that are a pure function of a key and a counter, on any device and in any order.

Parallel Random Numbers: As Easy as 1, 2, 3. A number of a pair takes little: Philox2x32-10 keeps two words. Its key is
drawn by Philox4x32-10, mostly once for all pairs of a head. Words of 32 bits are kept in int64, whose products of 32 by
32 bits are taken apart, since they do not fit its sign.
"""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 10
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57  # of four words
MULTIPLIER = 0xD256D193  # of two words
STEPS = 0x9E3779B9, 0xBB67AE85  # by which a key grows from round to round
WORD = 0xFFFFFFFF


def uniform(seed: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Numbers from [0, 1), multiples of 2 ** -24, float32, drawn by a seed and four counters, modulo 2 ** 32.

    >>> counters = [torch.tensor(i) for i in (0, 3, 17, 5)]
    >>> float(uniform(torch.tensor(42), *counters)) * 2**24
    7515384.0
    """
    zero = torch.zeros_like(a)
    key, _ = four_words(seed & WORD, (seed.long() >> 32) & WORD, a, b, zero, zero)[:2]
    return (two_words(key, c, d)[0] >> 8).float() * 2.0**-24


def two_words(key: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Philox2x32-10 of a word for a key and a counter of two: int64 below 2 ** 32."""
    key, a, b = (t.long() & WORD for t in (key, a, b))
    for _ in range(ROUNDS):
        high, low = _product(a, MULTIPLIER)
        a, b = high ^ b ^ key, low
        key = (key + STEPS[0]) & WORD
    return a, b


def four_words(low_key: Tensor, high_key: Tensor, *counter: Tensor) -> tuple[Tensor, ...]:
    """Philox4x32-10 of two words for a key and a counter of four."""
    keys = [low_key.long() & WORD, high_key.long() & WORD]
    a, b, c, d = (t.long() & WORD for t in counter)
    for _ in range(ROUNDS):
        (high_a, low_a), (high_c, low_c) = _product(a, MULTIPLIERS[0]), _product(c, MULTIPLIERS[1])
        a, b, c, d = high_c ^ b ^ keys[0], low_c, high_a ^ d ^ keys[1], low_a
        keys = [(k + step) & WORD for k, step in zip(keys, STEPS, strict=True)]
    return a, b, c, d


def _product(a: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """(high word, low word) of a product of two words."""
    low, high = (a & 0xFFFF) * factor, (a >> 16) * factor
    middle = high + (low >> 16)
    return middle >> 16, ((middle & 0xFFFF) << 16) | (low & 0xFFFF)
