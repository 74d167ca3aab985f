"""Neighbourhoods, against their definitions."""

from __future__ import annotations

from itertools import product

import pytest

import attnir as an
from attnir.errors import DeclarationError
from tests.attnir.catalog.checks import brute, cells, kept, matrix, rows

LINES = [  # kernel, stride, dilation, causal, the matrix of 7 tokens
    (3, 1, 1, False, "1110000/1110000/0111000/0011100/0001110/0000111/0000111"),
    (3, 1, 2, False, "1010100/0101010/1010100/0101010/0010101/0101010/0010101"),
    (3, 2, 2, False, "1010100/0101010/1010100/0101010/0010101/0101010/0010101"),
    (3, 2, 1, False, "1110000/1110000/0011100/0011100/0000111/0000111/0000111"),
    (3, 3, 1, False, "1110000/1110000/1110000/0001110/0001110/0001110/0000111"),
    (4, 1, 1, False, "1111000/1111000/1111000/0111100/0011110/0001111/0001111"),
    (4, 2, 1, False, "1111000/1111000/0111100/0111100/0001111/0001111/0001111"),
    (3, 1, 1, True, "1000000/1100000/1110000/0111000/0011100/0001110/0000111"),
    (3, 2, 1, True, "1000000/1100000/0110000/0111000/0001100/0001110/0000111"),
    (3, 1, 2, True, "1000000/0100000/1010000/0101000/1010100/0101010/0010101"),
    (3, 2, 2, True, "1000000/0100000/1010000/0101000/0010100/0101010/0010101"),
]


@pytest.mark.parametrize(("kernel", "stride", "dilation", "causal", "expected"), LINES)
def test_a_line_is_the_literal_matrix(kernel: int, stride: int, dilation: int, causal: bool, expected: str) -> None:
    found = an.catalog.build(
        "neighborhood", grid=an.grid(x=7), kernel=kernel, stride=stride, dilation=dilation, causal=causal
    )
    assert rows(found, 7) == expected


@pytest.mark.parametrize(
    ("kernel", "stride", "causal", "expected"),
    [
        (3, 1, False, "0-2 0-3 0-4 2-5 3-7 4-7 5-7"),
        (3, 2, False, "0-2 0-2 0-4 2-4 2-7 4-7 4-7"),
        (3, 2, True, "0-2 1-4 2-4 3-6 4-7 5-7 6-7"),
    ],
)
def test_the_queries_of_a_key_are_the_literal_windows(kernel: int, stride: int, causal: bool, expected: str) -> None:
    found = matrix(an.catalog.build("neighborhood", grid=an.grid(x=7), kernel=kernel, stride=stride, causal=causal), 7)
    for column, window in zip(found[0, 0].T.tolist(), expected.split(), strict=True):
        start, stop = map(int, window.split("-"))
        assert [i for i, live in enumerate(column) if live] == list(range(start, stop))


@pytest.mark.parametrize(
    ("causal", "expected"),
    [
        ((), "11101110/11101110/01110111/01110111/11101110/11101110/01110111/01110111"),
        (("y",), "11100000/11100000/01110000/01110000/11101110/11101110/01110111/01110111"),
    ],
)
def test_an_image_is_the_literal_matrix(causal: tuple[str, ...], expected: str) -> None:
    found = an.catalog.build("neighborhood", grid=an.grid(y=2, x=4), kernel=(2, 3), causal=causal)
    assert rows(found, 8) == expected


