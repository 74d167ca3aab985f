"""Online softmax: what rows have gathered from the keys met so far, and how they take in more.

A weight is exp2(score - top), top being the largest score that the row has met. The row keeps the sum of its weights
and the weighted sum of values; both fade when a larger score comes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attnir.codegen.torch import products
from attnir.codegen.torch.dead import FLOOR
from attnir.codegen.torch.operands import Workspace

LOG2E, LN2 = math.log2(math.e), math.log(2)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """top [n, r, 1] in units of log 2, total [n, r, 1], the sum of weights, mixed [n, r, Dv], the weighted values."""

    top: Tensor
    total: Tensor
    mixed: Tensor

    @classmethod
    def empty(cls, work: Workspace, n: int, r: int, dv: int) -> Rows:
        """Rows that have met no key; `mixed` holds nothing until a first `absorb`."""
        top, total = work.take("top", n, r, 1).fill_(FLOOR), work.take("total", n, r, 1).zero_()
        return cls(top, total, work.take("mixed", n, r, dv))

    def part(self, n: slice, r: slice) -> Rows:
        """Some of the rows, as views."""
        return Rows(self.top[n, r], self.total[n, r], self.mixed[n, r])

    def absorb(self, s: Tensor, values: Tensor, first: bool, work: Workspace) -> None:
        """Take in scores s [n, r, c], which are overwritten, and values [n, c, Dv]; first: no key was met before."""
        top = torch.maximum(s.amax(-1, keepdim=True), self.top)
        weights = s.sub_(top).exp2_()
        total, mixed = weights.sum(-1, keepdim=True), products.mix(weights, values, work)
        if first:
            self.total.copy_(total)
            self.mixed.copy_(mixed)
        else:
            fade = torch.exp2(self.top - top)
            self.total.mul_(fade).add_(total)
            self.mixed.mul_(fade).add_(mixed)
        self.top.copy_(top)

    def output(self) -> Tensor:
        """o [n, r, Dv]. A live row's total is at least 1, the weight of its top; a dead row's is 0, and so is its o."""
        return self.mixed.div_(self.total.clamp(min=1))

    def lse(self) -> Tensor:
        """[n, r, 1], natural log; -inf on dead rows."""
        return self.total.log2().add_(self.top).mul_(LN2)
