"""Lists of single queries that are turned round: the pass keeps what a graph means, and changes what it may alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import attnir as an
from attnir.errors import HeadsError
from attnir.graph.by_unit import by_unit

PATTERNS: dict[str, Any] = {
    "causal": an.causal(),
    "all": an.full(),
    "a window": an.window(20, 3),
    "a parameter": an.mask(lambda q, k: k + an.param("far") <= q),
    "a score": an.pattern(an.causal(), score=an.score(lambda s, q, k: s - 0.1 * (q - k))),
    "a factor": an.pattern(an.causal(), factor=an.factor(lambda q, k: an.where((q + k) % 3 == 0, 2.0, 0.5))),
}


def graph_of(pattern: Any, route: Any, return_lse: bool = False) -> an.Graph:
    return an.graph(lambda q, k, v: an.attend(pattern, q, k, v, route=route, return_lse=return_lse))


def tensors(batch: int, heads: int, kv_heads: int, q_len: int, k_len: int) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    sizes = ((heads, q_len), (kv_heads, k_len), (kv_heads, k_len))
    return [torch.randn(batch, h, n, 16, generator=g).requires_grad_() for h, n in sizes]


def stages(graph: an.Graph) -> list[str]:
    return [type(n.stage).__name__ for n in graph.nodes]


def compared(graph: an.Graph, tensors: list[Tensor], backend: str, **given: Any) -> None:
    """o, lse and their gradients, of the turned graph, with kernels, and of what was declared, densely."""
    found, wanted = an.compile(graph, backend=backend)(*tensors, **given), an.reference(graph)(*tensors, **given)
    assert torch.equal(found[1] == -torch.inf, wanted[1] == -torch.inf)
    alive = wanted[1] > -torch.inf
    torch.testing.assert_close(found[0].double(), wanted[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[1][alive].double(), wanted[1][alive], atol=1e-5, rtol=1e-5)
    g = torch.Generator().manual_seed(1)
    do, dlse = torch.randn(found[0].shape, generator=g), torch.randn(found[1].shape, generator=g)
    losses = [(o * do.to(o.dtype)).sum() + (lse * dlse.to(lse.dtype))[alive].sum() for o, lse in (found, wanted)]
    for a, b in zip(*(torch.autograd.grad(loss, tensors) for loss in losses), strict=True):
        torch.testing.assert_close(a, b, atol=3e-5, rtol=3e-5)


@pytest.mark.parametrize("backend", ["torch", "triton"])
@pytest.mark.parametrize("name", PATTERNS)
def test_what_is_turned_round_is_what_was_declared(name: str, backend: str) -> None:
    route = an.route.topk_blocks(block=16, query_block=1, k=2, forced=[an.route.own()], counted=True)
    graph = graph_of(PATTERNS[name], route, return_lse=True)
    assert "Spread" in stages(by_unit(graph)) and by_unit(by_unit(graph)) == by_unit(graph)
    compared(graph, tensors(2, 4, 2, 50, 70), backend, **({"far": 5} if name == "a parameter" else {}))


@given(
    st.integers(1, 40),
    st.integers(1, 60),
    st.sampled_from([(1, 1), (4, 2), (3, 1)]),
    st.sampled_from(["each", "group", "all"]),
    st.sampled_from([None, 0, 7]),
    st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_given_lists_of_any_kind(
    q_len: int, k_len: int, of_heads: tuple[int, int], heads: str, q_start: int | None, seed: int
) -> None:
    """Members twice, members that no key is of, queries without any, fewer lists than queries."""
    route = an.route.topk_blocks(block=16, query_block=1, k=3, heads=heads)
    graph = graph_of(an.causal(), route, return_lse=True)
    g = torch.Generator().manual_seed(seed)
    count = max(1, int(torch.randint(1, 60, (), generator=g)))
    shape = (2, count, 3) if heads == "all" else (2, of_heads[0], count, 3)
    lists = torch.randint(-1, 6, shape, generator=g)
    compared(graph, tensors(2, *of_heads, q_len, k_len), "torch", q_start=q_start, picks=lists)


BLOCK = an.route.topk_blocks(block=16, query_block=1, k=2)
doc, picks = an.field("doc"), an.selection("picks", "b", "h")
STAY: dict[str, tuple[Any, Any]] = {
    "lists of blocks of queries": (an.causal(), an.route.topk_blocks(block=16, k=2)),
    "short units": (an.causal(), an.route.topk_blocks(block=8, query_block=1, k=2)),
    "single keys": (an.causal(), an.route.topk_keys(k=2)),
    "long lists": (an.causal(), an.route.topk_blocks(block=16, query_block=1, k=40)),
    "lists as long as there are units": (an.causal(), an.route.blocks(an.route.mass(0.5), block=16, query_block=1)),
    "fields": (an.mask(lambda q, k: doc(q) == doc(k)), BLOCK),
    "heads": (an.mask(lambda q, k, h: k <= q + h), BLOCK),
    "a sink": (an.pattern(an.causal(), normalize=an.softmax(sink=an.tensor("sink", "h"))), BLOCK),
    "no softmax": (an.pattern(an.causal(), normalize=an.weights(an.sigmoid)), BLOCK),
    "a tensor": (an.pattern(an.causal(), score=an.score(lambda s, k: s + an.tensor("t", "k")[k])), BLOCK),
    "what is not listed": (an.causal() & (BLOCK.mask | an.mask(lambda q, k: k < 4)), BLOCK),
    "what the place says": (
        an.pattern(an.causal() & BLOCK.mask, score=an.score(lambda s, q, k: s + picks(q, k // 16))),
        BLOCK,
    ),
    "a grid": (an.mask(lambda q, k: k.x <= q.x, grid=an.grid(y=8, x=8)), BLOCK),
}


@pytest.mark.parametrize("name", STAY)
def test_what_would_not_be_the_same_stays(name: str) -> None:
    graph = graph_of(*STAY[name])
    assert by_unit(graph) == graph


def test_few_pairs_are_visited_where_queries_choose_apart() -> None:
    """A tile of queries that see a few far chunks each visits about these, not all of them."""
    route = an.route.topk_blocks(block=64, query_block=1, k=3, forced=[an.route.own()], counted=True, causal=True)
    graph = graph_of(an.causal(), route)
    turned = an.compile(graph).explain(4096, heads=1, target="sm_90").attentions[0]
    whole = an.compile(an.causal(), route=route).explain(4096, target="sm_90")
    assert 5 * turned.visited_pairs < whole.visited_pairs
    assert whole.live_pairs <= turned.visited_pairs


def test_torch_compile_keeps_it_whole_whatever_the_heads_and_lengths() -> None:
    attn = an.compile(an.catalog.build("moba", chunk=16, k=3))
    compiled = torch.compile(attn, fullgraph=True, dynamic=True, backend="eager")
    g = torch.Generator().manual_seed(0)
    for heads, kv_heads, length in ((4, 2, 64), (4, 2, 80), (6, 2, 64)):
        q, k, v = (torch.randn(1, h, length, 16, generator=g) for h in (heads, kv_heads, kv_heads))
        torch.testing.assert_close(compiled(q, k, v), attn(q, k, v))


def test_heads_that_do_not_fit_are_said_before_samples_are_others() -> None:
    attn = an.compile(an.catalog.build("moba", chunk=16, k=2))
    for v_heads, said in ((3, "no multiple"), (0, "one at least")):
        q, k, v = (torch.randn(1, heads, 64, 16) for heads in (4, 2, v_heads))
        with pytest.raises(HeadsError, match=said):
            attn(q, k, v)
