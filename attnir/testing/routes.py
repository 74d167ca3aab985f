"""A case with a route: its pattern in a graph, with lists chosen from q and k, is its pattern with these lists.

The graph goes by units of keys where lists are those of single queries, and by tiles that are listed elsewhere.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from attnir.graph.graph import Graph
from attnir.graph.tracing import attend, graph
from attnir.masks import causal, full, mask, window
from attnir.real import real
from attnir.route import first, own, topk_blocks
from attnir.routed import joined
from attnir.routing import Route
from attnir.scores import pattern
from attnir.testing.case import Case, DoesNotApply
from attnir.testing.executor import Executor
from attnir.testing.judge import CHANCE, judge, run

NAME = "chosen_blocks"
SUNK, TWICE = 0.2, 0.5  # have a sink; have lists that are given, with members twice
POSITIONAL = (causal(), full(), window(20, 5), mask(lambda q, k: (q - k) % 3 != 1))
PLAIN = 0.5  # of the cases take a mask of positions, whose lists are turned round


def routed(case: Case, on: Executor) -> dict[str, float]:
    """o, lse and every gradient of a graph that chooses are as near to float64 as those of the lists it chose."""
    if case.maps is not None or case.weights.landmarks is not None:
        raise DoesNotApply("a graph's attention has plain heads here, and no blocks with landmarks")
    if case.learned and on.device != "cpu":
        raise DoesNotApply("gradients of tensors are compared on a CPU")
    drawn = random.Random(f"{case.seed} {case.q_len} {case.k_len} {case.batch} {case.heads} {case.d}")
    route = route_of(drawn)
    lists = route.lists(*case.tensors()[:2], q_start=case.call.q_start)
    sees_nothing_later(lists, route, case)
    given: dict[str, Any] = {}
    if drawn.random() < TWICE:  # members that stand in a list again count once
        lists = torch.cat([lists, lists[..., ::2]], -1)
        given = {NAME: lists}
    if case.pattern.heads is None and drawn.random() < PLAIN and not any(case.pattern.spaces):
        plain = drawn.choice([*POSITIONAL, causal() & (route.mask | window(3, 0))])
        case = case.of(pattern(plain), **{NAME: lists.long()})
    if case.weights.is_softmax and case.weights.sink is None and drawn.random() < SUNK:
        case = case.of(replace(pattern(case.pattern), weights=replace(case.weights, sink=real(0.5))))
    listed = case.of(joined(pattern(case.pattern), (route,)), **{NAME: lists.long()})
    if not int(listed.live.sum()):
        raise DoesNotApply("nothing is chosen")
    declared = graph_of(case, route)
    attention = on.graph(declared)

    def called(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Any:
        bound = {name: value for name, value in options.items() if name in declared.inputs}
        moved = {name: t.to(q.device) for name, t in given.items()}
        return attention(q, k, v, q_start=case.q_start, **bound, **moved)

    with on.quiet():
        found = run(called, listed, on.device)
    return judge(found, listed, roundings=CHANCE, stored=True)


def sees_nothing_later(lists: Tensor, route: Route, case: Case) -> None:
    """Assert that a causal route lists no unit that ends behind the first query of a unit, but for forced ones."""
    if not route.causal or not lists.shape[-2]:
        return
    start, stop = case.call.q_start, case.call.q_start + case.q_len
    unit = torch.arange(lists.shape[-2])[:, None] * route.queries
    low, high = unit.clamp(min=start), (unit + route.queries - 1).clamp(max=stop - 1)
    is_own = (lists >= low // route.keys) & (lists <= high // route.keys)
    forced = is_own & (own() in route.forced) | (lists == 0) & (first() in route.forced)
    assert bool(((lists < 0) | forced | ((lists + 1) * route.keys - 1 <= low)).all()), "a later unit is chosen"


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
