"""Windows along the sequence, against their definitions."""

from __future__ import annotations

import pytest

import attnir as an
from tests.attnir.catalog.checks import brute, matrix, rows

SIZES = (1, 2, 7, 40)


@pytest.mark.parametrize("n", SIZES)
def test_causal_is_its_definition(n: int) -> None:
    assert matrix(an.catalog.build("causal"), n)[0, 0].equal(brute(lambda i, j: j in range(i + 1), n))


@pytest.mark.parametrize("left, right", [(0, 0), (3, 0), (2, 5), (4, None), (100, 1)])
@pytest.mark.parametrize("n", SIZES)
def test_window_is_its_definition(n: int, left: int, right: int | None) -> None:
    after = left if right is None else right
    found = matrix(an.catalog.build("window", left=left, right=right), n)[0, 0]
    assert found.equal(brute(lambda i, j: j in range(i - left, i + after + 1), n))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("reach, dilation", [(0, 3), (1, 1), (2, 3), (5, 2), (40, 7)])
@pytest.mark.parametrize("n", SIZES)
def test_dilated_window_is_its_definition(n: int, reach: int, dilation: int, causal: bool) -> None:
    steps = range(-reach, 1 if causal else reach + 1)
    found = matrix(an.catalog.build("dilated-window", reach=reach, dilation=dilation, causal=causal), n)[0, 0]
    assert found.equal(brute(lambda i, j: j in [i + s * dilation for s in steps], n))


@pytest.mark.parametrize("stride", [1, 2, 5, 64])
@pytest.mark.parametrize("n", SIZES)
def test_strided_is_its_definition(n: int, stride: int) -> None:
    found = matrix(an.catalog.build("strided", stride=stride), n)[0, 0]
    assert found.equal(brute(lambda i, j: j in range(i, -1, -stride), n))


def test_streaming_llm_is_the_literal_matrix() -> None:
    found = rows(an.catalog.build("streaming-llm", sinks=2, window=2), 7)
    assert found == "1000000/1100000/1110000/1111000/1101100/1100110/1100011"


def test_streaming_llm_is_its_definition() -> None:
    found = matrix(an.catalog.build("streaming-llm", sinks=3, window=5), 40)
    assert found[0, 0].equal(brute(lambda i, j: j <= i and (j < 3 or i - j < 5), 40))


def test_sizes_can_be_parameters() -> None:
    dilated = an.catalog.build("dilated-window", reach=an.param("reach", low=0), dilation=an.param("step", low=1))
    expected = matrix(an.catalog.build("dilated-window", reach=3, dilation=4), 40)
    assert matrix(dilated, 40, reach=3, step=4).equal(expected)


@pytest.mark.parametrize(
    "name, params",
    [
        ("window", {"left": -1}),
        ("dilated-window", {"dilation": 0}),
        ("strided", {"stride": 0}),
        ("strided", {"stride": an.param("stride")}),
        ("streaming-llm", {"window": 0}),
    ],
)
def test_sizes_that_mean_nothing_are_refused(name: str, params: dict[str, object]) -> None:
    with pytest.raises(an.AttnirError, match="is an integer from"):
        an.catalog.build(name, **params)
