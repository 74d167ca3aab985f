"""Several texts in one sequence, against their definitions."""

from __future__ import annotations

import pytest
import torch

import attnir as an
from tests.attnir.catalog.checks import brute, matrix, rows


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("n, block", [(1, 1), (12, 4), (13, 4), (9, 1), (7, 20)])
def test_block_diagonal_is_its_definition(n: int, block: int, causal: bool) -> None:

    def allow(i: int, j: int) -> bool:
        together = any({i, j} <= {*range(start, start + block)} for start in range(0, n, block))
        return together and not (causal and j > i)

    assert matrix(an.catalog.build("block-diagonal", block=block, causal=causal), n)[0, 0].equal(brute(allow, n))


def test_packed_documents_is_the_literal_matrix() -> None:
    found = rows(an.catalog.build("packed-documents"), 5, doc=torch.tensor([0, 0, 1, 1, 1]))
    assert found == "10000/11000/00100/00110/00111"


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("lengths", [[1], [7], [1, 1, 1], [3, 8, 2, 5]])
def test_packed_documents_is_its_definition(lengths: list[int], causal: bool) -> None:
    doc = [d for d, length in enumerate(lengths) for _ in range(length)]
    found = matrix(an.catalog.build("packed-documents", causal=causal), len(doc), doc=torch.tensor(doc))[0, 0]
    assert found.equal(brute(lambda i, j: doc[i] == doc[j] and (j <= i or not causal), len(doc)))


def test_prefix_lm_is_the_literal_matrix() -> None:
    assert rows(an.catalog.build("prefix-lm", prefix=2), 5) == "11000/11000/11100/11110/11111"
    assert rows(an.catalog.build("prefix-lm"), 5, prefix=torch.tensor([2])) == "11000/11000/11100/11110/11111"


@pytest.mark.parametrize("n", [1, 6, 21])
def test_prefix_lm_is_its_definition(n: int) -> None:
    lengths = [0, 1, 5, 30]
    found = matrix(an.catalog.build("prefix-lm"), n, batch=4, prefix=torch.tensor(lengths))
    one = an.catalog.build("prefix-lm", prefix=an.param("p", low=0))
    for b, prefix in enumerate(lengths):
        expected = brute(lambda i, j, prefix=prefix: j < prefix or j <= i, n)
        assert found[b, 0].equal(expected)
        assert matrix(one, n, p=prefix)[0, 0].equal(expected)


def test_parallel_context_is_the_literal_matrix() -> None:
    found = rows(an.catalog.build("parallel-context"), 7, context=torch.tensor([0, 1, 1, 2, 2, -1, -1]))
    assert found == "1000000/1100000/1110000/1001000/1001100/1111110/1111111"


@pytest.mark.parametrize("tokens", ["s", "sq", "ssaaabbccccqqq", "abaqsb", "aabb"])
def test_parallel_context_is_its_definition(tokens: str) -> None:
    """Also where contexts alternate: nothing is sorted."""
    given = torch.tensor([{"s": 0, "q": -1}.get(t, ord(t) - ord("a") + 1) for t in tokens])

    def allow(i: int, j: int) -> bool:
        return j <= i and (tokens[i] == tokens[j] or tokens[j] == "s" or tokens[i] == "q")

    assert matrix(an.catalog.build("parallel-context"), len(tokens), context=given)[0, 0].equal(
        brute(allow, len(tokens))
    )


def test_blockrank_is_the_literal_matrix() -> None:
    found = rows(an.catalog.build("blockrank", blocks=4, length=2), 8, pad=torch.tensor([0, 0, 0, 0, 1, 0, 0, 0]))
    assert found == "10000000/11000000/11100000/11110000/00000000/11000100/11110110/11110111"


@pytest.mark.parametrize("blocks, length", [(1, 3), (2, 1), (3, 5), (6, 4)])
def test_blockrank_is_its_definition(blocks: int, length: int) -> None:
    n = blocks * length
    pads = {i for i in range(n) if i % 7 == 3}

    def allow(i: int, j: int) -> bool:
        (bi, _), (bj, _) = divmod(i, length), divmod(j, length)
        if i in pads or j in pads:
            return False
        return (bj == 0 and bi > 0) or (bi == bj and j <= i) or (bi == blocks - 1 and bj < blocks - 1)

    given = torch.tensor([int(i in pads) for i in range(n)])
    found = matrix(an.catalog.build("blockrank", blocks=blocks, length=length), n, pad=given)[0, 0]
    assert found.equal(brute(allow, n))
    sizes = {"blocks": an.param("m", low=1), "length": an.param("n", low=1)}
    assert matrix(an.catalog.build("blockrank", **sizes), n, pad=given, m=blocks, n=length)[0, 0].equal(found)


@pytest.mark.parametrize(
    "name, params",
    [
        ("block-diagonal", {"block": 0}),
        ("prefix-lm", {"prefix": -1}),
        ("blockrank", {"blocks": 0, "length": 4}),
        ("blockrank", {"blocks": 4, "length": -2}),
    ],
)
def test_sizes_that_mean_nothing_are_refused(name: str, params: dict[str, object]) -> None:
    with pytest.raises(an.AttnirError, match="is an integer from"):
        an.catalog.build(name, **params)
