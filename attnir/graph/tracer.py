"""What a graph is traced with: the nodes so far, and the edges that stand in the place of tensors."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from attnir.errors import GraphError
from attnir.graph.choosing import Choose
from attnir.graph.edges import Given, Kind, Part
from attnir.graph.epilogue import Epilogue
from attnir.graph.graph import Node
from attnir.graph.inputs import Input
from attnir.graph.joining import Output
from attnir.graph.stage import Setting, Stage


def _no_attention(*_: Any) -> Any:
    raise AssertionError("an attention is computed in a graph alone")


_OUTSIDE = Setting(0, _no_attention)


@dataclass(slots=True)
class Tracer:
    """The nodes so far, each once; but epilogues, whose functions may draw numbers, as often as they are said.

    of_graphs: which of them are those of graphs that stand in this one; nothing need come of these.
    """

    nodes: list[Node] = field(default_factory=list)
    place: dict[tuple[Stage, tuple[int, ...], int], int] = field(default_factory=dict)
    of_graphs: set[int] = field(default_factory=set)

    def add(self, stage: Stage, args: tuple[int, ...], *, of_graph: bool = False) -> Edge:
        key = (stage, args, len(self.nodes) if isinstance(stage, Epilogue) else 0)  # of which each may be another
        if key not in self.place:
            if of_graph:
                self.of_graphs.add(len(self.nodes))
                stage = self._renamed(stage)
            self.place[key] = len(self.nodes)
            self.nodes.append(Node.of(stage, args, self.nodes))
        at = self.place[key]
        return Edge(self, at, self.nodes[at].kind)

    def given(self, name: str, kind: Kind | None = None) -> Edge:
        """What a call gives by a name; it is an input as soon as it is read."""
        for i, node in enumerate(self.nodes):
            if isinstance(node.stage, Input) and node.stage.name == name:
                return Edge(self, i, node.kind)
        return self.add(Input(name, Given() if kind is None else kind), ())

    def _renamed(self, stage: Stage) -> Stage:
        """The stage of a graph in this one; a route whose name another one has is called otherwise."""
        if not isinstance(stage, Choose):
            return stage
        named = (n.stage for n in self.nodes if isinstance(n.stage, Choose | Input))
        taken = {n.route.name if isinstance(n, Choose) else n.name for n in named}
        names = (f"{stage.route.name}_{i}" for i in range(2, len(taken) + 3))
        name = next(n for n in (stage.route.name, *names) if n not in taken)
        return replace(stage, route=replace(stage.route, name=name))


@dataclass(frozen=True, slots=True, eq=False)
class Edge:
    """What a stage gives, while a graph is traced. A part can be taken apart: `o, lse = part`."""

    tracer: Tracer = field(repr=False)
    number: int
    kind: Kind

    def __iter__(self) -> Any:
        if not isinstance(self.kind, Part):
            raise GraphError(f"a part is a pair of o and lse; this is {self.kind}")
        return iter(self[i] for i in range(2))

    def __getitem__(self, i: int) -> Edge:
        if not isinstance(self.kind, Part) or i not in (0, 1):
            raise GraphError(f"a part has o at 0 and lse at 1; this is {self.kind}, at {i!r}")
        return self.tracer.add(Output(("o", "lse")[i]), (self.number,))

    def __bool__(self) -> bool:
        raise GraphError("what a stage gives has no value while a graph is traced")

    def _no_arithmetic(self, *_: object) -> Any:
        raise GraphError("results of stages are no numbers yet; compute with an.epilogue(function, ...), or an.combine")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __matmul__ = __neg__ = _no_arithmetic


def called(x: Any, otherwise: str) -> str:
    """The name of an input."""
    if not isinstance(x, Edge):
        return otherwise
    stage = list(x.tracer.nodes)[x.number].stage
    return stage.name if isinstance(stage, Input) else f"{otherwise} {x.number}"


def apply(stage: Stage, *values: Any) -> Any:
    """A node of these edges, or what it computes of tensors."""
    if values and not any(isinstance(x, Edge) for x in values):
        return stage.run(_OUTSIDE, *values)
    tracer = tracer_of(stage.text, *values)
    return tracer.add(stage, tuple(x.number for x in values))


def tracer_of(what: str, *values: Any) -> Tracer:
    """The graph that edges are of. Raises GraphError for what is no edge."""
    for x in values:
        if not isinstance(x, Edge):
            shown = f"a tensor {list(x.shape)}" if isinstance(x, Tensor) else repr(x)
            raise GraphError(
                f"{what} is a stage of a graph, made by an.graph(lambda q, k, v: ...); it is given {shown}"
            )
    tracer: Tracer = values[0].tracer
    if any(x.tracer is not tracer for x in values):
        raise GraphError(f"{what} takes what one graph gives, not what several do")
    return tracer