def window_of(i: int, length: int, kernel: int, stride: int, dilation: int, causal: bool) -> set[int]:
    """The keys of query i along an axis: a run of its own residue class, moved until it lies in it, or cut off."""
    slots = list(range(i % dilation, length, dilation))
    mine = slots.index(i)
    group = range(mine - mine % stride, mine - mine % stride + stride)
    leader = min(group[-1] if causal else group[stride // 2], len(slots) - 1)
    if causal:
        return {slots[s] for s in range(leader - kernel + 1, mine + 1) if s >= 0}
    first = leader - kernel // 2
    while first < 0:
        first += 1
    while first + kernel > len(slots):
        first -= 1
    return set(slots[first : first + kernel])


def test_a_line_is_its_definition_for_all_small_sizes() -> None:
    for length, kernel, dilation in product((1, 2, 5, 8, 13), (1, 2, 3, 4, 5), (1, 2, 3)):
        if kernel * dilation > length:
            continue
        for stride, causal in product(range(1, kernel + 1), (False, True)):
            line = an.catalog.build(
                "neighborhood", grid=an.grid(x=length), kernel=kernel, stride=stride, dilation=dilation, causal=causal
            )
            windows = [window_of(i, length, kernel, stride, dilation, causal) for i in range(length)]
            assert matrix(line, length)[0, 0].equal(brute(lambda i, j, w=windows: j in w[i], length))


@pytest.mark.parametrize(
    ("sizes", "kernel", "stride", "dilation", "causal"),
    [
        ({"y": 5, "x": 6}, (3, 4), (2, 3), (1, 1), ()),
        ({"y": 7, "x": 8}, (3, 2), (1, 2), (2, 3), ("x",)),
        ({"t": 3, "y": 4, "x": 5}, (2, 3, 3), (1, 1, 2), (1, 1, 1), ("t",)),
        ({"t": 4, "y": 5, "x": 4}, (2, 2, 4), (2, 1, 4), (2, 2, 1), ("t", "y")),
        ({"t": 2, "y": 1, "x": 3}, (1, 1, 1), (1, 1, 1), (2, 1, 3), ()),
    ],
)
@pytest.mark.parametrize("extra", [0, 1, 5])
def test_grids_are_their_definition_and_extra_keys_are_for_everyone(
    sizes: dict[str, int],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    causal: tuple[str, ...],
    extra: int,
) -> None:
    tokens, axes = cells(*sizes.values()), list(zip(sizes, sizes.values(), kernel, stride, dilation, strict=True))

    def allow(i: int, j: int) -> bool:
        if j >= len(tokens):
            return True
        both = zip(tokens[i], tokens[j], axes, strict=True)
        return all(b in window_of(a, n, w, s, d, name in causal) for a, b, (name, n, w, s, d) in both)

    found = an.catalog.build(
        "neighborhood",
        grid=an.grid(**sizes),
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        causal=causal,
        extra=extra,
    )
    n = len(tokens)
    assert matrix(found, n, n + extra)[0, 0].equal(brute(allow, n, n + extra))


def test_parameters_at_run_time() -> None:
    line = an.grid(x=an.param("length", low=1))
    found = an.catalog.build(
        "neighborhood", grid=line, kernel=an.param("kernel", low=1), extra=an.param("registers", low=1)
    )
    expected = an.catalog.build("neighborhood", grid=an.grid(x=9), kernel=4, extra=2)
    assert matrix(found, 9, 11, length=9, kernel=4, registers=2).equal(matrix(expected, 9, 11))


def test_equivalences() -> None:
    line = an.grid(x=12)
    whole = an.catalog.build("neighborhood", grid=line, kernel=12)
    assert matrix(whole, 12).all()
    ordered = an.catalog.build("neighborhood", grid=line, kernel=12, causal=True)
    assert matrix(ordered, 12).equal(matrix(an.causal(), 12))
    blocks = an.catalog.build("neighborhood", grid=line, kernel=4, stride=4)
    assert matrix(blocks, 12)[0, 0].equal(brute(lambda i, j: i // 4 == j // 4, 12))


@pytest.mark.parametrize(
    "wrong",
    [
        {"kernel": 0},
        {"kernel": 8},
        {"kernel": 3, "stride": 4},
        {"kernel": 3, "dilation": 3},
        {"kernel": 3, "extra": -1},
    ],
)
def test_a_window_that_does_not_fit_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(DeclarationError):
        an.catalog.build("neighborhood", grid=an.grid(x=7), **wrong)


def test_extra_keys_stand_after_a_grid_alone() -> None:
    page = an.concat(text=2, image=an.grid(y=2, x=2))
    with pytest.raises(DeclarationError):
        an.catalog.build("neighborhood", grid=page, kernel=2, extra=1)


TILED = [  # sizes, tile, window in tiles
    ((2, 4, 6), (1, 2, 2), (1, 1, 3)),
    ((4, 6, 4), (2, 2, 1), (2, 3, 3)),
    ((3, 3, 10), (3, 1, 2), (1, 2, 4)),
    ((2, 6, 6), (1, 3, 3), (2, 2, 1)),
    ((1, 2, 15), (1, 1, 3), (1, 1, 5)),
    ((2, 2, 3), (1, 1, 1), (1, 2, 2)),
]


@pytest.mark.parametrize(("sizes", "tile", "window"), TILED)
def test_sliding_tile_is_tiles_around_a_clamped_centre(
    sizes: tuple[int, ...], tile: tuple[int, ...], window: tuple[int, ...]
) -> None:
    tokens = cells(*sizes)

    def seen(i: int, j: int, size: int, side: int, tiles: int) -> bool:
        last, reach = size // side - 1, tiles // 2
        centre = max(min(i // side, last - reach), min(reach, last - reach))
        return abs(j // side - centre) <= reach or tiles == last + 1

    def allow(i: int, j: int) -> bool:
        return all(seen(*axis) for axis in zip(tokens[i], tokens[j], sizes, tile, window, strict=True))

    t, y, x = sizes
    found = an.catalog.build("sliding-tile", frames=t, height=y, width=x, tile=tile, window=window)
    assert matrix(found, len(tokens))[0, 0].equal(brute(allow, len(tokens)))


@pytest.mark.parametrize(("tiles", "kernel"), [(1, 4), (2, 12), (3, 12), (4, 20), (5, 20), (6, 24)])
def test_a_window_of_tiles_is_a_neighborhood_with_the_tile_as_stride(tiles: int, kernel: int) -> None:
    found = an.catalog.build("sliding-tile", frames=1, height=1, width=24, tile=(1, 1, 4), window=(1, 1, tiles))
    expected = an.neighborhood(an.grid(t=1, y=1, x=24), (1, 1, kernel), stride=(1, 1, 4))
    assert matrix(found, 24).equal(matrix(expected, 24))
    counts = matrix(found, 24)[0, 0].sum(dim=-1)
    assert counts.eq(kernel).all()


@pytest.mark.parametrize(
    "wrong", [{"width": 7}, {"window": (1, 1, 4)}, {"window": (0, 1, 1)}, {"tile": (1, 0, 2)}, {"tile": (2, 2)}]
)
def test_tiles_that_do_not_fit_are_refused(wrong: dict[str, object]) -> None:
    right = {"frames": 2, "height": 4, "width": 6, "tile": (1, 2, 2), "window": (1, 1, 3)}
    with pytest.raises(DeclarationError):
        an.catalog.build("sliding-tile", **(right | wrong))


@pytest.mark.parametrize(("sizes", "reach"), [((2, 5, 6), (1, 2)), ((3, 4, 3), (0, 1)), ((1, 3, 7), (4, 2))])
def test_freeswim_is_its_definition(sizes: tuple[int, int, int], reach: tuple[int, int]) -> None:
    tokens = cells(*sizes)

    def allow(i: int, j: int) -> bool:
        axes = zip(tokens[i][1:], tokens[j][1:], sizes[1:], reach, strict=True)
        return all(b in window_of(a, n, min(2 * e + 1, n), 1, 1, False) for a, b, n, e in axes)

    t, y, x = sizes
    found = matrix(an.catalog.build("freeswim", frames=t, height=y, width=x, reach=reach), t * y * x, batch=3)
    assert found[0, 0].equal(brute(allow, len(tokens))) and found[2].equal(found[0])
    assert found[1].all()
    alone = an.catalog.build("freeswim", frames=t, height=y, width=x, reach=reach, full_sample=None)
    assert matrix(alone, t * y * x, batch=2)[1].equal(found[0])


def test_freeswim_keeps_what_the_specification_says() -> None:
    wide = an.catalog.build("freeswim", frames=1, height=68, width=120, full_sample=None)
    assert kept(wide, 68 * 120) == pytest.approx(20.1, abs=0.05)


def test_freeswim_at_run_time() -> None:
    build = an.catalog.get("freeswim").build
    found = build(an.param("frames", low=1), 3, 4, reach=(0, 1), full_sample=an.param("guide"))
    assert matrix(found, 36, batch=2, frames=3, guide=0)[:1].equal(matrix(an.full(), 36))
    assert matrix(found, 36, batch=2, frames=3, guide=0)[1:].equal(matrix(build(3, 3, 4, reach=(0, 1)), 36))


@pytest.mark.parametrize("wrong", [{"reach": (-1, 2)}, {"reach": (1,)}, {"reach": 3}, {"frames": 0}, {"height": 0}])
def test_freeswim_refuses_what_does_not_fit(wrong: dict[str, object]) -> None:
    with pytest.raises(DeclarationError):
        an.catalog.build("freeswim", **({"frames": 1, "height": 2, "width": 2} | wrong))
