"""The entries that are graphs: what they choose beside their definitions, and what they compute of it.

Definitions are written down here in plain torch, pair by pair or row by row, in float64; the choice is a search over
Python numbers. Inputs are small integers where equal scores are wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import attnir as an

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
    graph = entry.build(**x.params)
    explained = an.compile(graph).explain(x.q_len, x.k_len, heads=x.heads, d=D, **x.bindings)
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


def best(scores: dict[int, float], k: int) -> set[int]:
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
    check("scfa-hash", {}, [q, key, v], softmax(live, scores_of(wide_q, wide_k), wide_v), directions=directions)


@pytest.mark.parametrize("past", [True, False])
def test_moh_skipping(past: bool) -> None:
    q, key, v = tensors(2, 4, 2, 30, 30)
    gate = torch.randn(2, 4, 30, generator=torch.Generator().manual_seed(5)).relu()
    wide_q, wide_k, wide_v = q.double(), *spread(key, v, heads=4)
    live = (causal_of(30, 30, 0) if past else torch.ones(30, 30).bool()).expand(2, 4, -1, -1)
    expected = gate.double()[..., None] * softmax(live, scores_of(wide_q, wide_k), wide_v)
    check("moh-skipping", {"past": past}, [q, key, v], expected, gate=gate)


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


def test_isab_and_pma() -> None:
    q, key, v = tensors(2, 2, 2, 20, 30)
    seeds = torch.randn(2, 2, 5, D, generator=torch.Generator().manual_seed(5))
    wide_q, wide_k, wide_v = (t.double() for t in (q, key, v))
    induced = scores_of(seeds.double(), wide_k).softmax(-1) @ wide_v
    check("isab", {}, [q, key, v], scores_of(wide_q, induced).softmax(-1) @ induced, seeds=seeds)
    check("pma", {}, [q, key, v], scores_of(wide_q, wide_k).softmax(-1) @ wide_v)


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
    "moh-skipping": {},
    "combiner": {"segment": 8},
}
LATER = {"dma": {"k": 6, "by_row": False}, "routing-transformer": {"tokens": 16}}


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
