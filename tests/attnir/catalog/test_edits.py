"""Edits of images, against their definition."""

from __future__ import annotations

import torch

import attnir as an
from tests.attnir.catalog.checks import rows, weights

ERASED = torch.tensor([0, 1, 0, 1, 1])


def test_erased_keys_have_a_logit_of_zero() -> None:
    """S = (1 - m_k) * q . k * scale, and V unchanged."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, 5, 8) for _ in range(3))
    expected = (((1 - ERASED) * (q @ k.transpose(-1, -2))) * 8**-0.5).softmax(-1) @ v
    torch.testing.assert_close(an.compile(an.catalog.build("design-edit"))(q, k, v, erased=ERASED), expected)
    scaled_keys = an.compile(an.full())(q, (1 - ERASED)[:, None] * k, v)
    torch.testing.assert_close(scaled_keys, expected)


def test_nothing_is_hidden_but_on_request() -> None:
    assert bool((weights(an.catalog.build("design-edit"), 5, erased=ERASED) == 1).all())
    assert rows(an.catalog.build("design-edit", hide=True), 5, erased=ERASED) == "/".join(["10100"] * 5)
