"""Probes that need no tolerance: what is visited shows in exact integers and ones, and in NaN that must not leak."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from attnir.codegen.plan import Plan
from attnir.heads import spread, summed
from attnir.scores import Pattern, pattern
from attnir.testing.case import Case, DoesNotApply
from attnir.testing.executor import Executor
from attnir.testing.judge import Results, differentiated
from attnir.walk import pair_map

LOUD = 200.0  # the score of a loud key: in float32 another one beside it weighs nothing


def unscored(case: Case) -> Case:
    """The case in float32, of its mask alone: a score would make no integers."""
    mask = case.pattern.mask if isinstance(case.pattern, Pattern) else case.pattern
    return replace(case.of(mask), dtype=torch.float32)


def _integers(case: Case, t: Tensor, seed: int) -> Tensor:
    drawn = torch.randint(-4, 5, t.shape, generator=torch.Generator().manual_seed(seed))
    return case.laid_out(drawn.float())


def counts_keys(given: Case, on: Executor) -> None:
    """Scores of 0: lse = log(live keys), o * count = the integer sum of v; integer dO: dV is the sum over live queries.

    o is one division away from the sum, which rounding to the next integer undoes exactly. With an odd seed some keys
    are LOUD: a row that sees one counts the loud keys alone, and the other rows must not hear of them.
    """
    case = unscored(given)
    q, k, v, do, _ = case.tensors()
    q, v, do = torch.zeros_like(q), _integers(case, v, 0), _integers(case, do, 1)
    loud = (torch.arange(k.shape[2]) % 5 == 3) & (case.seed % 2 == 1)
    q[..., 0], k[..., 0] = 1.0, loud.float() * (LOUD / case.factor)
    hears = (case.live & loud).any(-1)
    live, maps = torch.where(hears[..., None], case.live & loud, case.live).double(), case.heads_of
    count = live.sum(-1)
    leaf = v.to(on.device).requires_grad_()
    with on.quiet():
        attention = on.attention(case, case.pattern)
        o, lse = attention(q.to(on.device), k.to(on.device), leaf, return_lse=True, **case.options(on.device))
        # Rows scaled by their count make dV a sum of integers: P = 1 / count, so P^T (count * dO) = live^T dO.
        (dv,) = torch.autograd.grad(o, leaf, (do * count[..., None].float()).to(on.device))
    o, lse, dv = (t.detach().cpu().double() for t in (o, lse, dv))
    expected = torch.where(count > 0, count.log(), -torch.inf) + hears.double() * LOUD
    torch.testing.assert_close(lse, expected, rtol=2e-7, atol=2e-6, msg=lambda m: f"lse is not log(live keys)\n{m}")
    sums = live @ spread(v.double(), maps.v)
    _near_integers("o x live keys", o * count[..., None], sums)
    _near_integers("dV", dv, summed(live.transpose(-1, -2) @ do.double(), maps.v, v.shape[1]))


def _near_integers(name: str, found: Tensor, exact: Tensor) -> None:
    assert bool(torch.isfinite(found).all()), f"{name} is not finite"
    wrong = (found.round() != exact).any(-1)
    assert not bool(wrong.any()), f"{name} is not the sum over live pairs at (b, h, row) {wrong.nonzero()[:3].tolist()}"
    assert bool(((found - exact).abs() < 0.02).all()), f"{name} is far from an integer"


def gives_ones(case: Case, on: Executor) -> None:
    """v = 1: o is 1 on live rows and 0 on dead ones. A weight is summed up twice, each time with its own roundings."""
    if not case.weights.is_plain:
        raise DoesNotApply("the weights of a row do not sum up to 1")
    plain = replace(case, dtype=torch.float32)
    q, k, v, _, _ = plain.tensors(on.device)
    with on.quiet():
        o = on.attention(plain)(q, k, torch.ones_like(v), **plain.options(on.device)).cpu()
    alive = plain.live.any(-1)
    assert bool((o[~alive] == 0).all()), "a row without a live key is not 0"
    rounded = max(4e-6, torch.finfo(torch.float32).eps * plain.call.k_len)
    torch.testing.assert_close(o[alive], torch.ones_like(o[alive]), rtol=0, atol=rounded)


def spoilt(case: Case, on: Executor) -> Results:
    """The results where what no visited tile holds is NaN, keys with their values and queries with their dO.

    They have to be those without.
    """
    visited = seen(case, on)
    q, k, v, do, dlse = case.tensors()
    maps, by_head = case.heads_of, visited.any(2).int()
    keys, values = (summed(by_head, of, t.shape[1]) > 0 for of, t in ((maps.k, k), (maps.v, v)))
    for t, held in ((k, keys), (v, values), (q, visited.any(3)), (do, visited.any(3))):
        t[~held] = torch.nan
    with on.quiet():
        tensors = [t.to(on.device) for t in (q, k, v, do, dlse)]
        return differentiated(
            on.attention(case), tensors, case.options(on.device), case.learned, with_lse=case.weights.divided
        )


def seen(case: Case, on: Executor) -> Tensor:
    """Pairs that lie in a tile that some kernel visits: bool [B, Hq, Sq, Sk]."""
    plan, call = Plan(pattern(case.pattern)).on(case.call), case.call
    found = torch.zeros(case.live.shape, dtype=torch.bool)
    for kind in on.walks:
        launches = plan.launches(on.tile(case, kind), transposed=kind == "dkv")
        visits = pair_map([p for programs in launches for p in programs], call)
        found = found | (visits.full + visits.partial > 0)
    return found
