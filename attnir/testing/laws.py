"""Laws: calls that differ in a way that has to make no difference, compared with each other.

A law that says nothing of a case raises DoesNotApply: such a case does not count as one that was checked.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from attnir import expr as ex
from attnir.errors import DeclarationError
from attnir.expr import Expr, K, Q
from attnir.masks import Mask
from attnir.ops import FieldDecl
from attnir.scores import Pattern, pattern
from attnir.testing.case import Case, DoesNotApply, takes
from attnir.testing.executor import Executor
from attnir.testing.probes import counts_keys
from attnir.testing.values import Runs, Values
from attnir.traverse import substitute

PLACE = FieldDecl("permuted_place")  # of every key in the sequence before it was permuted
SHIFT = 37
LATER = 80  # positions, fewer than which queries are moved on

Pair = tuple[Tensor, Tensor | None]  # o, and lse where there is one


def _plain(case: Case) -> Case:
    """In float32, without peaks: what two orders of additions make of it differs little."""
    return replace(case, dtype=torch.float32, kind="normal")


def _in_one_level(case: Case) -> Case:
    if case.weights.landmarks is not None:
        raise DoesNotApply("keys are in blocks that have landmarks")
    return case


def _called(case: Case, on: Executor, declared: Pattern | Mask, *tensors: Tensor, **more: object) -> Pair:
    options = {**case.of(declared).options(on.device), **more}
    given = [t.to(on.device) for t in tensors]
    with on.quiet():
        if not case.weights.divided:
            return on.attention(case, declared)(*given, **options).detach().cpu(), None
        o, lse = on.attention(case, declared)(*given, return_lse=True, **options)
    return o.detach().cpu(), lse.detach().cpu()


def _same(found: Pair, expected: Pair) -> None:
    """Weights without an lse have any size: their sums are compared with the largest of them."""
    if expected[1] is not None:
        torch.testing.assert_close(found[1], expected[1], rtol=1e-5, atol=2e-5, msg=lambda m: f"lse differs\n{m}")
    largest = max(1.0, float(expected[0].abs().amax()) if expected[1] is None and expected[0].numel() else 1.0)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-5, atol=2e-5 * largest, msg=lambda m: f"o differs\n{m}")


def slices(given: Case, on: Executor) -> None:
    """The first head of the first sample alone gives its slice of the whole."""
    case = _plain(given)
    if case.batch * case.heads == 1:
        raise DoesNotApply("one sample and one head are the whole")
    axes = [t.axes for t in (*case.pattern.tensors, *case.pattern.reals)]
    axes += [s.axes for s in case.pattern.selections]
    if case.pattern.heads or any("b" in found or "h" in found for found in axes):
        raise DoesNotApply("the pattern says how many samples or heads there are")
    q, k, v, _, _ = case.tensors()
    whole = _called(case, on, case.pattern, q, k, v)
    by_sample = {f.name for f in case.pattern.fields}
    of_first = {n: _first_sample(v) if n in by_sample else v for n, v in case.bound.items()}
    alone = replace(case, batch=1, maps=None, bindings=of_first)
    first_k, first_v = case.heads_of.k[0], case.heads_of.v[0]
    k, v = k[:1, first_k : first_k + 1], v[:1, first_v : first_v + 1]
    part = _called(alone, on, case.pattern, q[:1, :1], k, v)
    _same(part, (whole[0][:1, :1], None if whole[1] is None else whole[1][:1, :1]))


def _first_sample(value: object) -> object:
    """What the first sample has of a field, [tokens] or [samples, tokens]."""
    if isinstance(value, tuple):
        return tuple(map(_first_sample, value))
    return value[:1] if isinstance(value, Tensor) and value.dim() == 2 else value


def shifts(given: Case, on: Executor) -> None:
    """Every position moved by SHIFT, behind keys that nobody sees, gives the same."""
    case = _in_one_level(_plain(given))
    if case.pattern.fields or any(case.pattern.spaces) or any({"q", "k"} & {*t.axes} for t in case.pattern.reals):
        raise DoesNotApply("values of the pattern stand at positions")
    declared = pattern(case.pattern)
    try:
        moved = _changed(declared, {Q: ex.sub(Q, ex.const(SHIFT)), K: ex.sub(K, ex.const(SHIFT))}, K >= SHIFT)
    except DeclarationError:
        raise DoesNotApply("its numbers get too wide") from None
    q, k, v, _, _ = case.tensors()
    behind = (torch.cat([torch.full_like(t[:, :, :1], 9.0).expand(-1, -1, SHIFT, -1), t], 2) for t in (k, v))
    _same(
        _called(case, on, moved, q, *behind, q_start=case.call.q_start + SHIFT),
        _called(case, on, declared, q, k, v),
    )


def permutes(given: Case, on: Executor) -> None:
    """Keys in another order, with a mask that looks up where each stood, give the same."""
    case = _in_one_level(_plain(given))
    if case.pattern.fields or any(case.pattern.spaces):
        raise DoesNotApply("values of the pattern stand at positions")
    declared = pattern(case.pattern)
    try:
        looked_up = _changed(declared, {K: ex.field(PLACE, K)}, ex.TRUE)
    except DeclarationError:
        raise DoesNotApply("its numbers get too wide") from None
    q, k, v, _, _ = case.tensors()
    order = torch.randperm(k.shape[2], generator=torch.Generator().manual_seed(case.seed))
    place = torch.zeros(q.shape[2], dtype=torch.int64), order
    permuted = _called(case.of(looked_up, **{PLACE.name: place}), on, looked_up, q, k[:, :, order], v[:, :, order])
    _same(permuted, _called(case, on, declared, q, k, v))


def merges(given: Case, on: Executor) -> None:
    """The keys before a border and those behind it merge to the whole by their lse, or as a sum where there is none."""
    case = _in_one_level(_plain(given))
    if case.weights.sink is not None:
        raise DoesNotApply("each half would have the sink")
    declared = pattern(case.pattern)
    border = (case.call.k_len + 1) // 2
    try:
        halves = [_changed(declared, {}, condition) for condition in (K < border, K >= border)]
    except DeclarationError:
        raise DoesNotApply("its halves get too long") from None
    q, k, v, _, _ = case.tensors()
    (oa, la), (ob, lb) = (_called(case, on, half, q, k, v) for half in halves)
    if la is None or lb is None:
        _same((oa + ob, None), _called(case, on, declared, q, k, v))
        return
    lse = torch.logaddexp(la, lb)
    base = torch.where(lse == -torch.inf, 0.0, lse)
    o = oa * (la - base).exp()[..., None] + ob * (lb - base).exp()[..., None]
    _same((o, lse), _called(case, on, declared, q, k, v))


def recalls(case: Case, on: Executor) -> None:
    """A call, others of the same attention with other values or later queries, and the first again count their keys."""
    for one in (case, _with_other_values(case), _later(case), case):
        counts_keys(one, on)


def _with_other_values(case: Case) -> Case:
    """Other values of what is bound, as far as a call takes them."""
    found = case
    for name, value in case.bindings.items():
        changed = replace(found, bindings={**found.bindings, name: _other(value)})
        found = changed if takes(changed) else found
    return found


def _later(case: Case) -> Case:
    """Queries that begin some positions later, where a call takes them: one, or as many as leave a tile."""
    for step in (1 + case.seed % LATER, 1):
        later = replace(case, q_start=case.call.q_start + step)
        if takes(later):
            return later
    return case


def _longer(runs: Runs) -> Runs:
    return replace(runs, run=runs.run + 1)


def _other(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(_other(v) for v in value)
    if isinstance(value, int):
        return value + 1
    if isinstance(value, Values):
        old = value.recipe
        return replace(value, recipe=_longer(old) if isinstance(old, Runs) else replace(old, seed=old.seed + 1))
    return value


def _changed(declared: Pattern, tokens: dict[Expr, Expr], condition: Expr) -> Pattern:
    """The pattern with other tokens, on the pairs of a condition."""
    predicate = substitute(declared.predicate, tokens) & condition
    changed = {root: substitute(root, tokens) for root in (declared.score, *declared.weights.roots)}
    weights = declared.weights.map(lambda e: changed.get(e, e))
    return Pattern(replace(declared.mask, predicate=predicate), changed[declared.score], weights)
