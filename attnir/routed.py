"""Routes in a pattern and in its calls: their masks beside its own, their lists among what a call binds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from attnir import expr as ex
from attnir.errors import RouteError
from attnir.heads import Heads
from attnir.ops import Op
from attnir.routing import Route
from attnir.scores import Pattern
from attnir.traverse import nodes, selections_of, unit_size
from attnir.unit_scores import Random


def joined(declared: Pattern, routes: tuple[Route, ...]) -> Pattern:
    """The pattern with the masks of routes, of those whose selections its own mask does not read."""
    for r in routes:
        if not isinstance(r, Route):
            raise RouteError(f"a route is made by an.route, such as an.route.topk_blocks(block=64, k=8); not {r!r}")
        read = {s.name: s for s in declared.selections}
        if r.name in read and read[r.name] != r.selection:
            axes = ", ".join(repr(a) for a in r.selection.axes)
            raise RouteError(
                f"the pattern reads `{r.name}` over {read[r.name].axes}, the route has lists over {r.selection.axes}; "
                f"declare an.selection({r.name!r}, {axes})"
            )
        _check_units(declared, r)
        if r.selection not in selections_of(declared.predicate):
            declared = replace(declared, mask=declared.mask & r.mask)
    if len({r.name for r in routes}) < len(routes):
        raise RouteError("several routes have one name; give each its own: name='near'")
    return declared


def _check_units(declared: Pattern, r: Route) -> None:
    """Raise where a pattern reads lists of other units than a route has."""
    for n in (n for e in declared.roots for n in nodes(e) if n.op is Op.RANK and n.value == r.selection):
        sides = ("queries", ex.Q, r.queries), ("keys", ex.K, r.keys)
        for index, (what, token, size) in zip(n.args, sides, strict=False):
            if (read := unit_size(index, token)) not in (None, size):
                raise RouteError(
                    f"the pattern reads `{r.name}` by units of {read} {what}, the route has lists of units of {size}; "
                    "several routes have names of their own: name='near'"
                )


def with_lists(
    routes: tuple[Route, ...],
    q: Tensor,
    k: Tensor,
    q_start: int | None,
    maps: Heads | None,
    bindings: Mapping[str, object],
    read: Iterable[str],
) -> Mapping[str, object]:
    """What a call binds, with the lists of routes that are not given, and without what only these read.

    read: the names that the pattern reads.
    """
    found = dict(bindings)
    for r in routes:
        own = {name: found[name] for name in r.score.names if name in found}
        if r.name not in found:
            found[r.name] = r.lists(q, k, q_start=q_start, maps=maps, **own)
    only_of_routes = {name for r in routes for name in r.score.names} - set(read)
    return {name: value for name, value in found.items() if name not in only_of_routes}


def with_typical_lists(
    routes: tuple[Route, ...],
    batch: int,
    heads: int,
    q_len: int,
    k_len: int | None,
    q_start: int | None,
    bindings: Mapping[str, object],
) -> dict[str, object]:
    """What a call without tensors binds: lists that are not given are those of random scores."""
    found = dict(bindings)
    for r in routes:
        if r.name not in found:
            q, k = (torch.zeros(batch, heads, n, 1, device="cpu") for n in (q_len, q_len if k_len is None else k_len))
            found[r.name] = replace(r, score=Random(0)).lists(q, k, q_start=q_start)
    return found
