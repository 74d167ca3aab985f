"""The graph of stages: frozen nodes, each behind what it takes, with a verifier and a schedule.

networkx knows it as a directed graph whose edges carry the kinds of what runs along them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import networkx

from attnir.errors import GraphError
from attnir.graph.attending import Attend
from attnir.graph.choosing import Choose
from attnir.graph.edges import Kind, Lists, Tokens
from attnir.graph.inputs import Input
from attnir.graph.stage import Stage

WIDE = 80  # columns of what a stage takes, beyond which its line is longer than others


@dataclass(frozen=True, slots=True)
class Node:
    """A stage, the numbers of the nodes whose values it takes, and the kind of what it gives."""

    stage: Stage
    args: tuple[int, ...]
    kind: Kind

    @classmethod
    def of(cls, stage: Stage, args: tuple[int, ...], before: Sequence[Node]) -> Node:
        """A stage that takes values of nodes before it. Lists are called as it is. Raises GraphError."""
        found = stage.kind(*(before[i].kind for i in args))
        if isinstance(found, Lists):
            found = replace(found, name=_name(stage, len(before)))
        return cls(stage, args, found)


@dataclass(frozen=True, slots=True)
class Step:
    """A stage of the schedule: the node to run, and those whose values nobody needs behind it."""

    node: int
    frees: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """Stages that make one attention of several: `an.graph` traces it, `an.compile` makes it callable.

    nodes    in an order in which each comes after those that it takes; the first ones are inputs
    outputs  the numbers of those whose values a call gives
    alone    whether a call gives one value, and no tuple
    names    what nodes are called: inputs and lists as in a call, others by their stage and a number
    schedule the order in which stages run, and what may be forgotten behind each
    is_apart whether an attention arranges queries of the call apart from its keys
    """

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    alone: bool = True
    names: tuple[str, ...] = field(init=False, repr=False, compare=False)
    schedule: tuple[Step, ...] = field(init=False, repr=False, compare=False)
    is_apart: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.verify()
        object.__setattr__(self, "names", tuple(_name(node.stage, i) for i, node in enumerate(self.nodes)))
        object.__setattr__(self, "schedule", self._scheduled())
        object.__setattr__(self, "is_apart", any(map(self._arranges_apart, self.nodes)))

    def _arranges_apart(self, node: Node) -> bool:
        if not isinstance(node.stage, Attend) or not node.stage.pattern.signature.is_apart:
            return False
        q, k = (self.nodes[i].kind for i in node.args[:2])
        return isinstance(q, Tokens) and isinstance(k, Tokens) and q.axis == "q" != k.axis

    @property
    def inputs(self) -> tuple[str, ...]:
        """What a call gives, by name."""
        return tuple(n.stage.name for n in self.nodes if isinstance(n.stage, Input))

    @property
    def choices(self) -> dict[str, int]:
        """The lists that a call may give in the place of those that are computed: their nodes, by name."""
        return {n.stage.route.name: i for i, n in enumerate(self.nodes) if isinstance(n.stage, Choose)}

    @property
    def attends(self) -> tuple[Attend, ...]:
        """The attentions in it."""
        return tuple(dict.fromkeys(n.stage for n in self.nodes if isinstance(n.stage, Attend)))

    @property
    def network(self) -> networkx.MultiDiGraph:
        """The graph as networkx has it: nodes by number with their `stage`, edges with their `kind` and `slot`."""
        found = networkx.MultiDiGraph()
        for i, node in enumerate(self.nodes):
            found.add_node(i, stage=node.stage, kind=node.kind)
            for slot, arg in enumerate(node.args):
                found.add_edge(arg, i, slot=slot, kind=self.nodes[arg].kind if arg < len(self.nodes) else None)
        return found

    def verify(self) -> None:
        """Raise GraphError unless every stage can take what it is given, and all of them lead to what a call gives."""
        for i, node in enumerate(self.nodes):
            if any(not 0 <= arg < i for arg in node.args):
                raise GraphError(f"node {i}, {node.stage.text}, takes what comes behind it: {node.args}")
            found = Node.of(node.stage, node.args, self.nodes[:i]).kind
            if found != node.kind:
                raise GraphError(f"node {i}, {node.stage.text}, gives {found}, and is said to give {node.kind}")
        if not self.outputs or any(not 0 <= i < len(self.nodes) for i in self.outputs):
            raise GraphError(f"a graph gives the values of some of its nodes, not {self.outputs}")
        network, needed = self.network, set(self.outputs)
        for i in self.outputs:
            needed |= networkx.ancestors(network, i)
        if idle := sorted(set(network) - needed):
            said = ", ".join(_name(self.nodes[i].stage, i) for i in idle)
            raise GraphError(f"nothing comes of {said}; leave it out, or return it")
        names = [*self.inputs, *(n.stage.route.name for n in self.nodes if isinstance(n.stage, Choose))]
        if again := sorted({n for n in names if names.count(n) > 1}):
            raise GraphError(f"several nodes have the name `{again[0]}`; give each route its own: name='near'")

    def _scheduled(self) -> tuple[Step, ...]:
        """Stages level by level: those of one level do not need each other."""
        last: dict[int, int] = {}
        order = [i for level in networkx.topological_generations(self.network) for i in sorted(level)]
        for i in order:
            last |= dict.fromkeys((i, *self.nodes[i].args), i)
        kept = set(self.outputs)
        frees: dict[int, list[int]] = {i: [] for i in order}
        for i, at in last.items():
            if i not in kept:
                frees[at].append(i)
        return tuple(Step(i, tuple(frees[i])) for i in order)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """A line for each node, with what it takes and gives; then what a call gives."""
        names = self.names
        rows = [
            (names[i], node.stage.said(*(names[arg] for arg in node.args)), str(node.kind))
            for i, node in enumerate(self.nodes)
        ]
        name_width = max(len(name) for name, *_ in rows)
        text_width = max((len(text) for _, text, _ in rows if len(text) <= WIDE), default=0)
        for name, text, kind in rows:
            yield f"{name:{name_width}} = {text:{text_width}}   # {kind}"
        yield f"return {', '.join(names[i] for i in self.outputs)}"


def _name(stage: Stage, number: int) -> str:
    if isinstance(stage, Input):
        return stage.name
    if isinstance(stage, Choose):
        return stage.route.name
    return f"{type(stage).__name__.lower()}_{number}"


def check_nothing_beside(**said: object) -> None:
    """Raise GraphError where something is said beside a graph that its attentions say themselves."""
    for name, value in said.items():
        if not (value is None or (isinstance(value, tuple | list) and not value)):
            raise GraphError(f"a graph says what its attentions are: {name} stands there, `an.attend(..., {name}=...)`")
