"""Scores on grids, against the formulas of their papers: outputs, and the gradients of all that is learned.

What a formula says of the tensors of a paper, such as embeddings of distances, is computed pair by pair in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import attnir as an
from attnir.errors import DeclarationError
from attnir.evaluate import dense_mask, dense_score
from tests.attnir.catalog.checks import cells, kept

BACKENDS = ["torch", "triton"]
HEADS, WIDTH = 2, 8
SMALL = {kind: an.Config(32, 32, 4, 1) for kind in ("forward", "dq", "dkv")}
Logit = Callable[[int, int, int], Tensor | None]  # of a head and a pair; None: the pair is not there
Call = Callable[[], Tensor]


def leaves(seed: int, **shapes: tuple[int, ...]) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return {n: torch.randn(shape, generator=g, dtype=torch.float64).requires_grad_() for n, shape in shapes.items()}


def weighed(logit: Logit, v: Tensor) -> Tensor:
    """softmax(logit) v of one sample, pair by pair."""
    queries, keys = range(v.shape[-2]), range(v.shape[-2])
    none = torch.tensor(-torch.inf, dtype=v.dtype)
    heads = []
    for h in range(HEADS):
        found = [[none if (one := logit(h, i, j)) is None else one for j in keys] for i in queries]
        heads.append(torch.stack([torch.stack(row) for row in found]).softmax(-1) @ v[0, h])
    return torch.stack(heads)[None]


def agree(ours: Call, formula: Call, given: dict[str, Tensor]) -> None:
    """Outputs, and the gradients of every tensor."""
    found, expected = ours(), formula()
    torch.testing.assert_close(found.double(), expected, rtol=2e-5, atol=2e-5)
    do = torch.randn(expected.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    mine, wanted = (torch.autograd.grad((o.double() * do).sum(), list(given.values())) for o in (found, expected))
    for name, gradient, dense in zip(given, mine, wanted, strict=True):
        assert dense.any(), name
        torch.testing.assert_close(gradient, dense, rtol=1e-4, atol=1e-4, msg=lambda text, n=name: f"d{n}: {text}")


def attention(pattern: an.Mask | an.Pattern, backend: str) -> Any:
    return an.compile(pattern, backend=backend, config=SMALL if backend == "triton" else None)


def single(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(t.float() for t in tensors)


def qkv(tokens: int) -> dict[str, tuple[int, ...]]:
    return dict.fromkeys("qkv", (1, HEADS, tokens, WIDTH))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shift", [0, 2])
def test_swin_adds_its_table(shift: int, backend: str) -> None:
    """B[h, (dy + M - 1)(2M - 1) + dx + M - 1], dy = qy - ky, within windows that nothing wraps into."""
    size, m = 6, 3
    tokens = cells(size, size)
    x = leaves(0, **qkv(size * size), bias=(HEADS, (2 * m - 1) ** 2))
    q, k, v, bias = x.values()

    def group(y: int) -> int:
        return (y + m - shift) // m if shift else y // m

    def logit(h: int, i: int, j: int) -> Tensor | None:
        (qy, qx), (ky, kx) = tokens[i], tokens[j]
        if (group(qy), group(qx)) != (group(ky), group(kx)):
            return None
        at = (qy - ky + m - 1) * (2 * m - 1) + qx - kx + m - 1
        return WIDTH**-0.5 * q[0, h, i] @ k[0, h, j] + bias[h, at]

    pattern = an.catalog.build("swin", height=size, width=size, window=m, shift=shift, relative=True)
    attn = attention(pattern, backend)
    table = 2 * m - 1
    agree(lambda: attn(*single(q, k, v), bias=bias.float().view(HEADS, table, table)), lambda: weighed(logit, v), x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_halo_adds_products_with_embeddings_of_distances(backend: str) -> None:
    """scale * q . (R_h[dy] + R_w[dx]), tables of 2 (b + 2h) - 1 rows that heads share."""
    size, b, halo = 6, 2, 1
    tokens, rows = cells(size, size), 2 * (b + 2 * halo) - 1
    x = leaves(1, **qkv(size * size), r_h=(rows, WIDTH), r_w=(rows, WIDTH))
    q, k, v, r_h, r_w = x.values()

    def logit(h: int, i: int, j: int) -> Tensor | None:
        for query, key in zip(tokens[i], tokens[j], strict=True):
            if not query // b * b - halo <= key <= query // b * b + b - 1 + halo:
                return None
        dy, dx = (key - query for query, key in zip(tokens[i], tokens[j], strict=True))
        return WIDTH**-0.5 * q[0, h, i] @ (k[0, h, j] + r_h[dy + rows // 2] + r_w[dx + rows // 2])

    attn = attention(an.catalog.build("halo", height=size, width=size, block=b, halo=halo, relative=True), backend)

    def ours() -> Tensor:
        qy, qx = (WIDTH**-0.5 * q @ r.transpose(-1, -2) for r in (r_h, r_w))
        return attn(*single(q, k, v), qy=qy.float(), qx=qx.float())

    agree(ours, lambda: weighed(logit, v), x)


def test_halo_counts_distances_from_the_image_where_it_is_padded() -> None:
    """With keys of zeros around the image the term is that of the image's own coordinates."""
    size, b, halo = 4, 2, 1
    pattern = an.catalog.build("halo", height=size, width=size, block=b, halo=halo, border="zero_key", relative=True)
    tokens, padded, rows = cells(size, size), cells(size + 2 * halo, size + 2 * halo), 2 * (b + 2 * halo) - 1
    q, k, v, qy, qx = leaves(
        2,
        q=(1, 1, len(tokens), WIDTH),
        k=(1, 1, len(padded), WIDTH),
        v=(1, 1, len(padded), WIDTH),
        qy=(1, 1, len(tokens), rows),
        qx=(1, 1, len(tokens), rows),
    ).values()
    o = an.compile(pattern)(*single(q, k, v), qy=qy.float(), qx=qx.float())
    for i, (y, x) in enumerate(tokens):
        seen = [
            (j, ky - halo - y, kx - halo - x)
            for j, (ky, kx) in enumerate(padded)
            if all(a // b * b <= at < a // b * b + b + 2 * halo for a, at in ((y, ky), (x, kx)))
        ]
        logits = torch.stack(
            [
                WIDTH**-0.5 * q[0, 0, i] @ k[0, 0, j] + qy[0, 0, i, dy + rows // 2] + qx[0, 0, i, dx + rows // 2]
                for j, dy, dx in seen
            ]
        )
        expected = logits.softmax(0) @ v[0, 0, [j for j, *_ in seen]]
        torch.testing.assert_close(o[0, 0, i].double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("window", [1, 10])
def test_mvpa_is_its_three_terms(window: int, backend: str) -> None:
    """[D_t <= window or t_q == T - 1] (q + u) . k + (q + v) . Kt[T - 1 - D_t] + (q + w) . Kc[C - 1 - D_c]."""
    steps, channels = 8, 4
    tokens = cells(steps, channels)
    shapes = qkv(len(tokens)) | dict.fromkeys(("u", "vv", "w"), (HEADS, WIDTH))
    x = leaves(3, **shapes, kt=(steps, WIDTH), kc=(channels, WIDTH))
    q, k, v, u, vv, w, kt, kc = x.values()
    scale = WIDTH**-0.5

    def logit(h: int, i: int, j: int) -> Tensor | None:
        (tq, cq), (tk, ck) = tokens[i], tokens[j]
        if tk > tq:
            return None
        positional = (q[0, h, i] + vv[h]) @ kt[steps - 1 - (tq - tk)]
        positional = positional + (q[0, h, i] + w[h]) @ kc[channels - 1 - abs(cq - ck)]
        near = tq - tk <= window or tq == steps - 1
        return scale * (positional + (q[0, h, i] + u[h]) @ k[0, h, j] if near else positional)

    attn = attention(an.catalog.build("mvpa", steps=steps, channels=channels, window=window), backend)

    def ours() -> Tensor:
        uk = scale * (k @ u[:, :, None])[..., 0]
        qt, qc = scale * (q + vv[:, None]) @ kt.T, scale * (q + w[:, None]) @ kc.T
        return attn(*single(q, k, v), uk=uk.float(), qt=qt.float(), qc=qc.float())

    agree(ours, lambda: weighed(logit, v), x)


def test_mvpa_keeps_what_the_specification_says() -> None:
    """51 % of the pairs; with a content term 21.4 % of them."""
    steps, channels = 50, 4
    n = steps * channels
    zeros = {"uk": torch.zeros(1, 1, n), "qt": torch.zeros(1, 1, n, steps), "qc": torch.zeros(1, 1, n, channels)}
    pattern = an.catalog.build("mvpa", steps=steps, channels=channels)
    assert kept(pattern, n, **zeros) == 51
    call = pattern.signature.bind(zeros | {"uk": torch.ones(1, 1, n)}, batch=1, heads=1, q_len=n, k_len=n)
    content = dense_score(pattern.score, call)(torch.zeros(1, 1, n, n)) * dense_mask(pattern.predicate, call)
    assert round(100 * float(content.sum()) / n**2, 1) == 21.4


@pytest.mark.parametrize("backend", BACKENDS)
def test_gpsa_is_the_mixture_of_two_attentions(backend: str) -> None:
    """o = (1 - g) P1 v + g P2 v, g = sigmoid(lam), P2 = softmax(w . [dx, dy, dx^2 + dy^2] + b)."""
    height, width = 5, 6
    tokens = cells(height, width)
    x = leaves(4, **qkv(len(tokens)), w=(HEADS, 3), lam=(HEADS,))
    q, k, v, w, lam = x.values()
    bias = torch.tensor([3.0, -1.0], dtype=torch.float64)  # of a head; it changes no weight

    def by_content(h: int, i: int, j: int) -> Tensor:
        return WIDTH**-0.5 * q[0, h, i] @ k[0, h, j]

    def by_place(h: int, i: int, j: int) -> Tensor:
        dy, dx = (key - query for query, key in zip(tokens[i], tokens[j], strict=True))
        return w[h] @ torch.tensor([dx, dy, dx * dx + dy * dy], dtype=torch.float64) + bias[h]

    plain, placed = (attention(p, backend) for p in (an.full(), an.catalog.build("gpsa", height=height, width=width)))
    gate = torch.sigmoid(lam)[:, None, None]

    def ours() -> Tensor:
        inputs, g = single(q, k, v), torch.sigmoid(lam)[:, None, None].float()
        return (1 - g) * plain(*inputs) + g * placed(*inputs, w=w.float())

    agree(ours, lambda: (1 - gate) * weighed(by_content, v) + gate * weighed(by_place, v), x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_positional_half_gives_queries_and_keys_no_gradient(backend: str) -> None:
    q, k, v = (t.float().detach().requires_grad_() for t in leaves(5, **qkv(16)).values())
    o = attention(an.catalog.build("gpsa", height=4, width=4), backend)(q, k, v, w=torch.ones(HEADS, 3))
    dq, dk, dv = torch.autograd.grad(o.sum(), (q, k, v))
    assert not dq.any() and not dk.any() and dv.any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_design_edit_takes_a_resized_mask_as_it_is(backend: str) -> None:
    """S = (1 - m_k) * q . k * scale, m resized bilinearly."""
    x = leaves(6, **qkv(16))
    q, k, v = x.values()
    painted = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    painted[..., 1:6, 2:7] = 1
    m = torch.nn.functional.interpolate(painted, size=(4, 4), mode="bilinear").view(1, 16).requires_grad_()
    assert ((m > 0) & (m < 1)).any()
    attn = attention(an.catalog.build("design-edit", soft=True), backend)
    agree(
        lambda: attn(*single(q, k, v), erased=m.float()),
        lambda: weighed(lambda h, i, j: (1 - m[0, j]) * (q[0, h, i] @ k[0, h, j]) * WIDTH**-0.5, v),
        x | {"m": m},
    )


@pytest.mark.parametrize(
    "declare",
    [
        lambda: an.catalog.build("design-edit", soft=True, hide=True),
        lambda: an.catalog.build("mvpa", steps=4, channels=2, window=-1),
        lambda: an.catalog.build("mvpa", steps=0, channels=2),
        lambda: an.catalog.build("gpsa", height=4, width=0),
    ],
)
def test_what_means_nothing_is_refused(declare: Callable[[], object]) -> None:
    with pytest.raises(DeclarationError):
        declare()
