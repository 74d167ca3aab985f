"""The dense reference: literal cases, and its gradients against finite differences."""

from __future__ import annotations

import pytest
import torch

import attnir as an


@pytest.mark.parametrize("text", ["full", "causal", "window(1)", "(q % 2 == 0) & (k <= q)", "k > q + 9"])
def test_gradcheck_in_float64(text: str) -> None:
    """Output and lse; dead rows have a constant output and are left out of lse, which is -inf there."""
    reference = an.reference(an.parse(text))
    g = torch.Generator().manual_seed(1)
    q = torch.randn(1, 2, 4, 3, generator=g, dtype=torch.float64, requires_grad=True)
    k, v = (torch.randn(1, 1, 5, w, generator=g, dtype=torch.float64, requires_grad=True) for w in (3, 2))

    def both(*x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        o, lse = reference(*x, return_lse=True)
        return o, torch.where(lse == -torch.inf, 0.0, lse)

    assert torch.autograd.gradcheck(both, (q, k, v))


def test_it_is_torch_attention_where_torch_has_it() -> None:
    q = torch.randn(2, 4, 9, 8, dtype=torch.float64)
    k, v = torch.randn(2, 2, 2, 9, 8, dtype=torch.float64)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    torch.testing.assert_close(an.reference(an.causal())(q, k, v), expected, rtol=1e-12, atol=1e-12)


def test_uniform_rows() -> None:
    """q = 0: lse counts the keys; a dead row gives 0 and -inf, never NaN, and no gradient."""
    q = torch.zeros(1, 1, 3, 2, requires_grad=True)
    k = torch.randn(1, 1, 3, 2, requires_grad=True)
    v = torch.tensor([[1.0], [3.0], [8.0]])[None, None].requires_grad_()
    o, lse = an.reference(an.mask(lambda q, k: k < q))(q, k, v, return_lse=True)
    assert o[0, 0, :, 0].tolist() == [0, 1, 2]
    assert lse[0, 0].exp().tolist() == pytest.approx([0, 1, 2])
    o.sum().backward()
    assert v.grad is not None and q.grad is not None
    assert v.grad[0, 0, :, 0].tolist() == [1.5, 0.5, 0]
    assert bool(torch.isfinite(q.grad).all()) and bool((q.grad[0, 0, 0] == 0).all())
