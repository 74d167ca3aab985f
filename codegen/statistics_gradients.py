"""Gradients of statistics: dS = P * (pull - delta), for all parts at once, and what real tensors get that parts read.

Of weights W that are no softmax it is dW = (pull - delta) / n, for their sum n, or the pull itself.

delta is the sum of P * pull over each row, from a walk of the rows; the same walk, and one of the columns, sum up the
gradients of the tensors that the parts read. What flows through the scores goes the way of an attention's backward.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from attnir.asked import CONSTANT, Kind
from attnir.codegen import dense
from attnir.codegen.dispatch import read_by_rows
from attnir.codegen.gradients import Gradients, Wanted
from attnir.codegen.statistics import Found, Given, Sink, summed, total_of
from attnir.codegen.sums import Sums, Wished
from attnir.errors import DerivativeError
from attnir.expr import Expr
from attnir.ops import TensorDecl
from attnir.real import ONE, derivative, tensors_read
from attnir.terms import Term, side_read

Q, K = object(), object()  # what the gradients of q and k are kept by


def statistics_backward(given: Given, found: Found, gradients: Sequence[Tensor | None], wanted: Wanted) -> Gradients:
    """The gradients of q, k and of real tensors for those of the results."""
    parts = given.asked.parts
    total = _Total(given)
    if given.q.numel() and given.k.numel():
        tiled = []
        for part, g in zip(parts, gradients, strict=True):
            if part.kind is Kind.MATRIX and g is not None:
                total.add_all(dense.through(given.plan.pattern, given.call, given.q, given.k, given.scale, g))
            tiled.append(None if part.kind is Kind.MATRIX or part.kind in CONSTANT else g)
        if any(g is not None for g in tiled):
            _add_tiled(total, given, found, tiled, wanted)
    return total.gradients()


@dataclass(slots=True)
class _Total:
    """Gradients that are added up, and typed in the end as what they are of."""

    given: Given
    of: dict[object, Tensor] = field(default_factory=dict)

    def add(self, more: Mapping[object, Tensor]) -> None:
        for name, t in more.items():
            self.of[name] = self.of[name] + t if name in self.of else t

    def add_all(self, more: Gradients) -> None:
        given: dict[object, Tensor | None] = {Q: more.q, K: more.k}
        given.update(more.reals)
        self.add({name: t for name, t in given.items() if t is not None})

    def gradients(self) -> Gradients:
        given = self.given
        reals = {name: self._typed(name, t) for name, t in given.call.reals.items()}
        return Gradients(self._typed(Q, given.q), self._typed(K, given.k), None, reals)

    def _typed(self, name: object, like: Tensor) -> Tensor:
        if name in self.of:
            return self.of[name].to(like.dtype, copy=True).contiguous()  # two of them may be one sum
        return torch.zeros(like.shape, dtype=like.dtype, device=like.device)


def _add_tiled(total: _Total, given: Given, found: Found, gradients: Sequence[Tensor | None], wanted: Wanted) -> None:
    names = ["" if g is None else f"_gradient_{i}" for i, g in enumerate(gradients)]
    reals = {n: g.float() for n, g in zip(names, gradients, strict=True) if g is not None}
    first = found.first if Term(given.asked.pulled(names)).reads_first else None
    given = replace(given, call=replace(given.call, reals={**given.call.reals, **reals}))
    pull = given.asked.pulled(names)
    reads = [_Read.of(n, name, pull) for name, n in tensors_read(pull) if name in wanted.reals]
    wished = Wished(
        tuple(dict.fromkeys([Term(ONE), Term(pull), *(r.term for r in reads if r.side != "k")])),
        tuple(dict.fromkeys(r.term for r in reads if r.side == "k")),
    )
    sums = summed(given, found.lse, wished, first)
    for read in reads:
        total.add({read.name: read.gathered(wished, sums, given.call.reals[read.name])})
    of_score = tuple({name for name, _ in tensors_read(given.plan.pattern.weighed) if name in wanted.reals})
    if wanted.q or wanted.kv or wanted.reals:
        delta = _delta(total, given, found, sums, gradients, wanted)
        total.add_all(_through(given, found.lse, first, delta, pull, replace(wanted, reals=of_score)))


def _delta(
    total: _Total, given: Given, found: Found, sums: Sums, gradients: Sequence[Tensor | None], wanted: Wanted
) -> Tensor:
    """What is taken from the pull of each row: its mean under P, and, of what is no mean, the rest of its derivative.

    A sink is one more key, of which entropy and mean say something, and no other statistic; here it gets its gradient.
    """
    if not given.weights.divided:
        return torch.zeros(given.shape[:3], dtype=torch.float32, device=given.q.device)
    if not given.weights.is_softmax:
        return sums.rows[1]
    lse, sink = found.lse, Sink.of(given, found.lse)
    delta = sums.rows[1] / total_of(sums, lse, sink)
    of_sink = torch.zeros_like(delta)  # its pull
    for part, g in zip(given.asked.parts, gradients, strict=True):
        if g is not None and part.kind is Kind.MEAN:
            delta = delta - g * (1.0 if sink is None else 1.0 + sink.p * lse)
            of_sink = of_sink - g * (1.0 + lse)
        if g is not None and part.kind is Kind.ENTROPY and sink is not None:
            delta = delta - g * sink.p * sink.log_p
            of_sink = of_sink - g * sink.log_p
    delta = torch.where(lse > -torch.inf, delta, 0.0)
    if sink is not None:
        given_sink = torch.where(lse > -torch.inf, sink.p * (of_sink - delta), 0.0)
        score = given.plan.pattern.weights.sink
        assert score is not None
        for name, t in read_by_rows(score, given.call, given_sink.double(), wanted.reals).items():
            total.add({name: t})
    return delta


def _through(given: Given, lse: Tensor, first: Tensor | None, delta: Tensor, pull: Expr, wanted: Wanted) -> Gradients:
    """The gradients through the scores."""
    plan, q, k, call, scale = given.plan, given.q, given.k, given.call, given.scale
    if given.backend == "reference":
        return dense.through(plan.pattern, call, q, k, scale, pull, delta, first)
    if given.backend == "triton":
        from attnir.codegen.triton import statistics as on_triton

        return on_triton.statistics_backward(plan, call, q, k, lse, first, delta, scale, pull, wanted)
    from attnir.codegen.torch import statistics as on_torch
    from attnir.codegen.torch.build import schedule

    found = schedule(plan, call, q, k, wanted.reals, natural=True, fold=False)
    inputs = on_torch.Inputs(q, k, lse, call, found, scale, first=first)
    return on_torch.statistics_backward(inputs, delta, pull, wanted)


@dataclass(frozen=True, slots=True)
class _Read:
    """A real tensor that a pull reads, entry by entry along the tokens of one side: what its gradient is the sum of."""

    name: str
    axes: tuple[str, ...]
    side: str  # "q", "k", or "" for neither
    term: Term

    @staticmethod
    def of(n: Expr, name: str, pull: Expr) -> _Read:
        side = side_read(n)
        if side is None:
            raise DerivativeError(
                f"a statistic has no gradient by the tensor `{name}`, which it reads at `{n}`; read it at q or at k, "
                "with an axis of that name, or detach it"
            )
        assert isinstance(n.value, TensorDecl)
        return _Read(name, n.value.axes, side, Term(derivative(pull, n)))

    def gathered(self, wished: Wished, sums: Sums, like: Tensor) -> Tensor:
        """The gradient, shaped as the tensor, of sums [B, Hq, S]."""
        held = ("b", "h", self.side or "q")
        of_columns = self.side == "k"
        terms, found = (wished.columns, sums.columns) if of_columns else (wished.rows, sums.rows)
        sizes = dict(zip(self.axes, like.shape, strict=True))
        shared = [i for i, axis in enumerate(held) if sizes.get(axis, 1) == 1]
        t = found[terms.index(self.term)]
        t = t.sum(shared, keepdim=True) if shared else t
        kept = [axis for axis in held if axis in self.axes]
        t = t.squeeze([i for i, axis in enumerate(held) if axis not in kept])
        return t.permute([kept.index(axis) for axis in self.axes])
