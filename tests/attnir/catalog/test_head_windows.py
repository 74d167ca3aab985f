"""Windows of images that differ between heads, against their definitions."""

from __future__ import annotations

import pytest

import attnir as an
from attnir.errors import DeclarationError
from tests.attnir.catalog.checks import brute, cells, kept, matrix


@pytest.mark.parametrize(
    ("height", "width", "heads", "alpha", "window", "low"),
    [(4, 4, 4, 0.5, 2, 2), (6, 3, 3, 0.5, 3, 1), (4, 6, 2, 0.0, 2, 0), (4, 4, 2, 1.0, 2, 2), (2, 2, 5, 0.9, 2, 4)],
)
def test_hilo_is_its_definition(height: int, width: int, heads: int, alpha: float, window: int, low: int) -> None:
    tokens = cells(height, width)
    n, pooled = len(tokens), len(tokens) // window**2

    def high_frequency(i: int, j: int) -> bool:
        if j >= n:
            return False
        corners = [(y - y % window, x - x % window) for y, x in (tokens[i], tokens[j])]
        return corners[0] == corners[1]

    found = an.catalog.build("hilo", height=height, width=width, heads=heads, alpha=alpha, window=window)
    dense = matrix(found, n, n + pooled, heads=heads)[0]
    for head in range(heads - low):
        assert dense[head].equal(brute(high_frequency, n, n + pooled))
    for head in range(heads - low, heads):
        assert dense[head].equal(brute(lambda i, j: j >= n, n, n + pooled))


def test_hilo_keeps_what_the_specification_says() -> None:
    n = 14 * 14
    high, low = matrix(an.catalog.build("hilo", height=14, width=14, heads=2), n, n + 49, heads=2)[0].sum((1, 2)) / n**2
    assert [round(100 * float(share), 2) for share in (high, low)] == [2.04, 25.0]
    assert round(50 * float(high + low), 1) == 13.5


def test_hilo_with_windows_of_one_is_plain_attention() -> None:
    assert matrix(an.catalog.build("hilo", height=3, width=4, heads=3, window=1), 12, heads=3).all()


def test_hilo_needs_windows_and_shares_that_fit() -> None:
    for wrong in ({"window": 3}, {"window": 0}, {"heads": 0}, {"alpha": 1.5}, {"alpha": -0.1}):
        with pytest.raises(DeclarationError):
            an.catalog.build("hilo", **({"height": 4, "width": 4, "heads": 2} | wrong))


@pytest.mark.parametrize(("height", "width", "heads", "wide"), [(4, 6, 2, 2), (5, 5, 4, 2), (3, 4, 2, 1), (2, 7, 6, 7)])
def test_stripe_is_its_definition(height: int, width: int, heads: int, wide: int) -> None:
    tokens = cells(height, width)
    stripes = [range(start, start + wide) for start in range(0, 64, wide)]

    def allow(i: int, j: int, axis: int) -> bool:
        return any(tokens[i][axis] in s and tokens[j][axis] in s for s in stripes)

    found = an.catalog.build("stripe", height=height, width=width, heads=heads, stripe=wide)
    dense = matrix(found, len(tokens), heads=heads)[0]
    for head in range(heads):
        axis = 1 if head < heads // 2 else 0
        assert dense[head].equal(brute(lambda i, j, axis=axis: allow(i, j, axis), len(tokens)))


@pytest.mark.parametrize(("size", "wide", "percent"), [(56, 1, 1.8), (28, 2, 7.1), (14, 7, 50.0)])
def test_stripe_keeps_what_the_specification_says(size: int, wide: int, percent: float) -> None:
    found = an.catalog.build("stripe", height=size, width=size, heads=2, stripe=wide)
    assert kept(found, size * size) == pytest.approx(percent, abs=0.05)


def test_stripe_at_run_time() -> None:
    build = an.catalog.get("stripe").build
    found = build(an.param("height", low=1), 5, 2, an.param("stripe", low=1))
    assert matrix(found, 20, heads=2, height=4, stripe=2).equal(matrix(build(4, 5, 2, 2), 20, heads=2))


def test_stripe_needs_pairs_of_heads_and_a_width_that_fits() -> None:
    for wrong in ({"heads": 3}, {"heads": 0}, {"stripe": 0}, {"stripe": 7}):
        with pytest.raises(DeclarationError):
            an.catalog.build("stripe", **({"height": 4, "width": 6, "heads": 2, "stripe": 2} | wrong))
