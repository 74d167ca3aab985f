"""The entries that are graphs: what they choose beside their definitions, and what they compute of it.

Definitions are written down here in plain torch, pair by pair or row by row, in float64; the choice is a search over
Python numbers. Inputs are small integers where equal scores are wanted.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import attnir as an
from attnir.catalog.levels import _sample
from attnir.errors import DeclarationError, ShapeError

D = 8
GRAPHS = an.catalog.names(graphs=True)


def tensors(batch: int, heads: int, kv_heads: int, q_len: int, k_len: int, seed: int = 0) -> list[Tensor]:
    g = torch.Generator().manual_seed(seed)
    sizes = ((heads, q_len), (kv_heads, k_len), (kv_heads, k_len))
    return [torch.randn(batch, h, n, D, generator=g) for h, n in sizes]


@pytest.mark.parametrize("backend", ["torch", "triton"])
@pytest.mark.parametrize("name", GRAPHS)
def test_the_example_and_its_gradients_are_those_of_the_dense_meaning(name: str, backend: str) -> None:
    """q, k, v, and every real tensor that the example binds. Lists are those of float32 in both."""
    entry = an.catalog.get(name)
    x, graph = entry.example, entry.build(**entry.example.params)
    given: dict[str, Any] = dict(
        zip("qkv", tensors(x.batch, x.heads, x.heads, x.q_len, x.k_len or x.q_len), strict=True)
    )
    given |= x.bindings
    leaves = {
        n: t.clone().requires_grad_() for n, t in given.items() if isinstance(t, Tensor) and t.is_floating_point()
    }
    given |= leaves
    o, dense = an.compile(graph, backend=backend)(**given), an.reference(graph)(**given)
    assert o.dtype is torch.float32 and dense.dtype is torch.float64
    torch.testing.assert_close(o.double(), dense, atol=1e-5, rtol=1e-5)
    do = torch.randn(o.shape, generator=torch.Generator().manual_seed(1))
    found, wanted = (
        torch.autograd.grad(r, list(leaves.values()), do.to(r.dtype), allow_unused=True, materialize_grads=True)
        for r in (o, dense)
    )
    for leaf, a, b in zip(leaves, found, wanted, strict=True):
        torch.testing.assert_close(a, b.float(), atol=2e-5, rtol=2e-5, msg=lambda m, leaf=leaf: f"{leaf}: {m}")


@pytest.mark.parametrize("name", GRAPHS)
def test_the_example_is_explained(name: str) -> None:
    entry = an.catalog.get(name)
    x = entry.example
    attention = an.compile(entry.build(**x.params))
    graph = attention.graph
    explained = attention.explain(x.q_len, x.k_len, heads=x.heads, d=D, **x.bindings)
    assert explained.flops > 0 and len(explained.attentions) == sum(
        str(n.stage.text).startswith("attend") for n in graph.nodes
    )
    assert str(explained).startswith(str(graph)) and entry.summary.endswith(".")


def softmax(live: Tensor, scores: Tensor, v: Tensor) -> Tensor:
    """Masked softmax, a row without a live key 0."""
    weights = torch.where(live, scores, -torch.inf)
    some = live.any(-1, keepdim=True)
    return torch.where(some, torch.where(some, weights, 0.0).softmax(-1), 0.0) @ v


def spread(*ts: Tensor, heads: int) -> list[Tensor]:
    return [t.double().repeat_interleave(heads // t.shape[1], 1) for t in ts]


def scores_of(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.mT * D**-0.5


def best(scores: dict[Any, float], k: int) -> set[Any]:
    """The k members with the largest scores; of equal ones the lower."""
    return set(sorted(scores, key=lambda m: (-scores[m], m))[:k])


def chosen(choose: Callable[[int, int, int], set[int]], shape: torch.Size, members: int) -> Tensor:
    """[B, H, rows, members]: which members a search takes for each row."""
    live = torch.zeros(*shape[:3], members, dtype=torch.bool)
    for b in range(shape[0]):
        for h in range(shape[1]):
            for t in range(shape[2]):
                live[b, h, t, list(choose(b, h, t))] = True
    return live


def causal_of(q_len: int, k_len: int, q_start: int) -> Tensor:
    return torch.arange(k_len) <= (q_start + torch.arange(q_len))[:, None]


def check(name: str, params: dict[str, Any], given: list[Tensor], expected: Tensor, **more: Any) -> None:
    """What an entry computes is what its definition says."""
    found = an.compile(an.catalog.build(name, **params))(*given, **more)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)


SIZES = [(40, 40), (37, 37), (5, 40), (1, 9)]  # queries and keys, the queries at the end


@pytest.mark.parametrize(("q_len", "k_len"), SIZES)
@pytest.mark.parametrize("k", [1, 2, 99])
def test_moba(q_len: int, k_len: int, k: int) -> None:
    chunk, start = 8, k_len - q_len
    q, key, v = tensors(2, 4, 2, q_len, k_len)
    wide_q, wide_k, wide_v = q.double(), *spread(key, v, heads=4)

    def chunks(b: int, h: int, t: int) -> set[int]:
        own = (start + t) // chunk
        gates = {n: float(wide_q[b, h, t] @ wide_k[b, h, n * chunk : (n + 1) * chunk].mean(0)) for n in range(own)}
        picked = best(gates, k - 1) | {own}
        return {j for j in range(k_len) if j // chunk in picked and j <= start + t}

    live = chosen(chunks, q.shape, k_len)
    check("moba", {"chunk": chunk, "k": k}, [q, key, v], softmax(live, scores_of(wide_q, wide_k), wide_v))


@pytest.mark.parametrize(("q_len", "k_len"), SIZES)
def test_nsa(q_len: int, k_len: int) -> None:
    block, k, window, start = 8, 2, 11, k_len - q_len
    q, key, v = tensors(2, 4, 2, q_len, k_len)
    g = torch.Generator().manual_seed(7)
    gates = {name: torch.rand(2, 4, q_len, generator=g) for name in ("compressed", "selected", "near")}
    wide_q, wide_k, wide_v = q.double(), *spread(key, v, heads=4)
    blocks = -(-k_len // block)
    means = [
        torch.stack([t[:, :, n * block : (n + 1) * block].mean(2) for n in range(blocks)], 2) for t in (wide_k, wide_v)
    ]
    whole = torch.arange(blocks) * block + block - 1 <= (start + torch.arange(q_len))[:, None]
    products = scores_of(wide_q, means[0])
    weights = torch.where(whole.any(-1, keepdim=True), torch.where(whole, products, -1e300).softmax(-1), 0.0) * whole

    def tokens(b: int, h: int, t: int) -> set[int]:
        own = (start + t) // block
        group = range(h // 2 * 2, h // 2 * 2 + 2)
        seen = {n: sum(float(weights[b, g, t, n]) for g in group) for n in range(blocks) if whole[t, n] and n != own}
        picked = best(seen, k - 1) | {own}
        return {j for j in range(k_len) if j // block in picked and j <= start + t}

    s = scores_of(wide_q, wide_k)
    places = torch.arange(k_len)
    near = causal_of(q_len, k_len, start) & ((start + torch.arange(q_len))[:, None] - places < window)
    parts = {
        "compressed": softmax(whole.expand(2, 4, -1, -1), products, means[1]),
        "selected": softmax(chosen(tokens, q.shape, k_len), s, wide_v),
        "near": softmax(near.expand(2, 4, -1, -1), s, wide_v),
    }
    expected = sum((gates[name].double()[..., None] * o for name, o in parts.items()), torch.zeros(()).double())
    check("nsa", {"block": block, "k": k, "window": window}, [q, key, v], expected, **gates)


@pytest.mark.parametrize(("q_len", "k_len"), SIZES)
@pytest.mark.parametrize("past", [True, False])
@pytest.mark.parametrize("k", [1, 5, 99])
def test_topk_row(q_len: int, k_len: int, past: bool, k: int) -> None:
    """Small integers: many scores are equal."""
    q, key, v = (t.round() for t in tensors(2, 2, 1, q_len, k_len))
    wide_q, wide_k, wide_v = q.double(), *spread(key, v, heads=2)
    start = k_len - q_len

    def keys(b: int, h: int, t: int) -> set[int]:
        seen = range(start + t + 1 if past else k_len)
        return best({j: float(wide_q[b, h, t] @ wide_k[b, h, j]) for j in seen}, k)

    live = chosen(keys, q.shape, k_len)
    expected = softmax(live, scores_of(wide_q, wide_k), wide_v)
    check("topk-row", {"k": k, "past": past}, [q, key, v], expected)
    identity = torch.eye(D)
    if past:
        check("loki", {"k": k}, [q, key, v], expected, directions=identity)


def test_loki_chooses_by_few_directions_and_weighs_by_all() -> None:
    q, key, v = tensors(1, 2, 1, 30, 30)
    directions = torch.randn(1, D, 3, generator=torch.Generator().manual_seed(3))
    wide_q, wide_k, wide_v = q.double(), *spread(key, v, heads=2)
    low = (wide_q @ directions[0].double()) @ (wide_k @ directions[0].double()).mT

    def keys(b: int, h: int, t: int) -> set[int]:
        return best({j: float(low[b, h, t, j]) for j in range(t + 1)}, 4)

    expected = softmax(chosen(keys, q.shape, 30), scores_of(wide_q, wide_k), wide_v)
    check("loki", {"k": 4}, [q, key, v], expected, directions=directions)


@pytest.mark.parametrize("p", [0.3, 0.8, 1.0])
def test_topp_row(p: float) -> None:
    q, key, v = tensors(2, 2, 2, 30, 30)
    s = scores_of(q.double(), key.double())
    weights = torch.where(causal_of(30, 30, 0), s, -torch.inf).softmax(-1)

    def keys(b: int, h: int, t: int) -> set[int]:
        picked, total = set(), 0.0
        for j in sorted(range(t + 1), key=lambda j: (-float(weights[b, h, t, j]), j)):
            if total >= p - 1e-6:
                break
            picked.add(j)
            total += float(weights[b, h, t, j])
        return picked

    check("topp-row", {"p": p}, [q, key, v], softmax(chosen(keys, q.shape, 30), s, v.double()))


def test_stkim_drops_of_the_largest_alone_about_as_many_as_it_says() -> None:
    k, n = 6, 64
    q, key, _ = tensors(1, 2, 2, n, n)
    v = torch.eye(n).expand(1, 2, n, n)
    attn = an.compile(an.catalog.build("stkim", k=k, rate=0.4))
    weights = attn(q, key, v, seed=3)
    largest = torch.zeros(1, 2, n, n, dtype=torch.bool)
    for h in range(2):
        for t in range(n):
            seen = {j: float(q[0, h, t] @ key[0, h, j]) for j in range(t + 1)}
            largest[0, h, t, list(best(seen, k))] = True
    dropped = (weights == 0) & causal_of(n, n, 0)
    assert not (dropped & ~largest).any()
    count, of = int(dropped.sum()), int(largest.sum())
    assert abs(count - 0.4 * of) < 4 * (0.24 * of) ** 0.5
    kept = ~dropped & causal_of(n, n, 0)
    torch.testing.assert_close(
        weights.double(), softmax(kept, scores_of(q.double(), key.double()), v.double()), atol=1e-5, rtol=1e-5
    )
    assert not torch.equal(weights, attn(q, key, v, seed=4))
    everything = an.compile(an.catalog.build("stkim", k=n, rate=1))(q, key, v, seed=3)
    assert torch.equal(everything, torch.zeros_like(everything))


@pytest.mark.parametrize("by_row", [True, False])
def test_dma(by_row: bool) -> None:
    """The k largest biases of what a query sees, or of all; a bias of few values, so that many are equal."""
    q, key, v = tensors(2, 4, 2, 30, 30)
    bias = torch.randn(2, 4, 30, generator=torch.Generator().manual_seed(5)).round()
    wide_q, wide_k, wide_v = q.double(), *spread(key, v, heads=4)

    def keys(b: int, h: int, t: int) -> set[int]:
        seen = range(t + 1 if by_row else 30)
        return {j for j in best({j: float(bias[b, h, j]) for j in seen}, 7) if j <= t}

    s = scores_of(wide_q, wide_k) + bias.double()[:, :, None]
    check("dma", {"k": 7, "by_row": by_row}, [q, key, v], softmax(chosen(keys, q.shape, 30), s, wide_v), bias=bias)


@pytest.mark.parametrize("m", [1, 9, 99])
def test_tangnn(m: int) -> None:
    q, key, v = tensors(2, 4, 2, 21, 33)
    direction = torch.randn(D, generator=torch.Generator().manual_seed(5))
    wide_q, wide_k, wide_v = q.double(), *spread(key, v, heads=4)
    cosine = torch.nn.functional.cosine_similarity(wide_k.relu(), direction.double(), dim=-1)

    def keys(b: int, h: int, t: int) -> set[int]:
        return best({j: float(cosine[b, h, j]) for j in range(33)}, m)

    live = chosen(keys, q.shape, 33)
    check("tangnn", {"m": m}, [q, key, v], softmax(live, scores_of(wide_q, wide_k), wide_v), direction=direction)


def test_nothing_is_scaled_where_no_head_is_dropped() -> None:
    q, key, v = tensors(1, 4, 4, 20, 20)
    attn = an.compile(an.catalog.build("transfer-msad", heads=4))
    plain = an.compile(an.full())(q, key, v)
    torch.testing.assert_close(attn(q, key, v, dropped=-1), plain)
    dropped = attn(q, key, v, dropped=2)
    assert not dropped[:, 2].any()
    torch.testing.assert_close(dropped[:, :2], plain[:, :2] * 4 / 3)


@pytest.mark.parametrize("special", [0, 1, 2])
def test_sparsifiner(special: int) -> None:
    q, key, v = tensors(1, 2, 2, 20, 20)
    connected = torch.randn(1, 2, 20, 20, generator=torch.Generator().manual_seed(5)).round()

    def keys(b: int, h: int, t: int) -> set[int]:
        return set(range(20)) if t < special else best({j: float(connected[b, h, t, j]) for j in range(20)}, 5)

    expected = softmax(chosen(keys, q.shape, 20), scores_of(q.double(), key.double()), v.double())
    check("sparsifiner", {"k": 5, "special": special}, [q, key, v], expected, connected=connected)


@pytest.mark.parametrize(("q_len", "k_len"), [(40, 40), (9, 30)])
@pytest.mark.parametrize("past", [True, False])
def test_routing_transformer(q_len: int, k_len: int, past: bool) -> None:
    """Centroids pick; each cluster is a softmax of its own; a token has the sum over its clusters / (count + eps)."""
    w, eps, start = 7, 1e-2, k_len - q_len
    q, key, v = tensors(2, 4, 2, q_len, k_len)
    centroids = torch.randn(4, 3, D, generator=torch.Generator().manual_seed(5))
    wide_q, wide_k, wide_v = q.double(), *spread(key, v, heads=4)
    expected = torch.zeros(2, 4, q_len, D, dtype=torch.float64)
    for b in range(2):
        for h in range(4):
            total, count = torch.zeros(q_len, D).double(), torch.zeros(q_len, 1).double()
            for c in centroids[h].double():
                rows, keys = (
                    sorted(best({t: float(x[b, h, t] @ c) for t in range(x.shape[2])}, w)) for x in (wide_q, wide_k)
                )
                live = torch.tensor([[start + i >= j or not past for j in keys] for i in rows])
                s = wide_q[b, h, rows] @ wide_k[b, h, keys].mT * D**-0.5
                total[rows] += softmax(live, s, wide_v[b, h, keys])
                count[rows] += 1
            expected[b, h] = torch.where(count > 0, total / (count + eps), 0.0)
    params = {"tokens": w, "eps": eps, "past": past}
    check("routing-transformer", params, [q, key, v], expected, centroids=centroids)
    attn, shared = an.compile(an.catalog.build("routing-transformer", **params)), centroids[0]
    torch.testing.assert_close(attn(q, key, v, centroids=shared), attn(q, key, v, centroids=shared.expand(4, -1, -1)))


@pytest.mark.parametrize("past", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_scfa_qk(past: bool, share: float) -> None:
    q, key, v = tensors(2, 4, 2, 25, 40)
    g = torch.Generator().manual_seed(5)
    keep_q, keep_k = (torch.rand(2, 4, n, generator=g) < share for n in (25, 40))
    wide_q, wide_k, wide_v = q.double(), *spread(key, v, heads=4)
    live = keep_q[..., None] & keep_k[:, :, None]
    live = live & causal_of(25, 40, 15) if past else live
    expected = softmax(live, scores_of(wide_q, wide_k), wide_v)
    check("scfa-qk", {"past": past}, [q, key, v], expected, keep_q=keep_q, keep_k=keep_k)


def test_scfa_hash() -> None:
    q, key, v = tensors(2, 4, 2, 40, 40)
    directions = torch.randn(D, 2, generator=torch.Generator().manual_seed(5))
    wide_q, wide_k, wide_v = q.double(), *spread(key, v, heads=4)
    of_q, of_k = (
        torch.cat([x @ directions.double(), -x @ directions.double()], -1).argmax(-1) for x in (wide_q, wide_k)
    )
    live = (of_q[..., None] == of_k[:, :, None]) & causal_of(40, 40, -1)
    assert not live[:, :, 0].any()
    expected = softmax(live, scores_of(wide_q, wide_k), wide_v)
    for each in (directions, directions.expand(2, -1, -1), directions.expand(4, -1, -1)):
        check("scfa-hash", {}, [q, key, v], expected, directions=each)


@pytest.mark.parametrize("past", [True, False])
def test_moh(past: bool) -> None:
    q, key, v = tensors(2, 4, 2, 30, 30)
    gate = torch.randn(2, 4, 30, generator=torch.Generator().manual_seed(5)).relu()
    wide_q, wide_k, wide_v = q.double(), *spread(key, v, heads=4)
    live = (causal_of(30, 30, 0) if past else torch.ones(30, 30).bool()).expand(2, 4, -1, -1)
    expected = gate.double()[..., None] * softmax(live, scores_of(wide_q, wide_k), wide_v)
    check("moh", {"past": past}, [q, key, v], expected, gate=gate)


def test_linformer_and_nystrom() -> None:
    q, key, v = tensors(1, 2, 2, 32, 32)
    g = torch.Generator().manual_seed(5)
    to_k, to_v = torch.randn(8, 32, generator=g) / 8, torch.randn(2, 8, 32, generator=g) / 8
    wide = [t.double() for t in (q, key, v)]
    expected = scores_of(wide[0], to_k.double() @ wide[1]).softmax(-1) @ (to_v.double() @ wide[2])
    check("linformer", {}, [q, key, v], expected, to_k=to_k, to_v=to_v)
    means = [t.unflatten(2, (4, 8)).mean(3) for t in wide[:2]]
    middle = torch.linalg.inv(scores_of(*means).softmax(-1))
    expected = scores_of(wide[0], means[1]).softmax(-1) @ middle @ scores_of(means[0], wide[1]).softmax(-1) @ wide[2]
    found = an.compile(an.catalog.build("nystrom", block=8, steps=20))(q, key, v)
    torch.testing.assert_close(found.double(), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("channels", [None, 2 * D])
def test_isab_and_pma(channels: int | None) -> None:
    q, key, v = tensors(2, 2, 2, 20, 30)
    seeds = torch.randn(2, 2, 5, D, generator=torch.Generator().manual_seed(5))
    wide_q, wide_k, wide_v = (t.double() for t in (q, key, v))
    wide_q, wide_seeds = (t if channels is None else t * 2**-0.5 for t in (wide_q, seeds.double()))
    induced = scores_of(wide_seeds, wide_k).softmax(-1) @ wide_v
    params = {"channels": channels}
    check("isab", params, [q, key, v], scores_of(wide_q, induced).softmax(-1) @ induced, seeds=seeds)
    check("pma", params, [q, key, v], scores_of(wide_q, wide_k).softmax(-1) @ wide_v)


@pytest.mark.parametrize("n", [7, 8, 29, 32])
def test_combiner(n: int) -> None:
    segment = 8
    q, key, v = tensors(2, 4, 2, n, n)
    wide_q, wide_k, wide_v = q.double(), *spread(key, v, heads=4)
    pieces = [[t.split(segment, 2) for t in (wide_q, wide_k, wide_v)]][0]
    keys = torch.stack([x.mean(2) for x in pieces[1]], 2)
    values = torch.stack(
        [(scores_of(a.mean(2, keepdim=True), b).softmax(-1) @ c)[:, :, 0] for a, b, c in zip(*pieces, strict=True)], 2
    )
    at = torch.arange(n)
    near = causal_of(n, n, 0) & (at // segment == at[:, None] // segment)
    far = torch.arange(keys.shape[2]) < at[:, None] // segment
    live = torch.cat([near, far], -1).expand(2, 4, -1, -1)
    s = torch.cat([scores_of(wide_q, wide_k), scores_of(wide_q, keys)], -1)
    check("combiner", {"segment": segment}, [q, key, v], softmax(live, s, torch.cat([wide_v, values], 2)))


@pytest.mark.parametrize("n", [1, 2, 7, 29, 32])
def test_combiner_by_bits(n: int) -> None:
    q, key, v = tensors(2, 4, 2, n, n)
    wide_q, (wide_k, wide_v) = q.double(), spread(key, v, heads=4)
    rows = []
    for i in range(n):
        keys, values, start = [wide_k[:, :, i]], [wide_v[:, :, i]], 0
        for size in (2**bit for bit in reversed(range(5)) if i >> bit & 1):
            block = slice(start, start + size)
            of_query = wide_q[:, :, block].mean(2, keepdim=True)
            keys.append(wide_k[:, :, block].mean(2))
            seen = scores_of(of_query, wide_k[:, :, block]).softmax(-1) @ wide_v[:, :, block]
            values.append(seen[:, :, 0])
            start += size
        assert start == i, "all that comes before is in one of them"
        s = scores_of(wide_q[:, :, i : i + 1], torch.stack(keys, 2))
        rows.append(s.softmax(-1) @ torch.stack(values, 2))
    check("combiner-log-n", {"most": 32}, [q, key, v], torch.cat(rows, 2))


@pytest.mark.parametrize("n", [1, 5, 8, 29, 32])
def test_combiner_by_axes(n: int) -> None:
    width = 6
    q, key, v = tensors(2, 4, 2, n, n)
    wide_q, (wide_k, wide_v) = q.double(), spread(key, v, heads=4)
    rows = []
    for i in range(n):
        row, column = divmod(i, width)
        own = [j for j in range(i + 1) if j // width == row or j % width == column]
        keys, values, met = [wide_k[:, :, own]], [wide_v[:, :, own]], set(own)
        for other in (c for c in range(width) if c != column and row):
            above = [r * width + other for r in range(row)]
            of_query = wide_q[:, :, above].mean(2, keepdim=True)
            keys.append(wide_k[:, :, above].mean(2, keepdim=True))
            values.append(scores_of(of_query, wide_k[:, :, above]).softmax(-1) @ wide_v[:, :, above])
            met |= set(above)
        assert met == set(range(i + 1)), "a query sees all earlier tokens, in one way or another"
        s = scores_of(wide_q[:, :, i : i + 1], torch.cat(keys, 2))
        rows.append(s.softmax(-1) @ torch.cat(values, 2))
    check("combiner-axial", {"width": width}, [q, key, v], torch.cat(rows, 2))


def test_more_tokens_than_a_combiner_has_bits_for() -> None:
    with pytest.raises(ShapeError, match="33 tokens are more than the 32"):
        an.compile(an.catalog.build("combiner-log-n", most=32))(*tensors(1, 1, 1, 33, 33))


@pytest.mark.parametrize(("q_len", "k_len"), [(1, 100), (64, 64), (40, 100)])
@pytest.mark.parametrize("k", [1, 2, 9])
def test_landmark_retrieval(q_len: int, k_len: int, k: int) -> None:
    block = 16
    q, key, v = tensors(2, 4, 2, q_len, k_len)
    wide_q, (wide_k, wide_v) = q.double(), spread(key, v, heads=4)
    s, start = scores_of(wide_q, wide_k), k_len - q_len
    rows = torch.zeros(2, 4, q_len, k_len, dtype=torch.float64)
    for b, h, i in itertools.product(range(2), range(4), range(q_len)):
        row, own = s[b, h, i], (start + i) // block
        ends = [c * block + block - 1 for c in range(own)]
        retrieved = sorted(sorted(range(own), key=lambda c: (-float(row[ends[c]]), c))[:k])
        mine = [j for j in range(own * block, start + i + 1) if j % block != block - 1]
        if not mine and not retrieved:
            continue
        shares = row[[*mine, *(ends[c] for c in retrieved)]].softmax(0)
        rows[b, h, i, mine] = shares[: len(mine)]
        for c, share in zip(retrieved, shares[len(mine) :], strict=True):
            members = slice(c * block, (c + 1) * block - 1)
            rows[b, h, i, members] = share * row[members].softmax(0)
    check("landmark-retrieval", {"block": block, "k": k}, [q, key, v], rows @ wide_v)


def blocks_of(n: int, size: int) -> int:
    return -(-n // size)


def means_of(x: Tensor, size: int) -> Tensor:
    return torch.stack([part.mean(2) for part in x.split(size, 2)], 2)


@pytest.mark.parametrize("coarse", [True, False])
@pytest.mark.parametrize(("diagonal", "first"), [(True, 0), (False, 0), (False, 1), (True, 1)])
@pytest.mark.parametrize("n", [32, 37])
def test_mra(n: int, diagonal: bool, first: int, coarse: bool) -> None:
    """The pairs of blocks of a head that fit best, exactly so many; the others by their means, from mean queries."""
    block, k = 8, 2
    q, key, v = tensors(2, 4, 2, n, n)
    wide_q, wide_k, wide_v = q.double(), *spread(key, v, heads=4)
    low = scores_of(means_of(wide_q, block), means_of(wide_k, block))
    relative = low - low.amax(-1, keepdim=True)
    rows = blocks_of(n, block)
    exact = torch.zeros(2, 4, rows, rows, dtype=torch.bool)
    for b in range(2):
        for h in range(4):
            forced = {(r, r) for r in range(rows)} if diagonal else set()
            forced |= {(r, c) for r in range(rows) for c in range(first)}
            pairs = {(r, c): float(relative[b, h, r, c]) for r in range(rows) for c in range(rows)}
            others = sorted(pairs.keys() - forced, key=lambda p: (-pairs[p], p))[: max(0, k * rows - len(forced))]
            for r, c in forced | set(others):
                exact[b, h, r, c] = True
    at = torch.arange(n) // block
    fine = exact[:, :, at][..., at]
    counts = torch.tensor([len(part) for part in torch.arange(n).split(block)])
    s = torch.cat([scores_of(wide_q, wide_k), (low + counts.log())[:, :, at]], -1)
    live = torch.cat([fine, ~exact[:, :, at] if coarse else torch.zeros_like(exact[:, :, at])], -1)
    expected = softmax(live, s, torch.cat([wide_v, means_of(wide_v, block)], 2))
    params = {"block": block, "k": k, "coarse": coarse, "diagonal": diagonal, "first": first}
    check("mra", params, [q, key, v], expected)


@pytest.mark.parametrize("past", [True, False])
@pytest.mark.parametrize("of", ["blocks", "importance"])
@pytest.mark.parametrize(("q_len", "k_len"), [(64, 64), (21, 50)])
def test_psa_sees_each_block_at_its_level(q_len: int, k_len: int, of: str, past: bool) -> None:
    """Levels by rank, or by what is before, of the importance that the entry itself measures; the rest by hand."""
    query_block, block, quotas, start = 16, 8, (0.25, 0.25, 0.125, 0.25), k_len - q_len
    params = {"query_block": query_block, "block": block, "quotas": quotas, "past": past, "of": of}
    graph = an.catalog.build("psa", **params)
    measure = next(n.stage.function for n in graph.nodes if "importance" in n.stage.text)
    q, key, v = tensors(2, 4, 2, q_len, k_len)
    wide_q, wide_k, wide_v = q.double(), *spread(key, v, heads=4)
    importance = measure(q, key, start)
    units = torch.arange(start, start + q_len) // query_block
    parts, values, lives = [], [], []
    for level, (low, high) in zip((1, 2, 4, 8), ((0.0, 0.25), (0.25, 0.5), (0.5, 0.625), (0.625, 0.875)), strict=True):
        keys = means_of(wide_k, level)
        live = torch.zeros(2, 4, q_len, keys.shape[2], dtype=torch.bool)
        for b in range(2):
            for h in range(4):
                for row in range(q_len):
                    worth = importance[b, h, units[row]].tolist()
                    order = sorted((m for m in range(len(worth)) if worth[m] > -1), key=lambda m: (-worth[m], m))
                    if of == "blocks":
                        first, stop = (int(torch.tensor(x * len(order)).round()) for x in (low, high))
                    else:
                        before = [sum(worth[m] for m in order[:n]) for n in range(len(order))]
                        first, stop = (
                            sum(x < bound * sum(worth[m] for m in order) for x in before) for bound in (low, high)
                        )
                    for j in range(keys.shape[2]):
                        seen = j * level // block in order[first:stop]
                        live[b, h, row, j] = seen and (not past or min((j + 1) * level, k_len) - 1 <= start + row)
        counts = torch.tensor([float(len(part)) for part in torch.arange(k_len).split(level)])
        parts.append(scores_of(wide_q, keys) + counts.log())
        values.append(means_of(wide_v, level))
        lives.append(live)
    check("psa", params, [q, key, v], softmax(torch.cat(lives, -1), torch.cat(parts, -1), torch.cat(values, 2)))


def test_psa_counts_the_last_mean_as_what_it_is_of() -> None:
    """12 keys of equal scores in means of 8 and of 4."""
    q, key = torch.zeros(1, 1, 12, 8), torch.zeros(1, 1, 12, 8)
    v = torch.arange(12.0).view(1, 1, 12, 1).expand(-1, -1, -1, 8)
    attn = an.compile(an.catalog.build("psa", query_block=16, block=8, quotas=(0.0, 0.0, 0.0, 1.0)))
    torch.testing.assert_close(attn(q, key, v), torch.full((1, 1, 12, 8), 5.5))
    with pytest.raises(DeclarationError, match="all 0"):
        an.catalog.build("psa", quotas=(0.0, 0.0, 0.0, 0.0))


def test_psa_measures_importance_as_its_definition_says() -> None:
    """All tokens sampled, where a block is 4 and its quarter 1, at the tokens that are drawn."""
    graph = an.catalog.build("psa", query_block=16, block=8)
    measure = next(n.stage.function for n in graph.nodes if "importance" in n.stage.text)
    q, key, _ = tensors(1, 2, 1, 32, 32)
    rows, keys = _sample(0, 32, 16, 0, q.device), _sample(0, 32, 8, 1, q.device)
    assert rows.shape == (2, 4) and keys.shape == (4, 2)
    assert all(set((r // 16).tolist()) == {i} for i, r in enumerate(rows)) and len(set(rows.flatten().tolist())) == 8
    s = scores_of(q.double(), key.double().repeat_interleave(2, 1))
    for b, at in enumerate(rows):
        largest = s[0][:, at][:, :, keys.flatten()].amax(-1)
        for m, of in enumerate(keys):
            expected = (s[0][:, at][:, :, of].amax(-1) - largest).exp().amax(-1)
            torch.testing.assert_close(measure(q, key, 0)[0, :, b, m].double(), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("height", "width", "regions"), [(8, 8, 4), (7, 9, 3), (5, 4, 7)])
@pytest.mark.parametrize("k", [1, 3, 99])
def test_biformer(height: int, width: int, regions: int, k: int) -> None:
    n, high, wide = height * width, blocks_of(height, regions), blocks_of(width, regions)
    q, key, v = tensors(2, 2, 2, n, n)
    wide_q, wide_k, wide_v = q.double(), key.double(), v.double()
    across = blocks_of(width, wide)
    region = torch.tensor([(i // width) // high * across + i % width // wide for i in range(n)])
    count = int(region.max()) + 1
    mean = [torch.stack([x[:, :, region == r].mean(2) for r in range(count)], 2) for x in (wide_q, wide_k)]
    affinity = (mean[0] @ mean[1].mT).sum(1)

    def keys(b: int, h: int, t: int) -> set[int]:
        picked = best({r: float(affinity[b, region[t], r]) for r in range(count)}, k)
        return {j for j in range(n) if int(region[j]) in picked}

    s = wide_q @ wide_k.mT * (2 * D) ** -0.5
    params = {"height": height, "width": width, "regions": regions, "k": k, "channels": 2 * D}
    check("biformer", params, [q, key, v], softmax(chosen(keys, q.shape, n), s, wide_v))


def vmoba_pairs(gates: Tensor, own: Tensor, scope: str, k: int | None, tau: float | None) -> Tensor:
    """Which chunks each query of [B, H, S, chunks] sees, by a search over all that compete."""
    live = torch.zeros_like(gates, dtype=torch.bool)
    heads, rows, count = gates.shape[1:]
    for b in range(gates.shape[0]):
        every = [(h, t, n) for h in range(heads) for t in range(rows) for n in range(count)]
        sort = {
            "row": lambda p: p[:2],
            "block": lambda p: (p[0], p[2]),
            "head": lambda p: p[:1],
            "overall": lambda p: (),
        }[scope]
        for group in {sort(p) for p in every}:
            among = [p for p in every if sort(p) == group]
            value = {p: float(gates[b][p]) for p in among}
            forced = [p for p in among if int(own[p[1]]) == p[2]]
            others = sorted((p for p in among if p not in set(forced)), key=lambda p: (-value[p], p))
            if tau is None:
                assert k is not None
                taken = others[: k * len(forced) - len(forced)]
            else:
                low, high = min(value.values()), max(value.values())
                share = {p: (x - low) / max(high - low, 1e-30) for p, x in value.items()}
                total = max(sum(share.values()), 1e-30)
                remaining, cumulated, taken = max(0.0, tau - sum(share[p] for p in forced) / total), 0.0, []
                for p in others:
                    taken.append(p)
                    cumulated += share[p] / total
                    if cumulated >= remaining:
                        break
            for h, t, n in (*forced, *taken):
                live[b, h, t, n] = True
    return live


@pytest.mark.parametrize("scope", ["row", "block", "head", "overall"])
@pytest.mark.parametrize(("k", "tau"), [(1, None), (2, None), (9, None), (1, 0.0), (1, 0.3), (1, 0.8)])
@pytest.mark.parametrize("chunk", [(1, 4, 4), (2, 2, 4), (2, 2, 2)])
def test_vmoba(scope: str, k: int, tau: float | None, chunk: tuple[int, int, int]) -> None:
    sizes = (2, 4, 4)
    n = 32
    q, key, v = tensors(2, 2, 1, n, n)
    wide_q, wide_k, wide_v = q.double(), *spread(key, v, heads=2)
    counts = [size // part for size, part in zip(sizes, chunk, strict=True)]
    place = [(i // 16, i // 4 % 4, i % 4) for i in range(n)]
    cell = [[x // part for x, part in zip(at, chunk, strict=True)] for at in place]
    own = torch.tensor([(t * counts[1] + y) * counts[2] + x for t, y, x in cell])
    count = int(own.max()) + 1
    # Of equal scores the lower comes first in the order of chunks, in which queries stand as well.
    order = sorted(range(n), key=lambda i: (int(own[i]), place[i]))
    gates = wide_q @ torch.stack([wide_k[:, :, own == c].mean(2) for c in range(count)], 2).mT
    sorted_pairs = vmoba_pairs(gates[:, :, order], own[order], scope, None if tau else k, tau)
    chunks = torch.empty_like(sorted_pairs)
    chunks[:, :, order] = sorted_pairs
    params = {"frames": 2, "height": 4, "width": 4, "chunk": chunk, "k": k, "scope": scope, "tau": tau}
    check("vmoba", params, [q, key, v], softmax(chunks[..., own], scores_of(wide_q, wide_k), wide_v))


def test_portion_of_the_sheet() -> None:
    """Own .5, others .9 .4 .2: a share of .25 takes one other, .75 takes two; the least and the largest are 0 and 1.

    Own .2, others .9 .5 .1: a share of 0 or .25 takes one other, .8 two.
    """
    first, second = (0.5, 0.9, 0.4, 0.2, 0.0, 1.0), (0.2, 0.9, 0.5, 0.1)
    shares = [
        (first, tau, found) for tau, found in ((0.1, {0, 5}), (0.5, {0, 5}), (0.75, {0, 5, 1}), (0.9, {0, 5, 1, 2}))
    ]
    shares += [(second, tau, found) for tau, found in ((0.0, {0, 1}), (0.25, {0, 1}), (0.8, {0, 1, 2}))]
    for values, tau, expected in shares:
        gates = torch.tensor(values)[None, None, None]
        q, k = torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, len(values), 2)
        r = an.route.blocks(
            an.route.portion(tau),
            block=1,
            query_block=1,
            score=an.route.given("gates"),
            forced=[an.route.first()],
            counted=True,
        )
        assert {m for m in r.lists(q, k, q_start=0, gates=gates).flatten().tolist() if m >= 0} == expected, tau


@pytest.mark.parametrize(("q_len", "k_len", "tied"), [(64, 64, False), (30, 90, False), (64, 64, True)])
def test_hip(q_len: int, k_len: int, tied: bool) -> None:
    """The search of the paper, one block of queries at a time, in plain Python; tied: where many products are equal."""
    bq, bk, budget, window, sinks, start = 8, 4, 16, 8, 2, k_len - q_len
    q, key, v = tensors(2, 2, 1, q_len, k_len)
    q, key = (t.sign() if tied else t for t in (q, key))
    wide_q, wide_k, wide_v = q.double(), *spread(key, v, heads=2)

    def found(b: int, h: int, unit: int) -> list[int]:
        low, high = max(start, unit * bq), min(k_len, (unit + 1) * bq)
        blocks, groups = blocks_of(max(0, high - window), bk), budget // bk
        if blocks <= groups:
            return list(range(blocks))
        probes = list(range(low, high))[1::2] if high - low > 1 else [low]
        firsts = [blocks * g // groups for g in range(groups)]
        left = [(a, z - a) for a, z in zip(firsts, [*firsts[1:], blocks], strict=True)]
        while max(size for _, size in left) > 1:
            halves = [h for a, size in left for h in ((a, size // 2), (a + size // 2, size - size // 2)) if h[1]]

            worth = {}
            for half in halves:
                keys = [j for j in range(half[0] * bk, (half[0] + 1) * bk) if j < k_len]
                worth[half] = max(float(wide_q[b, h, t - start] @ wide_k[b, h, j]) for t in probes for j in keys)
            left = sorted(best(worth, groups))
        return [a for a, _ in left]

    lists = {
        (b, h, u): set(found(b, h, u))
        for b in range(2)
        for h in range(2)
        for u in range(start // bq, blocks_of(k_len, bq))
    }

    def keys(b: int, h: int, t: int) -> set[int]:
        at = start + t
        return {j for j in range(at + 1) if at - j < window or j < sinks or j // bk in lists[b, h, at // bq]}

    params = {"query_block": bq, "block": bk, "budget": budget, "window": window, "sinks": sinks}
    check("hip", params, [q, key, v], softmax(chosen(keys, q.shape, k_len), scores_of(wide_q, wide_k), wide_v))


def test_edges_of_a_graph_in_compressed_form() -> None:
    """Nodes with many neighbours and with none, a bias of each edge with its gradient."""
    g = torch.Generator().manual_seed(0)
    adjacency = torch.rand(30, 30, generator=g) < torch.linspace(0, 0.4, 30)[:, None]
    offsets = torch.nn.functional.pad(adjacency.sum(1).cumsum(0), (1, 0))
    neighbours = adjacency.nonzero()[:, 1]
    bias = torch.randn(int(adjacency.sum()), generator=g, requires_grad=True)
    lists, beside = an.csr(offsets, neighbours, bias)
    q, key, v = tensors(2, 4, 2, 30, 30)
    attn = an.compile(an.catalog.build("graph-edges"))
    dense = torch.zeros(30, 30, dtype=torch.float64).masked_scatter(adjacency, bias.double())
    wide_q, wide_k, wide_v = q.double(), *spread(key, v, heads=4)
    expected = softmax(adjacency.expand(2, 4, -1, -1), scores_of(wide_q, wide_k) + dense, wide_v)
    found = attn(q, key, v, edges=lists, bias=beside)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)
    do = torch.randn(found.shape, generator=g)
    (a,), (b,) = torch.autograd.grad(found, bias, do), torch.autograd.grad(expected, bias, do.double())
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
    assert an.csr(torch.tensor([0, 0]), torch.tensor([], dtype=torch.int64)).tolist() == [[-1]]
    assert an.csr(offsets, neighbours, most=2).shape == (30, 2)


def test_spans_that_overlap_or_are_empty() -> None:
    q, key, v = tensors(1, 2, 2, 30, 30)
    g = torch.Generator().manual_seed(0)
    low, high = (torch.randint(0, 31, (2, 30), generator=g) for _ in range(2))
    places = torch.arange(30)
    live = ((low[..., None] <= places) & (places < high[..., None])).any(0) & causal_of(30, 30, 0)
    given = {f"{name}{n}": t[n] for name, t in (("low", low), ("high", high)) for n in range(2)}
    expected = softmax(live.expand(1, 2, -1, -1), scores_of(q.double(), key.double()), v.double())
    check("ltri", {"spans": 2}, [q, key, v], expected, **given)


@pytest.mark.parametrize("q_start", [0, 20, 44])
def test_a_call_says_where_queries_stand(q_start: int) -> None:
    """Where all that comes before is found, or seen, the result is causal attention from that position on."""
    q, key, v = (t[:, :, :20] if i == 0 else t for i, t in enumerate(tensors(1, 2, 1, 64, 64)))
    expected = an.compile(an.causal())(q, key, v, q_start=q_start)
    entries = {
        "hip": {"query_block": 8, "block": 4, "budget": 64, "window": 8, "sinks": 2},
        "moba": {"chunk": 16, "k": 4},
        "topk-row": {"k": 64},
    }
    for name, params in entries.items():
        torch.testing.assert_close(an.compile(an.catalog.build(name, **params))(q, key, v, q_start=q_start), expected)
    both = an.compile(an.catalog.build("psa", query_block=16, block=8, quotas=(1.0, 0.0, 0.0, 0.0)))
    torch.testing.assert_close(both(q, key, v, q_start=q_start), an.compile(an.full())(q, key, v))


@pytest.mark.parametrize("name", ["mra", "combiner", "combiner-log-n", "combiner-axial"])
def test_queries_and_keys_of_other_tokens_are_refused(name: str) -> None:
    q, key, v = tensors(1, 2, 1, 64, 64)
    attn = an.compile(an.catalog.build(name))
    for given in ({"q": q[:, :, 4:], "q_start": 0}, {"q": q, "q_start": 20}, {"q": q[:, :, 20:]}):
        with pytest.raises(ShapeError, match="q and k are of the same tokens, all of them"):
            attn(**given, k=key, v=v)


@pytest.mark.parametrize("name", ["moba", "nsa", "topk-row", "routing-transformer", "scfa-hash", "mra", "vmoba"])
def test_heads_of_values_may_be_others_than_those_of_keys(name: str) -> None:
    entry = an.catalog.get(name)
    x = entry.example
    g = torch.Generator().manual_seed(0)
    q, key, v = (torch.randn(1, h, 64, 16, generator=g) for h in (4, 2, 4))
    if name == "mra":
        v = v[:, :2]
    given = {
        n: t.repeat_interleave(2, 1) if t.dim() == 3 and t.shape[:2] == (1, 2) else t for n, t in x.bindings.items()
    }
    given |= {"centroids": torch.randn(4, 4, 16, generator=g)} if name == "routing-transformer" else {}
    given |= {"directions": torch.randn(16, 2, generator=g)} if name == "scfa-hash" else {}
    graph = entry.build(**x.params)
    found, dense = (f(q, key, v, **given) for f in (an.compile(graph), an.reference(graph)))
    torch.testing.assert_close(found.double(), dense, atol=1e-5, rtol=1e-5)


SAME_TOKENS = ("mra", "combiner", "combiner-log-n", "combiner-axial", "sparsifiner")  # of queries and keys
FIXED = ("vmoba", "biformer", "linformer", "nystrom", "isab")  # which have a length, or landmarks, or seeds
EMPTY = [(n, *sizes) for n in GRAPHS if n not in FIXED for sizes in ((0, 0), (0, 64), (64, 0))]


@pytest.mark.parametrize(("name", "q_len", "k_len"), [e for e in EMPTY if e[0] not in SAME_TOKENS or e[1] == e[2]])
def test_without_tokens_there_is_nothing(name: str, q_len: int, k_len: int) -> None:
    entry = an.catalog.get(name)
    x, graph = entry.example, entry.build(**entry.example.params)
    of_k = {"keep_k", "bias"}
    given = {
        n: t[:, :, : k_len if n in of_k else q_len] if isinstance(t, Tensor) and t.shape[2:3] == (64,) else t
        for n, t in x.bindings.items()
    }
    if name == "sparsifiner":
        given = {"connected": torch.zeros(1, 2, q_len, k_len)}
    o = an.compile(graph)(*tensors(1, 2, 2, q_len, k_len), **given)
    assert o.shape == (1, 2, q_len, D) and not o.any()


STRICT = {
    "moba": {"chunk": 8, "k": 3},
    "nsa": {"block": 8, "k": 3, "window": 12},
    "loki": {"k": 6},
    "topk-row": {"k": 6},
    "topp-row": {"p": 0.6},
    "stkim": {"k": 6, "rate": 0.5},
    "dma": {"k": 6},
    "scfa-qk": {},
    "scfa-hash": {},
    "moh": {},
    "combiner": {"segment": 8},
    "combiner-log-n": {"most": 64},
    "combiner-axial": {"width": 8},
    "landmark-retrieval": {"block": 16, "k": 2},
}
LATER = {
    "dma": {"k": 6, "by_row": False},
    "routing-transformer": {"tokens": 16},
    "hip": {"query_block": 8, "block": 4, "budget": 16, "window": 8, "sinks": 2},
    "psa": {"query_block": 16, "block": 8, "past": True},
}


def changed_by_later(name: str, params: dict[str, Any]) -> int:
    """In how many of 40 trials another future changes an early output."""
    attn, example = an.compile(an.catalog.build(name, **params)), an.catalog.get(name).example
    changed = 0
    for seed in range(40):
        g = torch.Generator().manual_seed(seed)
        cut = int(torch.randint(1, 63, (), generator=g))
        given: dict[str, Any] = dict(zip("qkv", tensors(1, 2, 2, 64, 64, seed), strict=True)) | example.bindings
        other = dict(given)
        for key, t in given.items():
            if isinstance(t, Tensor) and t.shape[2:3] == (64,):
                later = torch.randn(t[:, :, cut:].shape, generator=g)
                other[key] = torch.cat([t[:, :, :cut], (later > 0.0) if t.dtype is torch.bool else later.abs()], 2)
        changed += not torch.allclose(attn(**given)[:, :, :cut], attn(**other)[:, :, :cut], atol=1e-6)
    return changed


@pytest.mark.parametrize("name", STRICT)
def test_no_later_token_changes_an_early_output(name: str) -> None:
    assert changed_by_later(name, STRICT[name]) == 0


@pytest.mark.parametrize("name", LATER)
def test_what_is_causal_in_values_only_is_changed_by_later_tokens(name: str) -> None:
    assert changed_by_later(name, LATER[name]) > 0


def test_a_video_is_given_as_a_whole() -> None:
    attn = an.compile(an.catalog.build("vmoba", frames=4, height=4, width=4, chunk=(2, 2, 2), k=2))
    q, k, v = tensors(1, 2, 2, 64, 64)
    with pytest.raises(ShapeError, match="from position 0 on, not from 8"):
        attn(q, k, v, q_start=8)
