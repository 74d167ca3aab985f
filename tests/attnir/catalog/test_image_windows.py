"""Windows of images, against their definitions."""

from __future__ import annotations

import pytest
import torch

import attnir as an
from attnir.errors import DeclarationError
from tests.attnir.catalog.checks import brute, cells, kept, matrix, written

HALO = "11100000/11100000/01111000/01111000/00011110/00011110/00000111/00000111"


def test_halo_along_each_axis_is_the_literal_matrix() -> None:
    found = matrix(an.catalog.build("halo", height=8, width=8, block=2, halo=1), 64)[0, 0]
    assert written(found[:8, :8]) == HALO
    assert written(found[::8, ::8]) == HALO


@pytest.mark.parametrize(
    ("height", "width", "block", "halo"), [(4, 6, 2, 1), (6, 3, 3, 2), (3, 4, 1, 1), (4, 4, 2, 0), (4, 8, 4, 9)]
)
def test_halo_is_its_definition(height: int, width: int, block: int, halo: int) -> None:
    tokens = cells(height, width)

    def beside(i: int, j: int) -> bool:
        mine = [c for c in range(64) if c // block == i // block]
        return min(abs(j - c) for c in mine) <= halo

    def allow(i: int, j: int) -> bool:
        return all(beside(a, b) for a, b in zip(tokens[i], tokens[j], strict=True))

    found = an.catalog.build("halo", height=height, width=width, block=block, halo=halo)
    assert matrix(found, len(tokens))[0, 0].equal(brute(allow, len(tokens)))


def test_halo_of_a_key_is_its_closed_form() -> None:
    block, halo, size = 4, 3, 16
    found = matrix(an.catalog.build("halo", height=size, width=size, block=block, halo=halo), size * size)[0, 0]
    for key in range(size):
        first, last = max(-((block + halo - 1 - key) // block), 0), min((key + halo) // block, size // block - 1)
        seen_by = {i // block for i in range(size) if found[i, key]}
        assert seen_by == set(range(first, last + 1))


def test_halo_keeps_what_the_specification_says() -> None:
    found = an.catalog.build("halo", height=56, width=56)
    assert kept(found, 56 * 56) == 5.51
    inside = matrix(found, 1, 56 * 56, q_start=28 * 56 + 28)
    assert round(100 * float(inside.sum()) / 56**2, 2) == 6.25


def test_halo_at_run_time() -> None:
    build = an.catalog.get("halo").build
    found = build(an.param("height", low=1), 6, an.param("block", low=1), an.param("halo", low=0, high=99))
    assert matrix(found, 36, height=6, block=3, halo=1).equal(matrix(build(6, 6, 3, 1), 36))


@pytest.mark.parametrize(("height", "width", "block", "halo"), [(4, 6, 2, 1), (6, 3, 3, 2), (4, 8, 4, 5)])
def test_a_border_of_zeros_is_an_image_padded_with_zeros(height: int, width: int, block: int, halo: int) -> None:
    """As the released code does it: for each block of queries a patch of the padded keys and values."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 1, height * width, 8) for _ in range(3))
    pad = [torch.nn.functional.pad(t.view(height, width, 8), (0, 0, halo, halo, halo, halo)) for t in (k, v)]
    pattern = an.catalog.build("halo", height=height, width=width, block=block, halo=halo, border="zero_key")
    o = an.compile(pattern)(q, *(t.reshape(1, 1, -1, 8) for t in pad)).view(height, width, 8)
    side = block + 2 * halo
    for y in range(0, height, block):
        for x in range(0, width, block):
            keys, values = (t[y : y + side, x : x + side].reshape(-1, 8) for t in pad)
            queries = q.view(height, width, 8)[y : y + block, x : x + block].reshape(-1, 8)
            expected = ((queries @ keys.T) * 8**-0.5).softmax(-1) @ values
            torch.testing.assert_close(o[y : y + block, x : x + block].reshape(-1, 8), expected)


def test_a_halo_needs_blocks_that_fit() -> None:
    for wrong in ({"block": 3}, {"block": 0}, {"halo": -1}, {"height": 0}, {"border": "wrap"}):
        with pytest.raises(DeclarationError):
            an.catalog.build("halo", **({"height": 4, "width": 4, "block": 2, "halo": 1} | wrong))


def test_swin_windows_are_the_literal_groups() -> None:
    found = matrix(an.catalog.build("swin", height=8, width=8, window=4, shift=2), 64)[0, 0]
    groups = torch.tensor([0, 0, 1, 1, 1, 1, 2, 2])
    assert found[:8, :8].equal(groups[:, None] == groups)
    assert found[::8, ::8].equal(groups[:, None] == groups)


@pytest.mark.parametrize(
    ("height", "width", "window", "shift"), [(8, 8, 4, 2), (6, 7, 3, 1), (5, 4, 4, 3), (4, 6, 2, 0), (3, 5, 1, 0)]
)
def test_swin_is_its_definition(height: int, width: int, window: int, shift: int) -> None:
    tokens = cells(height, width)
    edges = sorted({0, *range(shift, 64, window)})  # where windows begin

    def allow(i: int, j: int) -> bool:
        return all(
            sum(edge <= a for edge in edges) == sum(edge <= b for edge in edges)
            for a, b in zip(tokens[i], tokens[j], strict=True)
        )

    found = an.catalog.build("swin", height=height, width=width, window=window, shift=shift)
    assert matrix(found, len(tokens))[0, 0].equal(brute(allow, len(tokens)))


@pytest.mark.parametrize(("shift", "percent"), [(0, 1.56), (3, 1.38)])
def test_swin_keeps_what_the_specification_says(shift: int, percent: float) -> None:
    assert kept(an.catalog.build("swin", height=56, width=56, window=7, shift=shift), 56 * 56) == percent


def test_swin_at_run_time() -> None:
    build = an.catalog.get("swin").build
    found = build(6, 6, an.param("window", low=1), an.param("shift", low=0))
    assert matrix(found, 36, window=3, shift=2).equal(matrix(build(6, 6, 3, 2), 36))


def test_swin_needs_windows_that_fit() -> None:
    for wrong in ({"window": 5}, {"window": 0}, {"shift": 2}, {"shift": -1}):
        with pytest.raises(DeclarationError):
            an.catalog.build("swin", **({"height": 4, "width": 6, "window": 2, "shift": 1} | wrong))


@pytest.mark.parametrize(
    "sizes", [{"x": 5}, {"y": 3, "x": 4}, {"t": 2, "y": 3, "x": 4}, {"a": 2, "b": 1, "c": 3, "d": 2}]
)
def test_axial_is_its_definition(sizes: dict[str, int]) -> None:
    tokens = cells(*sizes.values())
    names = list(sizes)

    def differs(i: int, j: int) -> set[str]:
        return {n for n, a, b in zip(names, tokens[i], tokens[j], strict=True) if a != b}

    grid = an.grid(**sizes)
    for axis in names:
        one = matrix(an.catalog.build("axial", grid=grid, axes=axis), len(tokens))[0, 0]
        assert one.equal(brute(lambda i, j, axis=axis: differs(i, j) <= {axis}, len(tokens)))
    cross = matrix(an.catalog.build("axial", grid=grid, axes=tuple(names)), len(tokens))[0, 0]
    assert cross.equal(brute(lambda i, j: len(differs(i, j)) <= 1, len(tokens)))
    ends = (names[0], names[-1])
    some = matrix(an.catalog.build("axial", grid=grid, axes=ends), len(tokens))[0, 0]
    assert some.equal(brute(lambda i, j: any(differs(i, j) <= {end} for end in ends), len(tokens)))


@pytest.mark.parametrize("axis", ["y", "x"])
def test_axial_keeps_what_the_specification_says(axis: str) -> None:
    assert kept(an.catalog.build("axial", grid=an.grid(y=56, x=56), axes=axis), 56 * 56) == 1.79


def test_axial_needs_axes_of_its_grid() -> None:
    for wrong in ("z", (), ("y", "t")):
        with pytest.raises(DeclarationError):
            an.catalog.build("axial", grid=an.grid(y=2, x=2), axes=wrong)
