"""Random graphs: branches over tokens, summaries, chosen and gathered keys, merged and combined.

What a compiled graph computes is judged by its dense meaning in float64, and the yardstick is the same graph with dense
attention in float32: both choose and move the same tokens.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from inspect import Parameter, Signature
from typing import Any

import torch
from torch import Tensor

from attnir.dense import weigh
from attnir.evaluate import dense_mask, dense_score
from attnir.facts import field
from attnir.graph.attending import Attend
from attnir.graph.graph import Graph
from attnir.graph.running import run, start_of
from attnir.graph.stage import Setting
from attnir.graph.tracing import (
    attend,
    choose,
    combine,
    epilogue,
    fold,
    gather,
    graph,
    merge,
    places,
    repeat,
    summarise,
    unfold,
)
from attnir.heads import spread
from attnir.inputs import factor_of
from attnir.masks import full, mask
from attnir.ops import POSITION_LIMIT
from attnir.reference import reference
from attnir.route import own, topk_blocks, topk_keys
from attnir.testing.case import Case, DoesNotApply
from attnir.testing.executor import Executor
from attnir.testing.routes import POSITIONAL

MASKS = (*POSITIONAL, mask(lambda q, k: k < q - 8))
POOLS = ("mean", "max", "sum")
THERE = mask(lambda q, k: field("at")(k) >= 0)
FACTOR = 4  # of the yardstick's largest error
ROUNDINGS = 8  # of the largest number of all results, that are no error: a gradient may be a sum of such that cancel
Branch = Callable[[Any, Any, Any], Any]


def graphs(case: Case, on: Executor) -> None:
    """Every output of a random graph, and the gradients of all that it reads, are as near to float64 as dense ones."""
    if case.maps is not None or not case.pairs:
        raise DoesNotApply("a random graph has plain heads, and some tokens")
    drawn = random.Random(f"{case.seed} {case.q_len} {case.k_len} {case.batch} {case.heads} {case.d} graph")
    declared, flat, gates = graph_by_chance(drawn)
    q, k, v = (t.float() for t in case.tensors()[:3])
    generator = torch.Generator().manual_seed(case.seed)
    given = {"q": q, "k": k, "v": v}
    given |= {name: torch.rand(*q.shape[:3], dtype=torch.float32, generator=generator) for name in gates}
    start = case.call.q_start
    on_device = {name: t.to(on.device) for name, t in given.items()}
    wide = {name: t.double() for name, t in given.items()}
    with on.quiet():
        attention = on.graph(declared)
        found = differentiated(lambda **given: attention(**given, q_start=start), on_device)
    best = differentiated(lambda **given: eager(declared, start, given), given)
    ref = differentiated(lambda **given: reference(flat)(**given, q_start=start), wide)
    largest = max(float(_finite(t).abs().max()) for t in ref.values())
    for name in ref:
        _accept(name, found[name].cpu(), best[name], ref[name], largest)


@dataclass(frozen=True, slots=True)
class _Stages:
    """What a random graph is traced from: its branches, and how they are put together.

    way     "alone", "merge", "combine", or "both": the others are merged, and combined with the first
    gates   the names of the gates that weigh what is combined
    after   whether an epilogue follows
    """

    branches: tuple[Branch, ...]
    way: str
    gates: tuple[str, ...]
    after: bool

    @property
    def __signature__(self) -> Signature:
        """Arguments as the graph names them: inspect asks for it."""
        return Signature([Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in (*"qkv", *self.gates)])

    def __call__(self, q: Any, k: Any, v: Any, *gates: Any) -> Any:
        parts = [branch(q, k, v) for branch in self.branches]
        if self.way == "alone":
            o, lse = parts[0]
        elif self.way == "merge":
            o, lse = merge(parts)
        elif self.way == "combine":
            o, lse = combine([(g, part[0]) for g, part in zip(gates, parts, strict=True)]), parts[0][1]
        else:
            both, lse = merge(parts[1:])
            o = combine([(gates[0], parts[0][0]), (0.5, both)])
        return (epilogue(torch.tanh, o) if self.after else o), lse


def graph_by_chance(drawn: random.Random) -> tuple[Graph, Graph, tuple[str, ...]]:
    """A graph, some of whose branches are graphs; the same one without those; the gates [B, Hq, Sq] that it reads."""
    names = ("first", "second", "third")[: drawn.randint(1, 3)]
    flat = tuple(drawn.choice(BRANCHES)(drawn, name) for name in names)
    nested = tuple(_nested(branch) if drawn.random() < 0.3 else branch for branch in flat)
    way = drawn.choice(["merge", "combine", "both"]) if len(names) > 1 else "alone"
    gates = {"combine": names, "both": names[:1]}.get(way, ())
    stages = _Stages(flat, way, gates, drawn.random() < 0.3)
    return graph(replace(stages, branches=nested)), graph(stages), gates


def _nested(branch: Branch) -> Branch:
    """A branch that is a graph of its own."""
    inner = graph(branch)
    return lambda q, k, v: attend(inner, q, k, v)


def _tokens(drawn: random.Random, name: str) -> Branch:
    """A mask over tokens."""
    seen = drawn.choice(MASKS)
    return lambda q, k, v: attend(seen, q, k, v, return_lse=True)


def _summaries(drawn: random.Random, name: str) -> Branch:
    """Queries over summaries of keys: of those blocks that end before, or of all."""
    block, how = drawn.choice([1, 3, 8]), drawn.choice(POOLS)
    seen = drawn.choice([full(), mask(lambda q, k: (k + 1) * block - 1 <= q)])
    return lambda q, k, v: attend(seen, q, summarise(k, block, how), summarise(v, block), return_lse=True)


def _coarse(drawn: random.Random, name: str) -> Branch:
    """Summaries of queries over keys, for each of their queries."""
    block, seen = drawn.choice([1, 4, 7]), drawn.choice([full(), mask(lambda q, k: (k + q) % 2 == 0)])
    return lambda q, k, v: repeat(attend(seen, summarise(q, block), k, v, return_lse=True), block, q)


def _routed(drawn: random.Random, name: str) -> Branch:
    """The blocks that fit."""
    route = topk_blocks(
        block=drawn.choice([16, 16, 5]),
        query_block=drawn.choice([1, 16, 4]),
        k=drawn.choice([1, 2]),
        heads=drawn.choice(["each", "group", "all"]),
        forced=drawn.choice([(), (own(),)]),
        causal=drawn.choice([True, False]),
        name=f"{name}_blocks",
    )
    seen = drawn.choice(MASKS)
    return lambda q, k, v: attend(seen, q, k, v, route=route, return_lse=True)


def _gathered(drawn: random.Random, name: str) -> Branch:
    """The keys that fit all queries best, gathered."""
    route = topk_keys(k=drawn.choice([1, 5, 20]), query_block=POSITION_LIMIT, name=f"{name}_keys")

    def branch(q: Any, k: Any, v: Any) -> Any:
        lists = choose(route, q, k)
        part = attend(THERE, fold(q), gather(k, lists), gather(v, lists), at=places(lists, q), return_lse=True)
        return unfold(part, q)

    return branch


BRANCHES = (_tokens, _summaries, _coarse, _routed, _gathered)


def differentiated(function: Callable[..., Any], given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """o, lse and the gradients of what is given; both enter the loss."""
    leaves = {name: t.detach().requires_grad_() for name, t in given.items()}
    o, lse = function(**leaves)
    generator = torch.Generator().manual_seed(0)
    do, dlse = (torch.randn(t.shape, dtype=torch.float32, generator=generator).to(t.device, t.dtype) for t in (o, lse))
    loss = (o * do).sum() + torch.where(lse == -torch.inf, 0.0, lse * dlse).sum()
    grads = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return {"o": o.detach(), "lse": lse.detach(), **{f"d {n}": g for n, g in zip(leaves, grads, strict=True)}}


def eager(declared: Graph, start: int, given: Mapping[str, Tensor]) -> Any:
    """What a graph gives with dense attention in the dtype of its tensors."""
    setting = Setting(start_of(declared, given, start), _eager)
    return run(declared, setting, given)


def _eager(stage: Attend, start: int, q: Tensor, k: Tensor, v: Tensor, bindings: Mapping[str, object]) -> Any:
    call = stage.pattern.signature.bind(
        bindings,
        batch=q.shape[0],
        heads=q.shape[1],
        q_len=q.shape[2],
        k_len=k.shape[2],
        q_start=start,
        device=q.device,
    )
    k, v = (spread(t, [h * t.shape[1] // q.shape[1] for h in range(q.shape[1])]) for t in (k, v))
    live = dense_mask(stage.pattern.predicate, call)
    s = (q @ k.transpose(-1, -2)) * factor_of(stage.scale, q.shape[-1])
    p, lse = weigh(stage.pattern.weights, call, dense_score(stage.pattern.score, call, live)(s), live.expand(s.shape))
    return p.to(v.dtype) @ v, lse


def _finite(t: Tensor) -> Tensor:
    """0 where a row has no lse."""
    return torch.where(t == -torch.inf, 0.0, t)


def _accept(name: str, found: Tensor, best: Tensor, ref: Tensor, largest: float) -> None:
    """Assert that a result is as near to float64 as the yardstick."""
    assert torch.equal(found == -torch.inf, ref == -torch.inf), f"{name} is -inf elsewhere"
    errors, bests = ((_finite(t).double() - _finite(ref)).abs() for t in (found, best))
    limit = FACTOR * float(bests.max()) + ROUNDINGS * torch.finfo(torch.float32).eps * largest
    assert float(errors.max()) <= limit, f"{name}: an error of {float(errors.max()):.3e} > {limit:.3e}"
