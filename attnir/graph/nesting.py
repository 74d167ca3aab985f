"""A graph as a stage of another one: its nodes stand among the others, and those that nothing comes of are left out."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

from attnir.errors import GraphError
from attnir.graph.choosing import Choose
from attnir.graph.edges import Lists
from attnir.graph.graph import Graph, Node
from attnir.graph.inputs import Input
from attnir.graph.running import needed
from attnir.graph.tracer import Edge, Tracer


def nested(graph: Graph, tracer: Tracer, tokens: tuple[Edge, ...], bindings: Mapping[str, Any]) -> Any:
    """What a graph gives in one that is traced: an edge, or a tuple of them.

    tokens are its first inputs, bindings the others, and lists that take the place of those of its routes. What is left
    out is an input of the outer graph. Raises GraphError.
    """
    inputs = [n.stage.name for n in graph.nodes if isinstance(n.stage, Input)]
    if len(inputs) < len(tokens):
        raise GraphError(f"a graph is given q, k and v; this one reads {', '.join(inputs)}")
    given = dict(zip(inputs, tokens, strict=False))
    others = [name for name in (*inputs, *graph.choices) if name not in given]
    if unknown := sorted(set(bindings) - set(others)):
        read = ", ".join(others) or "nothing"
        raise GraphError(f"`{unknown[0]}` is bound, but beside its tokens the graph reads {read}")
    for name, value in bindings.items():
        if not isinstance(value, Edge) or (name in graph.choices and not isinstance(value.kind, Lists)):
            raise GraphError(f"`{name}` is bound to what a stage gives, lists in the place of lists, not {value!r}")
    given |= bindings
    edges: dict[int, Edge] = {}
    for i in sorted(needed(graph, given)):
        node, name = graph.nodes[i], graph.names[i]
        if isinstance(node.stage, Input | Choose) and name in given:
            edges[i] = given[name]
        elif isinstance(node.stage, Input):
            edges[i] = tracer.given(name, node.kind)
        else:
            edges[i] = tracer.add(node.stage, tuple(edges[a].number for a in node.args), of_graph=True)
    found = tuple(edges[i] for i in graph.outputs)
    return found[0] if graph.alone else found


def without_idle(
    nodes: Sequence[Node], outputs: Sequence[int], may_idle: Container[int]
) -> tuple[tuple[Node, ...], tuple[int, ...]]:
    """Nodes and outputs, without those nodes that may be idle, and are."""
    wanted = {*outputs, *(i for i in range(len(nodes)) if i not in may_idle)}
    for i in reversed(range(len(nodes))):
        if i in wanted:
            wanted |= set(nodes[i].args)
    found: list[Node] = []
    number: dict[int, int] = {}
    for i in sorted(wanted):
        number[i] = len(found)
        found.append(Node.of(nodes[i].stage, tuple(number[a] for a in nodes[i].args), found))
    return tuple(found), tuple(number[i] for i in outputs)
