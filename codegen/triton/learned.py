"""Gradients of real tensors, summed up in integers: whatever the order of the summands, the sum is the same.

A summand is a gradient of a score, dS = P * (dO . v - delta), times the slope of the score by what is read. A row of P
sums to 1 at most, so all summands together are no larger than the number of rows times bounds of both factors. The unit
is the power of two with which such a sum still fits 62 bits. Where a slope may be infinite, or a row of P may sum to
more, there is no such bound: then the largest summand is measured, by a first run of the kernel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from attnir.call import Call
from attnir.codegen.gradients import Incoming
from attnir.expr import TOKENS, Expr
from attnir.ops import TensorDecl
from attnir.real import ONE, derivative, is_unbounded, tensors_read
from attnir.real_range import range_of
from attnir.scores import Pattern

BITS = 61
SLACK = 1.01  # for roundings
TINY = 1e-30  # a bound of summands that are all 0


@dataclass(frozen=True, slots=True, eq=False)
class LearnedSums:
    """By name: the sums, int64 of the shape of the tensor, and how many units make 1, float32 [].

    measures: no sums are made, and the units become the largest summands.
    """

    held: Mapping[str, Tensor] = field(default_factory=dict)
    units: Mapping[str, Tensor] = field(default_factory=dict)
    measures: bool = False

    @staticmethod
    def none(
        pattern: Pattern,
        call: Call,
        names: Sequence[str],
        given: Incoming,
        delta: Tensor,
        measure: Callable[[LearnedSums], None],
    ) -> LearnedSums:
        """The sums before any summand."""
        if not names:
            return NO_SUMS
        held = {n: torch.zeros(call.reals[n].shape, dtype=torch.int64, device=given.device) for n in names}
        score, weights = pattern.weighed, pattern.weights
        slopes = {name: [derivative(score, n) for read, n in tensors_read(score) if read == name] for name in names}
        bounded = weights.is_softmax and weights.factor is ONE
        if not bounded or any(is_unbounded(slope) for found in slopes.values() for slope in found):
            return LearnedSums.measured(call, names, (score, weights.factor), given.lse, measure)
        longest = [_longest(t) for t in (given.q, given.k, given.v, given.do)]
        scores = longest[0] * longest[1] * abs(given.scale)
        # A row that met NaN has an lse of NaN, and so has the unit then.
        most = longest[2] * longest[3] + delta.double().abs().amax()
        most = most + given.lse.double().where(given.lse.isnan(), 0.0).sum()
        most = most * call.batch * call.heads * call.q_len
        if weights.landmarks is not None:  # those of a block are given to its keys as well, and to its landmark
            most = 3 * most
        units = {}
        for name, found in slopes.items():
            sizes = [torch.stack(range_of(slope, call, scores)).abs().amax() for slope in found]
            units[name] = _unit(most * torch.stack(sizes).sum())
        return LearnedSums(held, units)

    @staticmethod
    def measured(
        call: Call, names: Sequence[str], roots: Iterable[Expr], lse: Tensor, measure: Callable[[LearnedSums], None]
    ) -> LearnedSums:
        """The sums before any summand, in units that the largest summands give: what has no bound is measured.

        roots: the expressions that read the tensors; all that one of them reads may meet at one entry.
        """
        if not names:
            return NO_SUMS
        held = {n: torch.zeros(call.reals[n].shape, dtype=torch.int64, device=lse.device) for n in names}
        largest = {name: torch.zeros((), dtype=torch.float32, device=lse.device) for name in names}
        measure(LearnedSums(held, largest, measures=True))
        count = call.batch * call.heads * call.q_len * call.k_len
        times = Counter(name for e in roots for name, _ in tensors_read(e))
        met = lse.double().where(lse.isnan(), 0.0).sum()
        return LearnedSums(held, {name: _unit(t.double() * count * times[name] + met) for name, t in largest.items()})

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.held)

    def arguments(self) -> dict[str, Any]:
        """The values of a kernel's arguments, but for strides."""
        return {f"sum_{n}": t for n, t in self.held.items()} | {f"unit_{n}": t for n, t in self.units.items()}

    def strides(self, decl: TensorDecl) -> dict[str, int]:
        """The strides of a sum; an axis of size 1 that is named as a token is shared."""
        t = self.held[decl.name]
        steps = zip(decl.axes, t.shape, t.stride(), strict=True)
        return {f"sum_{decl.name}_{i}": 0 if a in TOKENS and n == 1 else step for i, (a, n, step) in enumerate(steps)}

    def gradients(self, call: Call) -> dict[str, Tensor]:
        """The gradients, typed as their tensors."""
        return {n: (t.double() / self.units[n]).to(call.reals[n].dtype) for n, t in self.held.items()}


NO_SUMS = LearnedSums()


def _longest(t: Tensor) -> Tensor:
    """The length of the longest row of a tensor [B, H, S, D]; a finite result has met none that is not finite."""
    lengths = torch.linalg.vector_norm(t, dim=-1, dtype=torch.float64)
    return torch.nan_to_num(lengths, 0.0, 0.0, 0.0).amax()


def _unit(bound: Tensor) -> Tensor:
    """How many units make 1, so that what is at most `bound` fits."""
    return torch.exp2((BITS - (bound * SLACK).clamp(min=TINY).log2()).floor().clamp(-126, 126)).float()
