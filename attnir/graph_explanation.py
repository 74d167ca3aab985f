"""Explaining a graph: its stages with what they take and give at a length, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnir.explanation import Explanation, said_of_chance
from attnir.graph.attending import Attend
from attnir.graph.edges import Kind, Tokens
from attnir.graph.graph import Graph
from attnir.graph.inputs import Input
from attnir.graph.running import named, needed, run, start_of
from attnir.graph.stage import Setting, Value, tensors

META = torch.device("meta")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a stage takes: operations, and bytes that it reads and writes. `shape` is that of its result."""

    name: str
    text: str
    kind: Kind
    shape: tuple[int, ...]
    flops: int
    bytes: int
    attention: Explanation | None = None


@dataclass(frozen=True, slots=True)
class GraphExplanation:
    """How a graph is computed at a length. Prints as text.

    costs        of every stage, in the order in which they run
    by_chance    the routes whose lists are not given: what attends to them is counted with lists of random scores
    flops        operations of the forward, of all stages
    bytes        that they read and write
    attentions   the explanation of every attention
    """

    graph: Graph
    costs: tuple[Cost, ...]
    by_chance: tuple[str, ...] = ()

    @property
    def flops(self) -> int:
        return sum(c.flops for c in self.costs)

    @property
    def bytes(self) -> int:
        return sum(c.bytes for c in self.costs)

    @property
    def attentions(self) -> tuple[Explanation, ...]:
        return tuple(c.attention for c in self.costs if c.attention is not None)

    def __str__(self) -> str:
        lines = [*self.graph.lines(), "", f"forward: {_count(self.flops)}FLOP, {_count(self.bytes)}B read and written"]
        if self.by_chance:
            lines.append(f"lists: {said_of_chance(self.by_chance)}")
        width = max(len(c.name) for c in self.costs)
        for c in self.costs:
            share = c.flops / max(1, self.flops)
            seen = ""
            if c.attention is not None:
                seen = f", {c.attention.visited_pairs:,} pairs visited, {c.attention.over_compute:.2f} x what is live"
            lines.append(
                f"  {c.name:{width}}  {list(c.shape)!s:24} {_count(c.flops):>8}FLOP {share:4.0%} "
                f"{_count(c.bytes):>8}B{seen}"
            )
        return "\n".join(lines)


def explain_graph(
    graph: Graph,
    attentions: Mapping[Attend, Any],
    q_len: int,
    k_len: int | None = None,
    *,
    heads: int = 1,
    kv_heads: int | None = None,
    batch: int = 1,
    d: int = 64,
    dv: int | None = None,
    dtype: torch.dtype = torch.bfloat16,
    target: str | None = None,
    backend: str | None = None,
    q_start: int | None = None,
    **given: Value,
) -> GraphExplanation:
    """The stages of a graph at a length; real tensors have shapes and no values."""
    k_len = q_len if k_len is None else k_len
    kv_heads = heads if kv_heads is None else kv_heads
    shapes = {"q": (heads, q_len, d), "k": (kv_heads, k_len, d), "v": (kv_heads, k_len, d if dv is None else dv)}
    sized = {
        node.stage.name: torch.empty(batch, *shapes[node.stage.name], dtype=dtype, device=META)
        for node in graph.nodes
        if isinstance(node.stage, Input) and isinstance(node.kind, Tokens) and node.stage.name in shapes
    }
    values = named(graph, (), {**sized, **{name: _without_numbers(x) for name, x in given.items()}})
    explained: list[Explanation] = []
    costs: list[Cost] = []

    def attend(stage: Attend, start: int, q: Tensor, k: Tensor, v: Tensor, bindings: Mapping[str, Value]) -> Value:
        known = {name: x for name, x in bindings.items() if not any(t.is_meta for t in tensors(x))}
        sizes = {"heads": q.shape[1], "batch": q.shape[0], "d": q.shape[3], "dv": v.shape[3], "dtype": q.dtype}
        chosen = {"target": target, "backend": backend, "q_start": start}
        explained.append(attentions[stage].explain(q.shape[2], k.shape[2], **sizes, **chosen, **known))
        o = torch.empty(*q.shape[:3], v.shape[3], dtype=q.dtype, device=META)
        lse = torch.empty(*q.shape[:3], dtype=torch.float32, device=META)
        return (o, lse) if stage.pattern.weights.divided else o

    names = graph.names

    def watch(number: int, taken: tuple[Value, ...], found: Value) -> None:
        node = graph.nodes[number]
        attention = explained[-1] if isinstance(node.stage, Attend) else None
        flops = attention.flops if attention is not None else node.stage.flops(taken, found)
        moved = node.stage.moved(taken, found)
        shape = next((tuple(t.shape) for t in tensors(found)), ())
        costs.append(Cost(names[number], node.stage.text, node.kind, shape, flops, moved, attention))

    run(graph, Setting(start_of(graph, values, q_start), attend, typical=True), values, watch)
    by_chance = tuple(name for name, i in graph.choices.items() if name not in values and i in needed(graph, values))
    return GraphExplanation(graph, tuple(costs), by_chance)


def _without_numbers(x: Value) -> Value:
    """Real tensors by their shapes; integers as they are."""
    return x.to(META) if isinstance(x, Tensor) and x.is_floating_point() else x


def _count(n: int) -> str:
    """Three digits and a unit: 1.23 G."""
    for unit, size in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if n >= size * 0.9995:  # which has three digits as a thousand of the smaller one
            return f"{n / size:.3g} {unit}"
    return f"{n} "
