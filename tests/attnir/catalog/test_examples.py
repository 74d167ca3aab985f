"""Every entry's example: small enough for a picture, reads back, and is computed as the reference says."""

from __future__ import annotations

import pytest
import torch

import attnir as an

WIDTH = 8


@pytest.mark.parametrize("name", an.catalog.names())
def test_the_example_is_small_and_reads_back(name: str) -> None:
    entry = an.catalog.get(name)
    example = entry.example
    assert 8 <= min(example.q_len, example.k_len or 8) and max(example.q_len, example.k_len or 0) <= 96
    assert entry.summary.endswith(".")
    pattern = entry.build(**example.params)
    assert an.parse(str(pattern)) == pattern


@pytest.mark.parametrize("name", an.catalog.names())
def test_the_example_is_computed_as_the_reference_says(name: str) -> None:
    entry = an.catalog.get(name)
    example = entry.example
    torch.manual_seed(0)
    k_len = example.k_len or example.q_len
    q = torch.randn(example.batch, example.heads, example.q_len, WIDTH)
    k, v = torch.randn(2, example.batch, example.heads, k_len, WIDTH)
    pattern = entry.build(**example.params)
    found = an.compile(pattern)(q, k, v, **example.bindings)
    expected = an.reference(pattern)(q, k, v, **example.bindings)
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=1e-4)
