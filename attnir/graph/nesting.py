"""A graph as a stage of another one: its nodes stand among the others, and those that nothing comes of are left out."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence

from attnir.graph.choosing import Choose
from attnir.graph.graph import Graph, Node
from attnir.graph.inputs import Input
from attnir.graph.running import needed
from attnir.graph.stage import Stage


def nested(graph: Graph, given: Mapping[str, int], add: Callable[[Stage, tuple[int, ...]], int]) -> tuple[int, ...]:
    """The numbers of a graph's outputs, where `add` gives that of a stage among the nodes of another one.

    given: the numbers of its inputs, by name, and of lists that take the place of those of its routes.
    """
    number: dict[int, int] = {}
    wanted = needed(graph, given)
    for i, node in enumerate(graph.nodes):
        name = graph.names[i]
        if i not in wanted:
            continue
        if isinstance(node.stage, Input | Choose) and name in given:
            number[i] = given[name]
        else:
            number[i] = add(node.stage, tuple(number[a] for a in node.args))
    return tuple(number[i] for i in graph.outputs)


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
