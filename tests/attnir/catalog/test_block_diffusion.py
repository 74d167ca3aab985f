"""Block diffusion, against the definition by halves h, blocks b and positions p."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import attnir as an
from tests.attnir.catalog.checks import brute, matrix, rows

Allow = Callable[[int, int, int, int, int, int], bool]


def bd3lm(hq: int, hk: int, bq: int, bk: int, pq: int, pk: int) -> bool:
    return (bq == bk and hq == hk) or (bk < bq and hk == 1 and hq == 0) or (bk <= bq and hk == 1 and hq == 1)


def nbdiff(hq: int, hk: int, bq: int, bk: int, pq: int, pk: int) -> bool:
    return (bq == bk and hq == hk == 0) or (bk < bq and hk == 1 and hq == 0) or (pk <= pq and hq == hk == 1)


def i_dlm(hq: int, hk: int, bq: int, bk: int, pq: int, pk: int) -> bool:
    noisy = bq == bk and hq == hk == 0 and pk <= pq
    return noisy or (bk < bq and hk == 1 and hq == 0) or (pk <= pq and hq == hk == 1)


DEFINITIONS = {"bd3lm": bd3lm, "fast-dllm-v2": bd3lm, "efficient-dlm": bd3lm, "nbdiff": nbdiff, "i-dlm": i_dlm}
MATRICES = {
    "bd3lm": "11000000/11000000/00111100/00111100/00001100/00001100/00001111/00001111",
    "nbdiff": "11000000/11000000/00111100/00111100/00001000/00001100/00001110/00001111",
    "i-dlm": "10000000/11000000/00101100/00111100/00001000/00001100/00001110/00001111",
}


def defined(allow: Allow, n: int, block: int) -> torch.Tensor:
    def pair(i: int, j: int) -> bool:
        return allow(i // n, j // n, i % n // block, j % n // block, i % n, j % n)

    return brute(pair, 2 * n)


@pytest.mark.parametrize("name", MATRICES)
def test_the_halves_are_the_literal_matrix(name: str) -> None:
    assert rows(an.catalog.build(name, tokens=4, block=2), 8) == MATRICES[name]


@pytest.mark.parametrize("name", DEFINITIONS)
@pytest.mark.parametrize("n, block", [(1, 1), (4, 2), (7, 3), (12, 4), (9, 1), (5, 20), (16, 16)])
def test_the_halves_are_their_definition(name: str, n: int, block: int) -> None:
    expected = defined(DEFINITIONS[name], n, block)
    assert matrix(an.catalog.build(name, tokens=n, block=block), 2 * n)[0, 0].equal(expected)
    sizes = {"tokens": an.param("n", low=1), "block": an.param("block", low=1)}
    assert matrix(an.catalog.build(name, **sizes), 2 * n, n=n, block=block)[0, 0].equal(expected)


@pytest.mark.parametrize("n, block", [(4, 2), (256, 32), (24, 1), (24, 24)])
def test_the_allowed_pairs_are_as_many_as_the_formulas_say(n: int, block: int) -> None:
    own, before, past = n * block, n * (n - block) // 2, n * (n + 1) // 2
    expected = {
        "bd3lm": n * block + n * n,
        "nbdiff": own + before + past,
        "i-dlm": n * (block + 1) // 2 + before + past,
    }
    for name, count in expected.items():
        pattern = an.catalog.build(name, tokens=n, block=block)
        assert int(matrix(pattern, 2 * n).sum()) == count
        assert an.compile(pattern).explain(2 * n).live_pairs == count


def test_the_published_counts() -> None:
    found = [an.compile(an.catalog.build(name, tokens=256, block=32)).explain(512).live_pairs for name in MATRICES]
    assert found == [73_728, 69_760, 65_792]


def test_decoding_is_the_literal_matrix() -> None:
    found = rows(an.catalog.build("fast-dllm-v2-decoding", block=2), 6)
    assert found == "110000/110000/111100/111100/111111/111111"


@pytest.mark.parametrize("block", [1, 3, 4, 50])
@pytest.mark.parametrize("q_len, cached", [(1, 0), (8, 0), (4, 8), (5, 7), (1, 20)])
def test_decoding_begins_behind_the_cache(q_len: int, cached: int, block: int) -> None:
    found = matrix(an.catalog.build("fast-dllm-v2-decoding", block=block), q_len, q_len + cached)[0, 0]
    ends = [next(e for e in range(block, 10**4, block) if e > cached + i) for i in range(q_len)]
    assert found.equal(brute(lambda i, j: j < ends[i], q_len, q_len + cached))


def test_sizes_that_mean_nothing_are_refused() -> None:
    for name in DEFINITIONS:
        for sizes in ({"tokens": 0}, {"tokens": 8, "block": 0}, {"tokens": 8, "block": an.param("block")}):
            with pytest.raises(an.AttnirError, match="is an integer from 1"):
                an.catalog.build(name, **sizes)
    with pytest.raises(an.AttnirError, match="is an integer from 1"):
        an.catalog.build("fast-dllm-v2-decoding", block=-1)
