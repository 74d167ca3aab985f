"""How a head width is split into the powers of two that matrix instructions take."""

from __future__ import annotations


def chunks(width: int, equal: int | None = None) -> tuple[int, ...]:
    """The powers of two, at least 16 and falling, that a head width is split into; the last may hold padding.

    equal is the width of all chunks, if they have to be alike.

    >>> chunks(192), chunks(80), chunks(72), chunks(5)
    ((128, 64), (64, 16), (64, 16), (16,))
    >>> chunks(80, 64)
    (64, 64)
    """
    if equal is not None:
        return (equal,) * -(-width // equal)
    rest, found = -(-width // 16) * 16, []
    while rest:
        found.append(1 << (rest.bit_length() - 1))
        rest -= found[-1]
    return tuple(found)


def equal_chunk(d: int, dv: int, itemsize: int, family: str) -> int | None:
    """The width that all chunks have where products are three of tf32: 16, 32 or 64. Other products need no such.

    How warps share a tile follows from one of its products. Chunks of several widths would find it following from the
    least fitting one.
    """
    if itemsize != 4 or family != "cuda":
        return None
    return min(64, max(16, 1 << (max(d, dv) - 1).bit_length()))
