"""Chance as attnir/catalog/chance.py states it, in plain integers."""

from __future__ import annotations

PRIME = 1073741789


def scrambled(*numbers: int) -> int:
    """A sum of multiples, then two rounds of a key and a cube."""
    x = sum(n * f for n, f in zip(numbers, [1, 663610937, 506832829, 350377163], strict=False))
    for key in (160481219, 824633702):
        x = pow(x + key, 3, PRIME)
    return x


def drawn(seed: int, row: int, count: int, low: int, high: int) -> set[int]:
    """One number of each of `count` equal parts of [low, high)."""
    ends = [low + (high - low) * n // count for n in range(count + 1)] if count else []
    return {ends[n] + scrambled(row * count + n, seed) % (ends[n + 1] - ends[n]) for n in range(count)}
