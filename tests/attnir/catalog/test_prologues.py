"""Mechanisms that are plain attention of other tensors: their results and gradients are those of their formulas."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

import attnir as an

S, TAU = 21, 4.0
Attend = Callable[..., Tensor]


def drawn(*shapes: tuple[int, ...]) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=g, dtype=torch.float64).requires_grad_() for s in shapes]


def agree(found: Callable[..., Tensor], dense: Callable[..., Tensor], tensors: list[Tensor]) -> None:
    """The float32 torch target, or the float64 reference, gives what a formula gives, with its gradients."""
    expected = dense(*tensors)
    do = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wanted = [expected, *torch.autograd.grad((expected * do).sum(), tensors)]
    for dtype, close in ((torch.float64, 1e-12), (torch.float32, 2e-5)):
        given = [t.detach().to(dtype).requires_grad_() for t in tensors]
        o = found(dtype, *given)
        results = [o, *torch.autograd.grad((o * do.to(dtype)).sum(), given)]
        for one, other in zip(results, wanted, strict=True):
            torch.testing.assert_close(one.double(), other, rtol=close, atol=close * float(other.detach().abs().max()))


def attention(name: str, dtype: torch.dtype) -> Attend:
    pattern = an.catalog.build(name)
    found: Attend = an.reference(pattern) if dtype is torch.float64 else an.compile(pattern, backend="torch")
    return found


@pytest.mark.parametrize("steps", [0, 2])
def test_self_self(steps: int) -> None:
    def mean_of(attend: Attend, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        found = []
        for tokens in (q, k, v):
            x = normalize(tokens, dim=-1)
            for _ in range(steps):
                x = normalize(attend(x, x, x, scale=TAU), dim=-1)
            found.append(attend(x, x, v, scale=TAU))
        return torch.stack(found).mean(0)

    def dense(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        return (scale * q @ k.mT).softmax(-1) @ v

    agree(
        lambda dtype, *given: mean_of(attention("self-self", dtype), *given),
        lambda *given: mean_of(dense, *given),
        drawn(*[(2, 2, S, 8)] * 3),
    )


def test_the_gradient_of_self_self_is_that_of_both_sides() -> None:
    (x, v, do) = drawn((1, 1, S, 8), (1, 1, S, 8), (1, 1, S, 8))
    o = an.reference(an.catalog.build("self-self"))(x, x, v, scale=TAU)
    assert isinstance(o, Tensor)
    (found,) = torch.autograd.grad((o * do).sum(), x)
    p = (TAU * x @ x.mT).softmax(-1)
    ds = p * (do @ v.mT - (do * o).sum(-1, keepdim=True))
    torch.testing.assert_close(found, TAU * (ds + ds.mT) @ x)


def test_coca() -> None:
    m = 6
    theta = 10000.0 ** (-torch.arange(m, dtype=torch.float64) / m)

    def rotated(x: Tensor) -> Tensor:
        angle = (torch.arange(S, dtype=torch.float64)[:, None] * theta).to(x.dtype)
        return torch.cat([x * angle.cos(), x * angle.sin()], -1)

    def found(dtype: torch.dtype, q: Tensor, t: Tensor, v: Tensor) -> Tensor:
        squares = q.unflatten(-1, (m, 2)).square().sum(-1)
        return attention("coca", dtype)(rotated(squares), rotated(t.relu()), v, scale=0.3)

    def dense(q: Tensor, t: Tensor, v: Tensor) -> Tensor:
        i = torch.arange(S)
        apart = ((i[:, None] - i)[..., None] * theta).cos()
        s = torch.einsum("bhimc,bhjm,ijm->bhij", q.unflatten(-1, (m, 2)).square(), t.relu(), apart)
        return (0.3 * s).masked_fill(i[:, None] < i, -torch.inf).softmax(-1) @ v

    agree(found, dense, drawn((2, 2, S, 2 * m), (2, 2, S, m), (2, 2, S, 5)))


def test_cca() -> None:
    d = 8

    def before(x: Tensor) -> Tensor:
        return pad(x, (0, 0, 1, 0))[..., :S, :]

    def prologue(q: Tensor, k: Tensor, v: Tensor, conv: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean = (q + k.repeat_interleave(2, 1)) / 2
        q, k = (w[0] * x + w[1] * before(x) for x, w in zip((q, k), conv, strict=True))
        q, k = (normalize(x, dim=-1) * d**0.5 for x in (q + mean, k + mean.unflatten(1, (2, 2)).mean(2)))
        return q, k * beta.exp(), torch.cat([v[..., : d // 2], before(v)[..., d // 2 :]], -1)

    def dense(*given: Tensor) -> Tensor:
        q, k, v = prologue(*given)
        k, v = (t.repeat_interleave(2, 1) for t in (k, v))
        past = torch.ones(S, S).tril().bool()
        return (q @ k.mT * d**-0.5).masked_fill(~past, -torch.inf).softmax(-1) @ v

    agree(
        lambda dtype, *given: attention("cca", dtype)(*prologue(*given)),
        dense,
        drawn((2, 4, S, d), (2, 2, S, d), (2, 2, S, d), (2, 2, d), (2, 1, 1)),
    )


def test_mla_absorbed_is_mla_expanded() -> None:
    latent, plain, rotary, heads = 32, 16, 8, 4
    scale = (plain + rotary) ** -0.5

    def absorbed(dtype: torch.dtype, q: Tensor, q_rotary: Tensor, shared: Tensor, to_k: Tensor, to_v: Tensor) -> Tensor:
        absorbed = torch.cat([q @ to_k.mT, q_rotary], -1)
        return attention("mla", dtype)(absorbed, shared, shared[..., :latent], scale=scale) @ to_v

    def expanded(q: Tensor, q_rotary: Tensor, shared: Tensor, to_k: Tensor, to_v: Tensor) -> Tensor:
        c, k_rotary = shared.split([latent, rotary], -1)
        k = torch.cat([c @ to_k, k_rotary.expand(-1, heads, -1, -1)], -1)
        past = torch.ones(S, S).tril().bool()
        s = torch.cat([q, q_rotary], -1) @ k.mT * scale
        return s.masked_fill(~past, -torch.inf).softmax(-1) @ (c @ to_v)

    shapes = [(2, heads, S, plain), (2, heads, S, rotary), (2, 1, S, latent + rotary), *[(heads, latent, plain)] * 2]
    agree(absorbed, expanded, drawn(*shapes))


@pytest.mark.parametrize("backend", ["torch", "reference"])
def test_the_latents_gradient_is_that_of_keys_and_of_values(backend: str) -> None:
    q, shared = drawn((1, 3, S, 24), (1, 1, S, 24))
    q, shared = (t.detach().float().requires_grad_() for t in (q, shared))
    attn = an.compile(an.catalog.build("mla"), backend=backend)
    (found,) = torch.autograd.grad(attn(q, shared, shared[..., :16]).square().sum(), shared)
    k, v = shared.detach().requires_grad_(), shared[..., :16].detach().clone().requires_grad_()
    dk, dv = torch.autograd.grad(attn(q, k, v).square().sum(), (k, v))
    torch.testing.assert_close(found, dk + pad(dv, (0, 8)))
