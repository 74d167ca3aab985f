"""Graphs in graphs: they give what they give alone, with the inputs and lists that the outer one binds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import attnir as an
from attnir.errors import GraphError
from tests.checks import refused

MOBA = an.catalog.build("moba", chunk=16, k=2)
DILATED = an.mask(lambda q, k: (q - k) % 3 == 0) & an.causal()


def tensors(batch: int = 2, length: int = 70, heads: int = 4, kv_heads: int = 2, width: int = 16) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    sizes = ((batch, h, length, width) for h in (heads, kv_heads, kv_heads))
    return [torch.randn(*size, generator=g).requires_grad_() for size in sizes]


def same(found: Tensor, expected: Tensor, given: list[Tensor]) -> None:
    """Assert that results, and their gradients, are equal but for rounding."""
    g = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    for a, b in zip(*(torch.autograd.grad(o, given, g.to(o.dtype)) for o in (found, expected)), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["moba", "nsa", "hip", "scfa-hash", "mra", "combiner-axial", "isab", "linformer"])
def test_an_entry_in_a_graph_gives_what_it_gives_alone(name: str) -> None:
    entry = an.catalog.get(name)
    inner, bindings = entry.build(**entry.example.params), dict[str, Any](entry.example.bindings)
    given = tensors(1, 64, 2, 2, width=8)
    outer = an.graph(
        lambda q, k, v: an.combine([(0.25, an.attend(DILATED, q, k, v)), (0.75, an.attend(inner, q, k, v))])
    )
    attn = an.compile(outer)
    apart = 0.25 * an.compile(DILATED)(*given) + 0.75 * an.compile(inner)(*given, **bindings)
    same(attn(*given, **bindings), apart, given)
    torch.testing.assert_close(an.reference(outer)(*given, **bindings), apart.double(), atol=1e-5, rtol=1e-5)


def test_one_graph_twice_is_one_node_where_it_takes_the_same() -> None:
    def twice(q: Any, k: Any, v: Any) -> Any:
        return an.combine([(0.5, an.attend(MOBA, q, k, v)), (0.5, an.attend(MOBA, q, k, v))])

    graph = an.graph(twice)
    assert list(graph.choices) == ["chunks"]
    given = tensors()
    same(an.compile(graph)(*given), an.compile(MOBA)(*given), given)


def test_routes_that_take_others_have_names_of_their_own() -> None:
    def layers(q: Any, k: Any, v: Any) -> Any:
        first = an.attend(MOBA, q, k, v)
        return an.attend(MOBA, first, k, v)

    graph, given = an.graph(layers), tensors()
    assert sorted(graph.choices) == ["chunks", "chunks_2"]
    alone = an.compile(MOBA)
    same(an.compile(graph)(*given), alone(alone(*given), *given[1:]), given)
    nothing = torch.full((2, 4, 70, 1), -1)
    assert not an.compile(graph)(*given, chunks_2=nothing).any()


def test_routes_have_no_names_of_inputs() -> None:
    def stages(q: Any, k: Any, v: Any, chunks: Any) -> Any:
        return an.combine([(chunks, an.attend(MOBA, q, k, v))])

    graph, given = an.graph(stages), tensors()
    assert list(graph.choices) == ["chunks_2"]
    same(an.compile(graph)(*given, chunks=torch.ones(2, 4, 70)), an.compile(MOBA)(*given), given)


def test_lists_take_the_place_of_those_of_a_route() -> None:
    own = an.route.topk_blocks(block=16, query_block=1, k=1, causal=True, name="own")

    def stages(q: Any, k: Any, v: Any) -> Any:
        return an.attend(MOBA, q, k, v, chunks=an.choose(own, q, k))

    given = tensors()
    q, k, _ = given
    graph = an.graph(stages)
    assert list(graph.choices) == ["own"]
    same(an.compile(graph)(*given), an.compile(MOBA)(*given, chunks=own.lists(q, k)), given)


def test_inputs_are_bound_or_read_by_their_names() -> None:
    inner = an.graph(lambda q, k, v, gate: an.combine([(gate, an.attend(DILATED, q, k, v))]))
    bound = an.graph(
        lambda q, k, v, x: an.attend(inner, q, k, v, gate=an.epilogue(torch.sigmoid, x, gives=an.Rows("q")))
    )
    read = an.graph(lambda q, k, v: an.attend(inner, q, k, v))
    given, x = tensors(), torch.randn(2, 4, 70)
    assert bound.inputs == ("q", "k", "v", "x") and read.inputs == ("q", "k", "v", "gate")
    same(an.compile(bound)(*given, x), an.compile(read)(*given, gate=x.sigmoid()), given)


def test_results_that_nobody_takes_are_left_out() -> None:
    both = an.graph(lambda q, k, v, bias: (an.attend(DILATED, q, k, v), an.attend(MOBA, q, k, v), bias))
    graph = an.graph(lambda q, k, v, bias: (an.attend(both, q, k, v, bias=bias)[1], bias))
    assert len(graph.attends) == 1
    given = tensors()
    same(an.compile(graph)(*given, torch.zeros(1))[0], an.compile(MOBA)(*given), given)


def test_graphs_of_graphs_of_graphs() -> None:
    """Summaries of summaries, whose tokens are on other axes than those of the graph that stands there."""
    inner = an.graph(lambda q, k, v: an.attend(an.full(), q, an.summarise(k, 4), an.summarise(v, 4)))
    middle = an.graph(lambda q, k, v: an.attend(inner, q, an.summarise(k, 2), an.summarise(v, 2)))
    outer = an.graph(lambda q, k, v: an.attend(middle, q, k, v))
    flat = an.graph(lambda q, k, v: an.attend(an.full(), q, *(an.summarise(an.summarise(x, 2), 4) for x in (k, v))))
    given = tensors()
    assert sorted(n.stage.text for n in outer.nodes) == sorted(n.stage.text for n in flat.nodes)
    same(an.compile(outer)(*given), an.compile(flat)(*given), given)


NO_EDGES: list[Any] = [torch.zeros(1, 1, 4, 4)] * 3
BAD: dict[str, tuple[str, Any]] = {
    "options": (
        "says what its attentions are",
        lambda: an.graph(lambda q, k, v: an.attend(MOBA, q, k, v, scale=0.5)),
    ),
    "a scale of nothing": (
        "says what its attentions are",
        lambda: an.graph(lambda q, k, v: an.attend(MOBA, q, k, v, scale=0)),
    ),
    "an unknown name": (
        "`gate` is bound, but beside its tokens the graph reads chunks",
        lambda: an.graph(lambda q, k, v, gate: an.attend(MOBA, q, k, v, gate=gate)),
    ),
    "a list that is none": (
        "lists in the place of lists",
        lambda: an.graph(lambda q, k, v: an.attend(MOBA, q, k, v, chunks=q)),
    ),
    "few tokens": (
        "this one reads q, k",
        lambda: an.graph(lambda q, k, v: an.attend(an.graph(lambda q, k: an.attend(DILATED, q, k, k)), q, k, v)),
    ),
    "tensors": ("made by an.graph", lambda: an.attend(MOBA, *NO_EDGES)),
    "keys and values of other tokens": (
        "keys and values of the same tokens",
        lambda: an.graph(lambda q, k, v: an.attend(MOBA, q, an.summarise(k, 2), v)),
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_refused(name: str) -> None:
    refused(GraphError, *BAD[name])
