"""Online softmax: what rows have gathered from the keys met so far, and how they take in more.

A weight is exp2(score - top). The row keeps the sum of its weights and the weighted sum of values. In general top is
the largest score that the row has met, and both sums fade when a larger one comes. Rows are *calm* when the lengths of
queries and keys prove that no score leaves [-CALM, CALM]: then top is 0, and nothing is searched for, subtracted or
faded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from attnir.codegen.torch import products
from attnir.codegen.torch.dead import FLOOR
from attnir.codegen.torch.operands import Workspace

LOG2E, LN2 = math.log2(math.e), math.log(2)
CALM = 60.0  # weights and their sums stay far from float32's ends, 2 ** -126 and 2 ** 128


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """top [n, r, 1] in units of log 2, total [n, r, 1], the sum of weights, mixed [n, r, Dv], the weighted values."""

    top: Tensor
    total: Tensor
    mixed: Tensor
    calm: bool

    @classmethod
    def empty(cls, work: Workspace, shape: tuple[int, int], dv: int, calm: bool) -> Rows:
        """[n, r] rows that have met no key; `mixed` holds nothing until a first `absorb`."""
        top = work.take("top", *shape, 1).fill_(0.0 if calm else FLOOR)
        return cls(top, work.take("total", *shape, 1).zero_(), work.take("mixed", *shape, dv), calm)

    def part(self, n: slice, r: slice) -> Rows:
        """Some of the rows, as views."""
        return Rows(self.top[n, r], self.total[n, r], self.mixed[n, r], self.calm)

    def absorb(self, s: Tensor, values: Tensor, first: bool, work: Workspace) -> None:
        """Take in scores s [n, r, c], which are overwritten, and values [n, c, Dv]; first: no key was met before."""
        if not self.calm:
            self._rise(s, first)
        weights = s.exp2_()
        total, mixed = weights.sum(-1, keepdim=True), products.mix(weights, values, work)
        if first:
            self.total.copy_(total)
            self.mixed.copy_(mixed)
        else:
            self.total.add_(total)
            self.mixed.add_(mixed)

    def _rise(self, s: Tensor, first: bool) -> None:
        """Take the new top off scores s, and let what the rows hold fade to it."""
        top = torch.maximum(s.amax(-1, keepdim=True), self.top)
        s.sub_(top)
        if not first:
            fade = torch.exp2(self.top - top)
            self.total.mul_(fade)
            self.mixed.mul_(fade)
        self.top.copy_(top)

    def output(self) -> Tensor:
        """o [n, r, Dv]. The total of a live row is at least 2 ** -CALM; that of a dead row is 0, and so is its o."""
        return self.mixed.div_(self.total.clamp(min=2.0 ** -(CALM + 1)))

    def lse(self) -> Tensor:
        """[n, r, 1], natural log; -inf on dead rows."""
        return self.total.log2().add_(self.top).mul_(LN2)


def are_calm(q: Tensor, key_lengths: Iterable[Tensor]) -> bool:
    """Whether |q| |k| <= CALM for q [n, r, D], scaled to units of log 2, and the lengths of its keys [n, c]."""
    longest = [lengths.amax(-1) for lengths in key_lengths]
    if not longest:
        return True
    bound = torch.linalg.vector_norm(q, dim=-1).amax(-1) * torch.stack(longest).amax(0)
    return bool((bound <= CALM).all())  # NaN is not calm
