"""How statistics are judged: against dense float64, by the rules of `judge.py`, each result and each gradient.

What an eager implementation does stands beside them: P of scores in the case's dtype, the statistics by their formulas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attnir.dense import gather, of_rows, weigh
from attnir.expr import Expr
from attnir.heads import spread, summed
from attnir.real import SCORE, derivative, tensors_read
from attnir.testing.case import Case
from attnir.testing.executor import Executor
from attnir.testing.judge import Results, accept, gradient
from attnir.testing.roundings import wrong_by

Matrix = Tensor  # [B, Hq, Sq, Sk]


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """What the formulas of statistics are made of: P and the scores [B, Hq, Sq, Sk], and facts of a call."""

    live: Matrix
    s: Matrix  # 0 on dead pairs
    p: Matrix
    distance: Matrix  # i - j
    norms: Tensor  # |v_j| [B, Hq, 1, Sk]
    lse: Tensor
    sink: Tensor  # the probability of the sink of each row, 0 where there is none

    @property
    def later(self) -> Matrix:
        """1 over the number of later rows of each key that may look at it, in these rows; else 0."""
        inside = (self.live & (self.distance >= 1)).double()
        return inside / inside.sum(-2, keepdim=True).clamp(min=1.0)

    @property
    def log_p(self) -> Matrix:
        return torch.where(self.p > 0, self.p, 1.0).log()


@dataclass(frozen=True, slots=True)
class Formula:
    """A statistic as the sum of P * weight over an axis, -1 for one of rows, -2 for one of columns.

    The weight of one that is no linear sum is the one with which P's gradients reach the scores.
    """

    axis: int
    weight: Callable[[Dense], Tensor]
    value: Callable[[Dense], Tensor] | None = None  # where it is another one

    def of(self, d: Dense) -> Tensor:
        if self.value is not None:
            return self.value(d)
        return (d.p * self.weight(d)).sum(self.axis)


def _entropies(p: Tensor) -> Tensor:
    return -(p * torch.where(p > 0, p, 1.0).log())


def largest(d: Dense) -> Tensor:
    """1 at the first key with the largest score of each row, [B, Hq, Sq, Sk]."""
    s = torch.where(d.live, d.s.detach(), -torch.inf)
    first = (s == s.amax(-1, keepdim=True)).int().argmax(-1, keepdim=True)
    return torch.zeros_like(s).scatter(-1, first, 1.0)


FORMULAS: Mapping[str, Formula] = {
    "row-entropy": Formula(-1, lambda d: -d.log_p, lambda d: _entropies(d.p).sum(-1) + _entropies(d.sink)),
    "row-mean-logit": Formula(-1, lambda d: d.s),
    "row-max-prob": Formula(-1, largest),
    "row-collision": Formula(-1, lambda d: d.p),
    "value-norm-mass": Formula(-1, lambda d: d.norms),
    "mean-distance": Formula(-1, lambda d: d.distance.abs()),
    "received-mass": Formula(-2, lambda d: torch.ones_like(d.p)),
    "fai": Formula(-2, lambda d: d.later),
    "pair-norm-received": Formula(-2, lambda d: d.norms),
}
OF_SOFTMAX = ("row-entropy", "row-mean-logit", "row-max-prob")
CLOSE = 16  # roundings: of two scores, of which each may be wrong by 8
LOGARITHMS = ("row-entropy", "row-mean-logit")  # with roundings of their own, though a row has one key
NORMS = ("value-norm-mass", "pair-norm-received")


def measured(case: Case) -> list[str]:
    """The statistics that the weights of a case have."""
    return [name for name in FORMULAS if case.weights.is_softmax or name not in OF_SOFTMAX]


def gradients_of(found: Mapping[str, Tensor], leaves: Mapping[str, Tensor], seed: int) -> Results:
    """The gradients of a sum of all results, each with weights of its own, by what the leaves are called."""
    loss = torch.zeros((), dtype=torch.float64)
    for name, t in found.items():
        loss = loss + (t.cpu() * weights(name, t, seed).to(t.dtype)).sum()
    grads = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(leaves, grads, strict=True))


def weights(name: str, like: Tensor, seed: int) -> Tensor:
    """The incoming gradients of a result."""
    generator = torch.Generator().manual_seed(seed + len(name))
    return torch.randn(like.shape, dtype=torch.float32, generator=generator)


def dense(case: Case, q: Tensor, k: Tensor, v: Tensor, given: Mapping[str, object]) -> Dense:
    """P of tensors in their dtype, as an eager implementation computes it; of float64 ones, the reference."""
    maps = case.heads_of
    real = q.dtype if q.dtype is torch.float64 else torch.float32
    s = (q @ spread(k, maps.k).transpose(-1, -2)).to(real) * case.factor
    live, call, weights = case.live, case.with_reals(given), case.weights
    scores = case.changed(s, given) + 0.0 * s
    p, lse = weigh(weights, call, scores, live)
    p = torch.where(live, p, 0.0)
    lse = torch.zeros_like(p[..., 0]) if lse is None else lse
    sink = torch.zeros_like(lse)
    if weights.sink is not None:
        sink = (of_rows(weights.sink, call, real) - torch.where(lse > -torch.inf, lse, 0.0)).exp()
    rows = call.q_start + torch.arange(call.q_len)[:, None]
    norms = spread(torch.linalg.vector_norm(v.to(real), dim=-1), maps.v)[:, :, None]
    distance = (rows - torch.arange(call.k_len)).to(real).expand(p.shape)
    return Dense(live, torch.where(live, scores, 0.0), p, distance, norms, lse, sink)


def judge_statistics(
    case: Case, on: Executor, names: Sequence[str], *, roundings: int = 1, backward: bool = True
) -> dict[str, float]:
    """Assert that the statistics of a case, and their gradients, are accepted; the largest error of each."""
    ref, yardstick = (_expected(case, names, double, backward) for double in (True, False))
    got = _got(case, on, names, backward)
    size, rounds = (_sizes(case, names, rounded, backward) for rounded in (False, True))
    figures = {}
    for name, x in got.items():
        of_float = name in FORMULAS or name in [gradient(n) for n in case.learned]
        dtype = torch.float32 if of_float else case.dtype
        assert x.dtype == dtype, f"{name} is {x.dtype}"
        entries = [x.detach().cpu(), ref[name], yardstick[name], size[name], roundings * rounds[name]]
        entries = [t.detach()[..., None] if name in FORMULAS else t.detach() for t in entries]
        x, expected, best, terms, slack = entries
        figures[name] = accept(name, x, expected, best, terms, slack, 2 if name in FORMULAS else 3, dtype)
    return figures


def _leaves(case: Case, device: str, double: bool = False) -> tuple[dict[str, Tensor], dict[str, object]]:
    """q, k, v and real tensors, by what their gradients are called; the keywords of the call."""
    options = case.options(device)
    found = dict(zip(("dq", "dk", "dv"), case.tensors(device)[:3], strict=True))
    found |= {gradient(name): t for name in case.learned if isinstance(t := options[name], Tensor)}
    leaves = {n: (t.double() if double else t).detach().requires_grad_() for n, t in found.items()}
    return leaves, options | {name: leaves[gradient(name)] for name in case.learned}


def _got(case: Case, on: Executor, names: Sequence[str], backward: bool) -> Results:
    leaves, options = _leaves(case, on.device)
    with on.quiet():
        q, k, v = (leaves[n] for n in ("dq", "dk", "dv"))
        more = ["row-argmax"] if case.weights.is_softmax else []
        found: Results = on.statistics(case)(q, k, v, [*names, *more], **options)
        if more:
            _check_largest(found.pop("row-argmax").cpu(), case)
        return {**found, **gradients_of(found, leaves, case.seed)} if backward else found


def _check_largest(first: Tensor, case: Case) -> None:
    """Assert that keys are live and have the largest scores of their rows, as far as roundings let one tell."""
    alive = case.live.any(-1)
    assert torch.equal(first == -1, ~alive), "row-argmax is -1 exactly on the rows without a live key"
    q, k = case.tensors()[0].double(), spread(case.tensors()[1].double(), case.heads_of.k)
    before, of_score = q @ k.transpose(-1, -2) * case.factor, q.abs() @ k.abs().transpose(-1, -2) * abs(case.factor)
    s = torch.where(case.live, case.changed(before), -torch.inf)
    wrong = torch.where(s > -torch.inf, wrong_by(case.score, case, before, of_score), 0.0).amax(-1)
    least = s.amax(-1) - CLOSE * torch.finfo(torch.float32).eps * wrong
    found = s.gather(-1, first.clamp(min=0)[..., None])[..., 0]
    assert bool((found >= least)[alive].all()), "row-argmax is a key that is dead, or that another one outweighs"


def _expected(case: Case, names: Sequence[str], double: bool, backward: bool) -> Results:
    leaves, options = _leaves(case, "cpu", double)
    d = dense(case, leaves["dq"], leaves["dk"], leaves["dv"], options)
    found = {name: FORMULAS[name].of(d) for name in names}
    return {**found, **gradients_of(found, leaves, case.seed)} if backward else found


def _sizes(case: Case, names: Sequence[str], rounded: bool, backward: bool) -> Results:
    """The sums of the sizes of the terms of every result; rounded: of what their roundings follow, as in `judge.py`."""
    q, k, v = (t.double() for t in case.tensors()[:3])
    maps, options = case.heads_of, case.options()
    d = dense(case, q, k, v, {name: options[name] for name in case.learned})
    keys = spread(k, maps.k)
    before = q @ keys.transpose(-1, -2) * case.factor
    of_score, softmax = q.abs() @ keys.abs().transpose(-1, -2) * abs(case.factor), case.weights.is_softmax
    weighed = case.weights.of(case.score)

    def size_of(e: Expr) -> Tensor:
        if rounded:
            return wrong_by(e, case, before, of_score)
        return torch.where(d.live, case.of_pairs(e, before).abs(), 0.0)

    slope = size_of(derivative(weighed, SCORE))
    if softmax:
        lse = (d.s - d.log_p).abs() * (d.p > 0)
        of_s = size_of(weighed) if rounded else 0.0
        p = share = d.p * (1 + d.s.abs() + of_s + lse)  # exp magnifies s - lse's
    else:
        share = torch.where(d.lse > -torch.inf, -d.lse, -torch.inf).exp()[..., None] * d.live
        p = size_of(weighed) * share
    found: Results = {}
    pull, of_values, of_all = torch.zeros_like(p), torch.zeros_like(p), torch.zeros_like(p[..., :1])
    for name in names:
        formula = FORMULAS[name]
        weight = formula.weight(d).abs()
        more = 1.0 if rounded or name in LOGARITHMS else 0.0
        found[name] = (p * (weight + more)).sum(formula.axis)
        g = weights(name, found[name], case.seed).double().abs().unsqueeze(formula.axis)
        pull = pull + 2 * g * (weight + more)
        of_all = of_all + (g * (1 + d.sink[..., None].clamp(min=1e-30).log().abs()) if name in LOGARITHMS else 0.0)
        of_values = of_values + (p * g if name in NORMS else 0.0)
    if not backward:
        return found
    of_row = (d.p.abs() * pull).sum(-1, keepdim=True) * case.weights.divided
    ds = share * (pull + of_row)
    learned = {name: torch.zeros(t.numel(), dtype=torch.float64) for name, t in case.call.reals.items()}
    for name, n in tensors_read(weighed):
        gather(n, case.call, ds * size_of(derivative(weighed, n)), learned[name])
    sink = case.weights.sink
    for name, n in () if sink is None else tensors_read(sink):
        assert sink is not None
        bent = of_rows(derivative(sink, n), case.call, torch.float64).abs()
        lost = (d.sink * (1 + d.lse.abs()))[..., None] * (of_row + of_all * (1 + d.lse.abs())[..., None])
        gather(n, case.call, lost * bent[..., None], learned[name], columns=1)
    ds = ds * abs(case.factor) * slope
    dv = of_values.sum(-2)[..., None] * spread(v.abs() / v.norm(dim=-1, keepdim=True), maps.v)
    found |= {
        "dq": ds @ keys.abs(),
        "dk": summed(ds.transpose(-1, -2) @ q.abs(), maps.k, k.shape[1]),
        "dv": summed(dv, maps.v, v.shape[1]),
    }
    return found | {gradient(name): t.view(case.call.reals[name].shape) for name, t in learned.items()}
