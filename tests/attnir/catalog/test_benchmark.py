"""The four attentions of CAB, against their definitions."""

from __future__ import annotations

import pytest
import torch

import attnir as an
from tests.attnir.catalog.checks import brute, matrix


@pytest.mark.parametrize("n", [1, 2, 13])
def test_self_attentions_are_their_definition(n: int) -> None:
    assert matrix(an.catalog.build("cab-ns"), n)[0, 0].equal(brute(lambda i, j: True, n))
    assert matrix(an.catalog.build("cab-cs"), n)[0, 0].equal(brute(lambda i, j: i >= j, n))


@pytest.mark.parametrize("name", ["cab-nc", "cab-cc"])
@pytest.mark.parametrize("q_len, k_len", [(1, 1), (5, 12), (12, 5)])
def test_cross_attentions_are_their_definition(name: str, q_len: int, k_len: int) -> None:
    assert matrix(an.catalog.build(name), q_len, k_len)[0, 0].equal(brute(lambda i, j: True, q_len, k_len))


def test_causal_cross_does_not_depend_on_later_queries() -> None:
    torch.manual_seed(0)
    attn = an.compile(an.catalog.build("cab-cc"))
    q, k, v = torch.randn(1, 1, 8, 4), torch.randn(1, 1, 20, 4), torch.randn(1, 1, 20, 4)
    other = q.clone()
    other[:, :, 5:] = 7.0
    torch.testing.assert_close(attn(q, k, v)[:, :, :5], attn(other, k, v)[:, :, :5])
