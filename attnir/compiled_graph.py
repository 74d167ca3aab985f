"""A compiled graph: called with what its function takes, it runs its stages, each attention by its own kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from attnir.graph.attending import Attend
from attnir.graph.by_unit import by_unit
from attnir.graph.graph import Graph
from attnir.graph.running import named, run, start_of
from attnir.graph.stage import Setting, Value
from attnir.graph_explanation import GraphExplanation, explain_graph


@dataclass(frozen=True, slots=True)
class CompiledGraph:
    """A graph that is callable: with tensors in the order of its inputs, or by name."""

    graph: Graph
    attentions: dict[Attend, Any] = field(hash=False)

    def __call__(self, *tensors: Value, q_start: int | None = None, **given: Value) -> Value:
        """What the graph's function gives: a tensor, a part (o, lse), or a tuple of those.

        tensors, given  the arguments of the function, and what else its patterns read
        q_start         the first query's position, by default max(0, Sk - Sq)

        Lists that are given by the name of a route take the place of its own. All that is computed of real numbers is
        differentiable; lists and buckets are not.
        """
        values = named(self.graph, tensors, given)
        outputs = run(self.graph, Setting(start_of(self.graph, values, q_start), self._attend), values)
        return outputs[0] if self.graph.alone else outputs

    def _attend(self, stage: Attend, start: int, q: Value, k: Value, v: Value, bindings: dict[str, Value]) -> Value:
        divided = stage.pattern.weights.divided
        more = {"return_lse": True} if divided else {}
        return self.attentions[stage](q, k, v, scale=stage.scale, q_start=start, **more, **bindings)

    def explain(self, q_len: int, k_len: int | None = None, **sizes: Any) -> GraphExplanation:
        """What every stage takes and gives at a length, with costs; lists are those of random choices.

        q_len, k_len         lengths; k_len = q_len when left out
        heads, kv_heads      of q, and of k and v: 1, and as many
        batch, d, dv, dtype  1, 64, d and bfloat16 where they are left out
        what else            the inputs of the graph that are not q, k or v: tensors
        """
        return explain_graph(self.graph, self.attentions, q_len, k_len, **sizes)

    def __repr__(self) -> str:
        return f"<CompiledGraph of {len(self.graph.attends)} attentions over {', '.join(self.graph.inputs)}>"


def compiled_graph(graph: Graph, compile: Callable[[Attend], Any]) -> CompiledGraph:
    """A graph with the attention of each of its patterns; those by lists of single queries go by units of keys."""
    graph = by_unit(graph)
    return CompiledGraph(graph, {stage: compile(stage) for stage in graph.attends})
