"""Running a graph: its schedule, with the values of a call."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import replace

from torch import Tensor

from attnir.errors import MissingBindingError, ShapeError, UnknownBindingError
from attnir.graph.attending import Attend
from attnir.graph.choosing import Choose
from attnir.graph.edges import Tokens
from attnir.graph.graph import Graph, Node
from attnir.graph.inputs import Input
from attnir.graph.stage import Setting, Value
from attnir.signature import first_position

Watch = Callable[[int, tuple[Value, ...], Value], None]


def run(
    graph: Graph,
    setting: Setting,
    given: Mapping[str, Value],
    watch: Watch = lambda node, values, found: None,
) -> tuple[Value, ...]:
    """What the outputs of a graph are; `watch` sees what every node took and gave. Nothing is kept longer than needed.

    Lists that are given by the name of a route take the place of those that it would choose.
    """
    values: dict[int, Value] = {}
    names, wanted = graph.names, needed(graph, given)
    for step in graph.schedule:
        node, name = graph.nodes[step.node], names[step.node]
        if step.node not in wanted:
            continue
        if isinstance(node.stage, Input):
            values[step.node] = given[name]
        elif isinstance(node.stage, Choose) and name in given:
            values[step.node] = node.stage.checked(given[name], *(values[i] for i in node.args[:2]))
        else:
            taken = tuple(values[i] for i in node.args)
            here = replace(setting, kinds=tuple(graph.nodes[i].kind for i in node.args))
            values[step.node] = node.stage.run(here, *taken)
            watch(step.node, taken, values[step.node])
        for i in step.frees:
            values.pop(i, None)
    return tuple(values[i] for i in graph.outputs)


def named(graph: Graph, positional: tuple[Value, ...], given: Mapping[str, Value]) -> dict[str, Value]:
    """What a call gives, by name: the inputs in their order, then by name.

    Raises MissingBindingError, UnknownBindingError.
    """
    inputs = graph.inputs
    if len(positional) > len(inputs):
        raise UnknownBindingError(f"the graph reads {', '.join(inputs)}; {len(positional)} values are given")
    found = dict(zip(inputs, positional, strict=False))
    if twice := sorted(set(found) & set(given)):
        raise UnknownBindingError(f"`{twice[0]}` is given twice, by its place and by its name")
    found |= given
    if unknown := sorted(set(found) - {*inputs, *graph.choices}):
        lists = f", and in the place of its own lists {', '.join(graph.choices)}" if graph.choices else ""
        raise UnknownBindingError(f"`{unknown[0]}` given, but the graph reads {', '.join(inputs)}{lists}")
    wanted = needed(graph, found)
    read = {  # tokens are, as their lengths count
        node.stage.name
        for i, node in enumerate(graph.nodes)
        if isinstance(node.stage, Input) and (i in wanted or isinstance(node.kind, Tokens))
    }
    if missing := [name for name in inputs if name not in found and name in read]:
        raise MissingBindingError(f"the graph reads `{missing[0]}`; give {missing[0]}=... in the call")
    return found


def needed(graph: Graph, given: Container[str]) -> set[int]:
    """The nodes that a call runs, or reads: those that outputs come from, but not through lists that are given."""
    found: set[int] = set()
    todo = list(graph.outputs)
    while todo:
        i = todo.pop()
        if i in found:
            continue
        found.add(i)
        node = graph.nodes[i]
        replaced = isinstance(node.stage, Choose) and graph.names[i] in given
        todo += node.args[:2] if replaced else node.args  # q and k say how many lists and members there are
    return found


def start_of(graph: Graph, given: Mapping[str, Value], q_start: int | None) -> int:
    """The first position of the queries in a call: as given, else such that the last query is the last key.

    Where an attention of queries of the call arranges them apart from its keys they begin at 0.
    """
    if q_start is None and graph.is_apart:
        q_start = 0
    lengths: dict[str, int] = {}
    for node in graph.nodes:
        if isinstance(node.stage, Input) and isinstance(node.kind, Tokens):
            lengths.setdefault(node.kind.axis, _length(node, node.stage.name, given[node.stage.name]))
    q_len = lengths.get("q", 0)
    return first_position(q_start, q_len, lengths.get("k", q_len))


def _length(node: Node, name: str, x: Value) -> int:
    """The length of an input of tokens. Raises ShapeError unless it is [B, H, S, D]."""
    if not isinstance(x, Tensor) or x.dim() != 4:
        shown = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ShapeError(f"`{name}` are {node.kind}, [B, H, S, D], not {shown}")
    return x.shape[2]


def wide(value: Value) -> Value:
    """A value in float64, where it is of real numbers."""
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def dense(
    graph: Graph, attention: Callable[[Attend], Callable[..., Value]], /, *positional: Value, **given: Value
) -> Value:
    """The dense meaning of a call: float64, with the dense meaning of every attention."""
    q_start = given.pop("q_start", None)
    found = {name: wide(x) for name, x in named(graph, positional, given).items()}

    def attend(stage: Attend, start: int, q: Tensor, k: Tensor, v: Tensor, bindings: Mapping[str, Value]) -> Value:
        return attention(stage)(q, k, v, q_start=start, **bindings)

    outputs = run(graph, Setting(start_of(graph, found, q_start), attend), found)
    return outputs[0] if graph.alone else outputs
