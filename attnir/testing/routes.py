"""A case with a route: its pattern in a graph, with lists chosen from q and k, is its pattern with these lists.

The graph goes by units of keys where lists are those of single queries, and by tiles that are listed elsewhere.
"""

from __future__ import annotations

import random
from typing import Any

import torch

from attnir.graph.graph import Graph
from attnir.graph.tracing import attend, graph
from attnir.masks import causal, full, mask, window
from attnir.route import Route, first, joined, own, topk_blocks
from attnir.scores import pattern
from attnir.testing.case import Case, DoesNotApply
from attnir.testing.executor import Executor
from attnir.testing.judge import judge, run

NAME = "chosen_blocks"
PLAIN = 0.5  # of the cases take a mask of positions, whose lists are turned round
MASKS = (causal(), full(), window(20, 5), mask(lambda q, k: (q - k) % 3 != 1))
CHANCE = 8  # roundings, as for random calls of peaked inputs


def routed(case: Case, on: Executor) -> dict[str, float]:
    """o, lse and every gradient of a graph that chooses are as near to float64 as those of the lists it chose."""
    if case.maps is not None or case.weights.landmarks is not None:
        raise DoesNotApply("a graph's attention has plain heads here, and no blocks with landmarks")
    if case.learned and on.device != "cpu":
        raise DoesNotApply("gradients of tensors are compared on a CPU")
    drawn = random.Random(case.seed)
    if case.pattern.heads is None and drawn.random() < PLAIN and not any(case.pattern.spaces):
        case = case.of(pattern(drawn.choice(MASKS)))
    route = route_of(drawn)
    lists = route.lists(*case.tensors()[:2], q_start=case.call.q_start)
    listed = case.of(joined(pattern(case.pattern), (route,)), **{NAME: lists.long()})
    if not int(listed.live.sum()):
        raise DoesNotApply("nothing is chosen")
    declared = graph_of(case, route)
    attention = on.graph(declared)

    def called(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **options: Any) -> Any:
        given = {name: value for name, value in options.items() if name in declared.inputs}
        return attention(q, k, v, q_start=case.q_start, **given)

    with on.quiet():
        found = run(called, listed, on.device)
    return judge(found, listed, roundings=CHANCE, stored=True)


def route_of(drawn: random.Random) -> Route:
    """A route by chance."""
    return topk_blocks(
        block=drawn.choice([16, 16, 16, 32, 5]),
        query_block=drawn.choice([1, 1, 1, 16, 7]),
        k=drawn.choice([1, 2, 3]),
        heads=drawn.choice(["each", "group", "all"]),
        forced=drawn.choice([(), (own(),), (own(), first())]),
        counted=drawn.choice([True, False]),
        causal=drawn.choice([True, False]),
        name=NAME,
    )


def graph_of(case: Case, route: Route) -> Graph:
    """The attention of a case's pattern by a route."""

    def stages(q: Any, k: Any, v: Any) -> Any:
        part = attend(case.pattern, q, k, v, route=route, scale=case.scale, return_lse=case.weights.divided)
        return (part[0], part[1]) if case.weights.divided else part

    return graph(stages)
