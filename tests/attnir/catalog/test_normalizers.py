"""Weights of the catalog, against their definitions, written out over dense matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import attnir as an

N = 12
G = torch.Generator().manual_seed(4)
Q, K, V = (torch.randn(1, 2, N, 16, generator=G) for _ in range(3))
SINK, LEVEL, COLUMN = (torch.randn(shape, generator=G) for shape in ((2,), (2,), (1, 2, N)))
KEEP, GATE, GAIN = torch.randint(0, 3, (1, 2, N, N), generator=G) / 2, COLUMN.sigmoid(), COLUMN[0, :, :3].exp()
KIND = torch.arange(N) // 5

Definition = Callable[[Tensor], Tensor]  # weights, as they meet values, of masked scores [1, 2, N, N]


def _fast(s: Tensor) -> Tensor:
    w = torch.where(s > -torch.inf, 1 + s + s * s / 2, 0.0)
    return w / w.sum(-1, keepdim=True)


def _sunk(s: Tensor) -> Tensor:
    more = torch.cat([s, SINK[None, :, None, None].expand(1, 2, N, 1)], -1)
    return more.softmax(-1)[..., :-1]


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], bool, Definition]] = {
    "sink-logit": ({}, {"sink": SINK}, True, _sunk),
    "sigmoid": ({}, {"level": LEVEL}, True, lambda s: (s + LEVEL[:, None, None]).sigmoid()),
    "relu2": ({}, {}, True, lambda s: s.relu() ** 2),
    "linear": ({}, {}, True, lambda s: torch.where(s > -torch.inf, s, 0.0)),
    "fast": ({}, {}, True, _fast),
    "column-softmax": ({}, {"column": COLUMN}, False, lambda s: (s - COLUMN[:, :, None]).exp()),
    "attend-out": ({}, {"keep": KEEP}, False, lambda s: s.softmax(-1) * KEEP),
    "transfer-msad": ({}, {"dropped": 1}, False, lambda s: s.softmax(-1) * torch.tensor([1.0, 0.0])[:, None, None]),
    "transfer-msad, scaled": (
        {"heads": 2},
        {"dropped": 0},
        False,
        lambda s: s.softmax(-1) * torch.tensor([0.0, 2.0])[:, None, None],
    ),
    "gated": ({}, {"gate": GATE}, True, lambda s: s.softmax(-1) * GATE[..., None]),
    "calibrated-keys": ({}, {"kind": KIND, "gain": GAIN}, True, lambda s: s.softmax(-1) * GAIN[:, KIND][:, None]),
}


@pytest.mark.parametrize("name", CASES)
def test_weights_are_those_of_the_definition(name: str) -> None:
    params, bindings, past, define = CASES[name]
    pattern = an.catalog.build(name.partition(",")[0], **params)
    s = Q @ K.mT / 4
    s = s.masked_fill(torch.ones(N, N).triu(1) > 0, -torch.inf) if past else s
    found = an.compile(pattern, backend="torch")(Q, K, V, **bindings)
    torch.testing.assert_close(found, define(s) @ V, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(an.reference(pattern)(Q, K, V, **bindings).float(), define(s) @ V, rtol=1e-5, atol=1e-5)


def _by_landmarks(s: Tensor, block: int) -> Tensor:
    """The specification's formulas, pair by pair; s [n, n] of all pairs, a query sees the past."""
    p = torch.zeros_like(s)
    for i in range(len(s)):
        own = [j for j in range(i // block * block, i + 1) if j % block != block - 1]
        landmarks = [c * block + block - 1 for c in range(i // block)]
        g = s[i, own + landmarks].softmax(0)
        p[i, own] = g[: len(own)]
        for at, share in zip(landmarks, g[len(own) :], strict=True):
            p[i, at - block + 1 : at] = share * s[i, at - block + 1 : at].softmax(0)
    return p


@pytest.mark.parametrize("backend", ["torch", "reference"])
def test_a_landmark_shares_its_weight_among_its_block(backend: str) -> None:
    q, k, v = (torch.randn(1, 2, 70, 16, generator=G) for _ in range(3))
    p = torch.stack([_by_landmarks(s, 16) for s in (q @ k.mT / 4)[0]])
    torch.testing.assert_close(p.sum(-1), torch.ones(2, 70))
    found = an.compile(an.catalog.build("landmark", block=16), backend=backend)(q, k, v)
    torch.testing.assert_close(found, (p @ v), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("past", [True, False])
@pytest.mark.parametrize("name", ["sink-logit", "sigmoid", "relu2", "linear", "fast", "gated"])
def test_what_a_query_sees_may_be_all(name: str, past: bool) -> None:
    assert str(an.pattern(an.catalog.build(name, past=past)).mask) == ("k <= q" if past else "True")


def test_dropout_has_the_mean_of_none_and_drops_the_share() -> None:
    pattern = an.catalog.build("attn-dropout", rate=0.25)
    attn, plain = an.compile(pattern), an.compile(an.causal())(Q, K, V)
    mean = torch.stack([attn(Q, K, V, seed=i) for i in range(400)]).mean(0)
    assert float((mean - plain).abs().max()) < 0.35
    assert float((mean - plain).abs().mean()) < 0.03


def test_softmax_over_columns_with_its_gradient() -> None:
    """The lse of the transposed pattern is a column's; its gradient flows through it. The specification's formulas."""
    mask = an.causal()
    leaves = [t.clone().double().requires_grad_() for t in (Q, K, V)]
    s = leaves[0] @ leaves[1].mT / 4
    s = s.masked_fill(torch.ones(N, N).triu(1) > 0, -torch.inf)
    expected = s.softmax(-2) @ leaves[2]
    do = torch.randn(expected.shape, generator=G, dtype=torch.float64)
    wanted = torch.autograd.grad(expected, leaves, do)
    given = [t.clone().requires_grad_() for t in (Q, K, V)]
    q, k, v = given
    _, column = an.compile(an.transpose(mask))(k, q, q[..., :1], return_lse=True)
    o = an.compile(an.catalog.build("column-softmax", past=True))(q, k, v, column=column)
    torch.testing.assert_close(o.double(), expected, rtol=1e-5, atol=1e-5)
    for found, dense in zip(torch.autograd.grad(o, given, do.float()), wanted, strict=True):
        torch.testing.assert_close(found.double(), dense, rtol=1e-4, atol=1e-5)


def test_a_transposed_pattern_is_the_transposed_matrix() -> None:
    doc, table = an.field("doc", sorted=True), an.tensor("table", "q", "k")
    pattern = an.pattern(
        an.causal() & an.mask(lambda q, k: doc(q) == doc(k) + 1),
        score=an.score(lambda s, q, k: s + table[q, k] + 0.5 * q),
    )
    values = torch.randn(N, N, generator=G)
    ids = torch.arange(N) // 3
    turned = an.transpose(pattern)
    assert an.transpose(turned) == pattern
    bound = {"doc": ids, "table": values}
    _, lse = an.reference(turned)(K, Q, V, return_lse=True, **bound)
    s = Q.double() @ K.double().mT / 4 + values + 0.5 * torch.arange(N)[:, None]
    live = (torch.arange(N)[:, None] >= torch.arange(N)) & (ids[:, None] == ids + 1)
    torch.testing.assert_close(lse, s.masked_fill(~live, -torch.inf).logsumexp(-2))


def test_weights_of_rows_do_not_transpose() -> None:
    with pytest.raises(an.errors.DeclarationError, match="belong to rows"):
        an.transpose(an.catalog.build("sink-logit"))
