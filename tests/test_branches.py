"""Merging parts of one softmax, and combining several: results and gradients, in any order, with dead parts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import attnir as an
from attnir.errors import DtypeError, ShapeError

PART = an.field("part")


def inputs(seed: int, length: int = 40, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 2, length, 8, generator=g, dtype=torch.float64).to(dtype).requires_grad_() for _ in range(3)]


def of_part(n: int) -> an.Mask:
    return an.causal() & an.mask(lambda k: PART(k) == n)


def both(mask: an.Mask, leaves: list[Tensor], **bindings: object) -> tuple[Tensor, Tensor]:
    """(o, lse) of the dense meaning."""
    found = an.reference(mask)(*leaves, return_lse=True, **bindings)
    assert isinstance(found, tuple)
    return found


def gradients(o: Tensor, lse: Tensor, leaves: list[Tensor], seed: int) -> tuple[Tensor, ...]:
    g = torch.Generator().manual_seed(seed + 1)
    do, dlse = (torch.randn(t.shape, generator=g, dtype=torch.float64) for t in (o, lse))
    return torch.autograd.grad(
        (o.double() * do).sum() + torch.where(lse > -torch.inf, lse.double() * dlse, 0.0).sum(), leaves
    )


@given(st.lists(st.integers(0, 3), min_size=40, max_size=40), st.permutations(range(4)), st.integers(0, 9))
@settings(max_examples=30)
def test_any_split_in_any_order_is_the_whole(split: list[int], order: list[int], seed: int) -> None:
    """Parts without a key, and rows without a key in a part, among them."""
    leaves, parts = inputs(seed), torch.tensor(split)
    found = an.merge([both(of_part(n), leaves, part=parts) for n in order])
    expected = both(an.causal(), leaves)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)
    for a, b in zip(gradients(*found, leaves, seed), gradients(*expected, leaves, seed), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("target", ["torch", "triton"])
def test_parts_of_kernels_merge(target: str) -> None:
    leaves = inputs(0, dtype=torch.float32)
    parts = torch.arange(40) // 7 % 3
    each = [an.compile(of_part(n), backend=target)(*leaves, part=parts, return_lse=True) for n in range(3)]
    exact = [t.detach().double().requires_grad_() for t in leaves]
    found, expected = an.merge(each), both(an.causal(), exact)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=1e-5)
    for a, b in zip(gradients(*found, leaves, 0), gradients(*expected, exact, 0), strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-5)


def test_rows_that_no_part_has_are_dead() -> None:
    o, lse = torch.zeros(1, 1, 3, 4, requires_grad=True), torch.full((1, 1, 3), -torch.inf, requires_grad=True)
    merged, total = an.merge([(o, lse), (o, lse)])
    assert not merged.any() and bool((total == -torch.inf).all())
    found = torch.autograd.grad(merged.sum() + torch.where(total > -torch.inf, total, 0.0).sum(), (o, lse))
    assert not any(t.any() or t.isnan().any() for t in found)


def test_one_part_is_itself() -> None:
    q, k, v = inputs(1)
    o, lse = both(an.causal(), [q, k, v])
    merged, total = an.merge([(o, lse)])
    torch.testing.assert_close(merged, o)
    torch.testing.assert_close(total, lse)


def test_merging_is_no_mean() -> None:
    """The classic mistake: a part with few keys weighs as much as one with many."""
    q, k, v = inputs(2)
    parts = (torch.arange(40) < 2).long()
    each = [both(of_part(n), [q, k, v], part=parts) for n in range(2)]
    mean = an.combine([(0.5, o) for o, _ in each])
    assert float((mean - an.merge(each)[0]).detach().abs().amax()) > 0.5


def test_gradients_by_differences() -> None:
    g = torch.Generator().manual_seed(0)
    o = [torch.randn(1, 1, 2, 3, generator=g, dtype=torch.float64).requires_grad_() for _ in range(2)]
    lse = [torch.randn(1, 1, 2, generator=g, dtype=torch.float64).requires_grad_() for _ in range(2)]
    gate = torch.rand(1, 1, 2, generator=g, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda *t: an.merge([(t[0], t[2]), (t[1], t[3])]), (*o, *lse))
    assert torch.autograd.gradcheck(lambda g, a, b: an.combine([(g, a), (1 - g, b)]), (gate, *o))


def test_weights_spread() -> None:
    o = torch.randn(2, 3, 5, 4)
    by_head, by_row, number = torch.rand(3, 1), torch.rand(2, 1, 5), 0.25
    found = an.combine([(by_head, o), (by_row, o), (number, o)])
    torch.testing.assert_close(found, o * (by_head + by_row + number)[..., None])


def test_half_precision_is_summed_in_float32() -> None:
    o = torch.full((1, 1, 1, 4), 1.0, dtype=torch.bfloat16)
    assert an.combine([(1.0, o), *[(0.0009765625, o)] * 8]).dtype is torch.bfloat16
    merged, lse = an.merge([(o, torch.zeros(1, 1, 1))] * 3)
    assert merged.dtype is torch.bfloat16 and lse.dtype is torch.float32
    assert bool((merged == 1).all())


def test_bad_parts_and_branches() -> None:
    o, lse = torch.randn(1, 2, 5, 4), torch.randn(1, 2, 5)
    with pytest.raises(ShapeError, match="there is no part"):
        an.merge([])
    with pytest.raises(ShapeError, match="there is no branch"):
        an.combine([])
    for wrong in (o, (o, lse, lse), 3):
        with pytest.raises(ShapeError, match=r"every part is a pair \(o, lse\)"):
            an.merge([wrong])
        with pytest.raises(ShapeError, match=r"every branch is a pair \(weight, o\)"):
            an.combine([wrong])
    with pytest.raises(DtypeError, match="lse of every part is a tensor, not NoneType"):
        an.merge([(o, None)])
    with pytest.raises(DtypeError, match="o of every branch is a tensor, not float"):
        an.combine([(o, 0.5)])
    for weight in ("a", 1j, True):
        with pytest.raises(DtypeError, match="a weight is a number"):
            an.combine([(weight, o)])
    with pytest.raises(ShapeError, match="every part has one shape"):
        an.merge([(o, lse), (o[:, :1], lse[:, :1])])
    with pytest.raises(ShapeError, match="o's rows"):
        an.merge([(o, lse[:, :1])])
    with pytest.raises(DtypeError, match="one dtype"):
        an.merge([(o, lse), (o.bfloat16(), lse)])
    with pytest.raises(ShapeError, match="what broadcasts to it"):
        an.combine([(torch.ones(1, 2, 5, 1), o)])
    with pytest.raises(ShapeError, match="what broadcasts to it"):
        an.combine([(torch.ones(3), o)])
