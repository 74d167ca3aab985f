"""Statistics on the torch target: P again from the scores and lse, and what is summed up of it, step by step.

Row sums and column sums are made in one walk, those of columns for each query head on its own. Their gradients go the
way of the backward: dS = P * (pull - delta), where `pull` is an expression of the pair instead of dO . v.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attnir.call import Call
from attnir.codegen.gradients import Gradients, Wanted
from attnir.codegen.sums import Sums, Wished
from attnir.codegen.torch import products
from attnir.codegen.torch.budget import Budget, budget_on
from attnir.codegen.torch.dead import FLOOR, DeadPairs
from attnir.codegen.torch.operands import Unit, Workspace, as_matrices, compute_dtype, each, matrices, put, sums, units
from attnir.codegen.torch.schedule import Schedule
from attnir.codegen.torch.scored import Scored
from attnir.codegen.torch.series import series
from attnir.codegen.torch.steps import Step, copied, exact, steps, tokens_at
from attnir.evaluate import Evaluator, tokens_of_pairs
from attnir.expr import Expr
from attnir.real import ONE, is_unbounded
from attnir.terms import Term

NO_KEY = 2**31 - 1  # an index behind every key


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """One call: q, k, the lse of its rows, its schedule; what terms may read: v and dO, and the first largest keys."""

    q: Tensor
    k: Tensor
    lse: Tensor
    call: Call
    schedule: Schedule
    scale: float
    pulling: Sequence[Tensor] = ()
    first: Tensor | None = None

    @property
    def device(self) -> torch.device:
        return self.q.device


@exact
def statistics(inputs: Inputs, wished: Wished) -> Sums:
    """The sums that are wished for."""
    q = inputs.q
    work, budget = Workspace(compute_dtype(q.dtype), q.device), budget_on(q.device)
    budget = replace(budget, pairs=budget.pairs // 4)  # P and what is made of it are held at once
    sizes, k_len = q.shape[:2], inputs.k.shape[2]
    of_rows = torch.zeros((*sizes, q.shape[2], len(wished.rows)), dtype=torch.float32, device=q.device)
    of_columns = torch.zeros((*sizes, k_len, len(wished.columns)), dtype=torch.float32, device=q.device)
    highest = torch.full((*sizes, q.shape[2], 1), -torch.inf, dtype=torch.float32, device=q.device)
    first = torch.full((*sizes, q.shape[2], 1), -1, dtype=torch.int32, device=q.device)
    for unit in units(inputs.schedule, q, inputs.k, budget.heads):
        with unit.results(of_rows) as rows, unit.results(highest) as tops, unit.results(first) as places:
            height = rows.shape[2] * unit.shared
            summed = rows.new_zeros(unit.n, height, len(wished.rows))
            columns = rows.new_zeros(unit.n, k_len, len(wished.columns) * unit.shared)
            best = _Best.none(height, unit.n, rows)
            for step, pairs in _pairs(inputs, unit, work, budget):
                if wished.rows:
                    each(Tensor.add_, step.rows(summed), torch.stack([pairs.of(t).sum(-1) for t in wished.rows], -1))
                if wished.columns:
                    heads = [pairs.of(t).unflatten(2, (-1, unit.shared)).sum(2) for t in wished.columns]
                    step.add_to_keys(columns, torch.cat(heads, 2).transpose(2, 3).contiguous())
                if wished.largest:
                    best.meet(step, pairs.s)
            rows.copy_(summed.view(rows.shape))
            best.write(tops, places)
            _add_to_heads(of_columns, columns, unit)
    return Sums(of_rows.unbind(-1), of_columns.unbind(-1), highest[..., 0], first[..., 0])


@exact
def statistics_backward(inputs: Inputs, delta: Tensor, pull: Expr, wanted: Wanted) -> Gradients:
    """The gradients of q, k and of the real tensors that the score reads, for dS = P * (pull - delta)."""
    call, q, k = inputs.call, inputs.q, inputs.k
    work, budget = Workspace(compute_dtype(q.dtype), q.device), budget_on(q.device)
    budget = replace(budget, pairs=budget.pairs // 4)
    dq = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    dk = torch.zeros(k.shape, dtype=work.dtype, device=q.device)
    learned = {n: torch.zeros(call.reals[n].numel(), dtype=torch.float64, device=q.device) for n in wanted.reals}
    for unit in units(inputs.schedule, q, k, budget.heads):
        delta_unit, q_unit = (matrices(unit.queries(t), work.dtype) for t in (delta[..., None], q))
        k_unit, dk_unit = matrices(unit.keys(k), work.dtype), as_matrices(unit.keys(dk))
        assert dk_unit is not None, "a unit's key heads make one axis"
        with unit.results(dq) as rows_dq:
            dq_unit = sums(rows_dq, work.dtype).zero_()
            for step, pairs in _pairs(inputs, unit, work, budget):
                ds = pairs.pulled(Term(pull), copied(step.queries(delta_unit)))
                pairs.scored.learn(step, pairs.before, ds, learned)
                ds = pairs.scored.through(pairs.scored.slopes(step, pairs.before), ds)
                if wanted.q:
                    products.mix(ds, step.keys(k_unit), step.rows(dq_unit), work, fresh=False)
                if wanted.kv:
                    step.add_to_keys(dk_unit, products.mix_transposed(ds, step.queries(q_unit), work))
            put(dq_unit.mul_(inputs.scale), rows_dq)
    reals = {n: t.view(call.reals[n].shape).to(call.reals[n].dtype) for n, t in learned.items()}
    return Gradients(dq, dk.mul_(inputs.scale).to(k.dtype), None, reals)


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """The pairs of one step, [outer, inner, rows * shared, keys]: scores before and after their change, P and log P.

    share: what P is the weight times, where the weights are no softmax, [outer, inner, rows * shared, 1]; for these
    log P, which nothing reads, is P, and s is 0, or on dead pairs DEAD.
    """

    step: Step
    before: Tensor
    s: Tensor
    p: Tensor
    log_p: Tensor
    share: Tensor | None
    more: Mapping[str, Tensor]  # what else terms read
    scored: Scored
    call: Call

    def of(self, term: Term) -> Tensor:
        """The summands of a term; 0 on dead pairs."""
        if term == Term(ONE):
            return self.p
        found = self._values(term)
        if term.counted:
            return torch.where(self.s > FLOOR, found, 0.0)
        given = self.p * found
        return torch.where(self.s > FLOOR, given, 0.0) if is_unbounded(term.value) else given

    def pulled(self, pull: Term, delta: Tensor) -> Tensor:
        """The gradients of scores, or of weights, for what they are pulled by, less delta [outer, inner, rows, 1]."""
        if self.share is None:
            return self.of(pull) - self.p * delta
        return torch.where(self.s > FLOOR, (self._values(pull) - delta) * self.share, 0.0)

    def _values(self, term: Term) -> Tensor:
        """What a term multiplies P with."""
        tokens = {"s": self.s, "_p": self.p, "_log_p": self.log_p, **self.more}
        known = {name: self.scored.pairs(self.step, t) for name, t in tokens.items()}
        at = tokens_of_pairs(self.call, *self.scored.indices(self.step))
        found = Evaluator(self.call, {**at, **known})(term.value).expand(known["s"].shape)
        return (found if self.step.by_member else found.transpose(0, 1)).flatten(2, 3)


def _pairs(inputs: Inputs, unit: Unit, work: Workspace, budget: Budget) -> Iterator[tuple[Step, _Pairs]]:
    """The pairs of a unit, step by step."""
    q, k, call, schedule = inputs.q, inputs.k, inputs.call, inputs.schedule
    queries, keys = matrices(unit.queries(q), work.dtype), matrices(unit.keys(k), work.dtype)
    lse = matrices(unit.queries(_lse(inputs)[..., None]), work.dtype)
    pulling = [matrices(unit.values(v), work.dtype) for v in inputs.pulling[:1]]
    pulling += [matrices(unit.queries(do), work.dtype) for do in inputs.pulling[1:]]
    first = None if inputs.first is None else matrices(unit.queries(inputs.first[..., None]), torch.int32)
    found = series(unit.group, unit.shared, budget)
    dead, scored = DeadPairs(schedule, unit, found, budget.pairs, q.device), Scored(schedule, unit, q.device)
    for step in steps(found, unit, budget.pairs):
        before = products.scores(step.scaled(queries, inputs.scale, work), step.keys(keys), work, "s")
        s = before if schedule.score is None else scored.of(schedule.score, step, before)
        s = s.clone(memory_format=torch.contiguous_format)  # a score may be one number for many pairs
        if schedule.bias is not None:
            scored.add_bias(schedule.bias, step, s, 1.0)
        dead.hide(step, s)
        more = {}
        if pulling:
            more["_dp"] = products.scores(step.queries(pulling[1]), step.keys(pulling[0]), work, "ds")
        if first is not None:
            more["_is_first"] = (copied(step.queries(first)) == _key_indices(step, q.device)).to(s.dtype)
        of_row = copied(step.queries(lse))
        if schedule.weight is None:
            log_p = s - of_row
            p = log_p.exp()
            log_p = torch.where(p > 0.0, log_p, 0.0) if schedule.unbounded else log_p
            yield step, _Pairs(step, before, s, p, log_p, None, more, scored, call)
            continue
        share = of_row.neg_().exp_()
        p = scored.weights(step, before) * share
        dead.clear(step, p)
        dead.hide(step, s.zero_())
        yield step, _Pairs(step, before, s, p, p, share, more, scored, call)


def _lse(inputs: Inputs) -> Tensor:
    """That of every row, [B, Hq, Sq]; 0 where there is none: none of its pairs is live, or nothing is divided."""
    if not inputs.schedule.divided:
        return torch.zeros(inputs.q.shape[:3], dtype=torch.float32, device=inputs.q.device)
    if inputs.schedule.weight is not None:  # the weights of a row without a positive sum are not divided by it
        return inputs.lse.masked_fill(inputs.lse == -torch.inf, torch.inf)
    return inputs.lse.masked_fill(inputs.lse == -torch.inf, 0.0)


def _key_indices(step: Step, device: torch.device) -> Tensor:
    """The index of every key of a step, int32, as [outer, inner, rows, keys]."""
    index = tokens_at(step.series.cols, step.shape[3], step.group.keys, device).int()
    return (index[None] if step.by_member else index[:, None])[..., None, :]


@dataclass(frozen=True, slots=True, eq=False)
class _Best:
    """The largest score of every row so far, [n, r, 1], and the index of the first key that has it."""

    top: Tensor
    place: Tensor

    @classmethod
    def none(cls, rows: int, n: int, like: Tensor) -> _Best:
        top = like.new_full((n, rows, 1), FLOOR)
        return cls(top, torch.full_like(top, -1, dtype=torch.int32))

    def meet(self, step: Step, s: Tensor) -> None:
        """Take in the keys of scores s [outer, inner, r, c]."""
        highest = s.amax(-1, keepdim=True)
        place = torch.where(s == highest, _key_indices(step, s.device), NO_KEY).amin(-1, keepdim=True)
        top, held = copied(step.rows(self.top)), copied(step.rows(self.place))
        better = (highest > top) | ((highest == top) & (place < held))
        each(Tensor.copy_, step.rows(self.top), torch.where(better, highest, top))
        each(Tensor.copy_, step.rows(self.place), torch.where(better, place, held))

    def write(self, tops: Tensor, places: Tensor) -> None:
        """Write what was found to [..., 1], of as many rows in the same order."""
        tops.copy_(torch.where(self.top > FLOOR, self.top, -torch.inf).view(tops.shape))
        places.copy_(self.place.view(places.shape))


def _add_to_heads(summed: Tensor, found: Tensor, unit: Unit) -> None:
    """Add found [n, Sk, terms * shared] to the heads of a unit, of summed [B, Hq, Sk, terms]."""
    if not summed.shape[-1]:
        return
    place = summed[unit.group.batches, unit.group.heads].unflatten(1, (-1, unit.shared))
    samples, kv_heads, shared, keys, terms = place.shape
    place.add_(found.view(samples, kv_heads, keys, terms, shared).permute(0, 1, 4, 2, 3))
