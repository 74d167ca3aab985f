"""Random masks over positions: the well-known pieces with random numbers, and what `&`, `|` and `~` make of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

import attnir as an
from attnir.testing import expressions as given
from attnir.testing.arranged import KV_LEN, neighborhoods
from attnir.testing.drawing import often, one_of_these

DOC, START, KIND = (an.field(d.name, sorted=d.sorted) for d in (given.DOC, given.START, given.KIND))
WIDTH, BLOCK, WIDE = (an.param(d.name, low=d.low, high=d.high) for d in (given.WIDTH, given.BLOCK, given.WIDE))
REACH = an.tensor("reach", "h")
PICKS, OWN = an.selection("picks"), an.selection("own", "b", "h")

near = often(st.integers(0, 12), st.integers(0, 12), st.integers(13, 90))  # distances
blocks = st.one_of(st.integers(1, 9), st.sampled_from([2, 4, 8, 16, 32]), st.sampled_from([16, 24, 32, 40]))


def _pieces(n: int, m: int, size: int) -> list[list[Callable[..., Any]]]:
    """The pieces by what they are made of, for two distances and a size."""
    bounds: list[Callable[..., Any]] = [
        lambda q, k: k <= q,
        lambda q, k: q >= 0,
        lambda q, k: (q - k <= n) & (k - q <= m),
        lambda q, k: (q - k <= n) & (k <= q),
        lambda q, k: (q - k <= WIDTH) & (k <= q),
        lambda q, k: abs(q - k) <= WIDTH + m,
        lambda q, k: k < n,
        lambda q, k: k >= n,
        lambda q, k: (k >= n) & (k < n + m),
        lambda q, k: 2 * k <= q + n,
        lambda q, k: (q - k) * (q - k) <= n * m,
        lambda q, k: abs(q + k - n) <= m,
        lambda q, k: 3 * k - 2 * q != n - m,
        lambda q, k: k <= n + m + q * (1 - BLOCK),
    ]
    classes: list[Callable[..., Any]] = [
        lambda q, k: (q - k) % size == 0,
        lambda q, k: ((q - k) % size == 0) & (k <= q) & (q - k < n),
        lambda q, k: ((k - q) % size == 0) & (k - q >= -n) & (k - q < m),
        lambda q, k: k % size == m % size,
        lambda q, k: q % size != n % size,
        lambda q, k: q // size == k // size,
        lambda q, k: k // size <= q // size,
        lambda q, k: k // BLOCK <= q // BLOCK,
        lambda q, k: (m - q) % 8 <= (k + n) % -4 + 5,
        lambda q, k: (m - q) // size <= (n - k) // size,
        lambda q, k: (2 * q + 3 * k + m) % 6 == n % 6,
        lambda q, k: (4 * q + size * k + m) % (2 * size) >= n % 5,
        lambda q, k: q % size + 2 * (k % 4) != m,
    ]
    pairwise: list[Callable[..., Any]] = [
        lambda q, k: (q // size + k // size) % 2 == 0,
        lambda q, k: (q * k) % size == 0,
        lambda q, k, h: (q * k + h) % (size + 1) <= m,
        lambda q, k, b: (q * k) % 7 <= b + 2,
        lambda q, k: (n - q) % size >= (m - k) % size,
        lambda q, k: q - k <= an.where(q * k % 3 == 0, n + m, m),
        lambda q, k, h: (q * k) % 17 < REACH[h],
    ]
    fields: list[Callable[..., Any]] = [
        lambda q, k: DOC(q) == DOC(k),
        lambda q, k: START(q) <= k,
        lambda q, k: k - START(q) < n,
        lambda q, k: (START(q) <= k) & (k - START(q) <= n),
        lambda q, k: abs(k - KIND(q)) <= m,
        lambda q, k: k < size * KIND(q),
        lambda q, k: (k <= q) & (q - k <= size * KIND(q)),
        lambda q, k, h: k - START(q) < n * (h + 1),
        lambda q, k, h: DOC(q) - DOC(k) == h,
        lambda q, k: (KIND(k) == 1) | (KIND(q) == 1),
        lambda q, k: KIND(k) > m % 4,
    ]
    copies: list[Callable[..., Any]] = [
        lambda q, k, h: q - k <= m * (h + 1),
        lambda q, k, h: (h % 2 == 0) | (q - k < n),
        lambda q, k, h: abs(q - k) <= REACH[h],
        lambda q, k, h: (k <= q) & (q - k <= REACH[h]),
        lambda q, k, h: k < REACH[h] + n,
        lambda q, k, b: k < n * (b + 1),
        lambda q, k, b: k < KV_LEN[b],
    ]
    return [bounds, bounds, classes, pairwise, fields, fields, copies, *(sort(n, m, size) for sort in TOLD)]


def _scattered(n: int, m: int, size: int) -> list[Callable[..., Any]]:
    """Blocks that no range and no class of tokens holds: their tiles are listed, once for calls of the same sizes."""
    side = (16, 40, 64)[size % 3]
    return [
        lambda q, k: (q // side) * (k // side) % 5 == m % 3,
        lambda q, k: (q // side + WIDTH) * (k // side) % 7 == n % 3,
        lambda q, k: ((q // side) * (k // side + BLOCK) % 3 == 1) & (k <= q),
        lambda q, k: ((q // side) * (q // side) - k // side + BLOCK) % 4 == 0,
    ]


def _wide(n: int, m: int, size: int) -> list[Callable[..., Any]]:
    """Sums that leave 32 bits."""
    return [
        lambda q, k: (2 * q + k + 3 * WIDE) % (2 * size + 1) <= size,
        lambda q, k: (q - k - 3 * WIDE) // 7 % 5 <= m % 5,
        lambda q, k: (k - q + 3 * WIDE) % 7 <= n % 7,
    ]


def _chosen(n: int, m: int, size: int) -> list[Callable[..., Any]]:
    """Members of lists."""
    place = 1 + m % 2  # a member that stands twice has its first place: only what comes after 0 tells it from the last
    return [
        lambda q, k: PICKS(q // size, k // size) > 0,
        lambda q, k: PICKS(q // size, k // size) > place,
        lambda q, k: (PICKS(q // 16, k // 16) > place) & (k <= q),
        lambda q, k: PICKS(q // size, k // (m + 1)) >= 1 + m % 3,
        lambda q, k: place < OWN(q, k // size),
        lambda q, k: (OWN(q // 32, k // 16) > 0) & (q - k <= n),
        lambda q, k: OWN(k // size, q // size) != 0,
        lambda q, k: (PICKS(q // size, k // size) > 0) & (PICKS(q // size, k // size) <= m),
        lambda q, k: PICKS(q // size, k // size) == m % 3,
        lambda q, k: PICKS(q % size, n - k) > 0,
        lambda q, k: PICKS(q // size, (k - n) // size) > 0,
        lambda q, k: OWN((q - n) // size, k - m) > place,
        lambda q, k: (k <= n) | (OWN(q // size, k // size) > 0),
        lambda q, k: PICKS(0, k) > 0,
    ]


def _labels(n: int, m: int, size: int) -> list[Callable[..., Any]]:
    """Equal labels, some of which no key has, others no query."""
    return [
        lambda q, k: KIND(q) == KIND(k),
        lambda q, k: (KIND(q) == KIND(k)) & (k <= q),
        lambda q, k: (KIND(q) == KIND(k)) & (abs(q - k) <= n),
        lambda q, k: (KIND(q) // 2 == KIND(k) // 2) & (k // size <= q // size),
        lambda q, k: (KIND(q) == KIND(k)) & (k >= m) | (KIND(q) == KIND(k)) & (k < START(q)),
    ]


TOLD = (*2 * [_labels], _wide, *4 * [_chosen], *2 * [_scattered])  # what the sizes or the values of a call decide


@st.composite
def pieces(draw: st.DrawFn) -> an.Mask:
    """One of the well-known pieces."""
    sorts = _pieces(draw(near), draw(near), draw(blocks))
    return an.mask(draw(one_of_these(draw(one_of_these(sorts)))))


@st.composite
def told(draw: st.DrawFn) -> an.Mask:
    """One piece alone, of those that the sizes or the values of a call decide."""
    sort = draw(one_of_these(TOLD))
    return an.mask(draw(one_of_these(sort(draw(near), draw(near), draw(blocks)))))


@st.composite
def thinned(draw: st.DrawFn) -> an.Mask:
    """A dilated window, or one on a grid, from which facts about tokens take some out: its tiles are not listed."""
    n, size = draw(st.integers(9, 90)), draw(st.integers(2, 9))
    windows: list[Callable[..., Any]] = [
        lambda q, k: ((q - k) % size == 0) & (k <= q) & (q - k < n),
        lambda q, k: ((q - k) % size == 0) & (abs(q - k) < n),
    ]
    facts: list[Callable[..., Any]] = [
        lambda q, k: KIND(k) < size,
        lambda q, k: KIND(q) - KIND(k) < 2,
        lambda q, k: DOC(q) == DOC(k),
        lambda q, k: START(k) <= q,
        lambda q, k, b: k < KV_LEN[b],
    ]
    window = draw(neighborhoods()) if draw(st.booleans()) else an.mask(draw(one_of_these(windows)))
    return window & an.mask(draw(one_of_these(facts)))


def _composed(masks: st.SearchStrategy[an.Mask]) -> st.SearchStrategy[an.Mask]:
    return st.one_of(
        st.builds(lambda a, b: a & b, masks, masks),
        st.builds(lambda a, b: a | b, masks, masks),
        st.builds(lambda a, b: a & ~b, masks, masks),
        st.builds(lambda a: ~a, masks),
    )


@st.composite
def by_head(draw: st.DrawFn) -> an.Mask:
    """Two masks, each for some of the heads."""
    first, then = draw(pieces()), draw(pieces())
    cut = draw(st.integers(1, 2))
    return an.per_head([(slice(0, cut), first), (slice(cut, draw(st.sampled_from([None, cut + 1]))), then)])


composed = st.recursive(pieces(), _composed, max_leaves=4)
positional = often(
    composed, composed, composed, given.predicates.map(an.Mask), by_head(), often(told(), told(), thinned())
)
