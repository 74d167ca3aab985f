"""Online softmax: what rows have gathered from some keys, and how two such parts make one.

A weight is exp2(score - top). Rows hold the sum of the weights and the weighted sum of values. In general top is the
largest score of the row; of two parts the larger top counts, and the other part fades. Rows are *calm* when the lengths
of queries and keys prove that no score leaves [-CALM, CALM]: then top is 0, nothing is searched for, and nothing fades.
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
    """top [n, r, 1] in units of log 2, None on calm rows; total [n, r, 1], the sum of weights; mixed [n, r, Dv]."""

    top: Tensor | None
    total: Tensor
    mixed: Tensor

    @classmethod
    def none(cls, work: Workspace, n: int, r: int, dv: int, calm: bool) -> Rows:
        """[n, r] rows that have met no key."""
        top = None if calm else work.take("top", n, r, 1).fill_(FLOOR)
        return cls(top, work.take("total", n, r, 1).zero_(), work.take("mixed", n, r, dv).zero_())

    @classmethod
    def of(cls, s: Tensor, values: Tensor, calm: bool, work: Workspace) -> Rows:
        """Rows that have met the keys of scores s [n, r, c], which are overwritten, and values [n, c, Dv]."""
        top = None
        if not calm:
            top = s.amax(-1, keepdim=True).clamp_(min=FLOOR)
            s.sub_(top)
        weights = s.exp2_()
        return cls(top, weights.sum(-1, keepdim=True), products.mix(weights, values, work))

    def part(self, n: slice, r: slice) -> Rows:
        """Some of the rows, as views."""
        return Rows(None if self.top is None else self.top[n, r], self.total[n, r], self.mixed[n, r])

    def merge(self, other: Rows) -> None:
        """Take in what the same rows have met elsewhere; `other` is used up."""
        if self.top is not None and other.top is not None:
            top = torch.maximum(self.top, other.top)
            for rows, old in ((self, self.top), (other, other.top)):
                fade = torch.exp2(old - top)
                rows.total.mul_(fade)
                rows.mixed.mul_(fade)
            self.top.copy_(top)
        self.total.add_(other.total)
        self.mixed.add_(other.mixed)

    def write(self, o: Tensor, lse: Tensor) -> None:
        """Write the results to o [..., Dv] and lse [..., 1], of as many rows in the same order.

        The total of a live row is at least 2 ** -CALM. That of a dead row is 0, and so is its o, and its lse is -inf.
        """
        torch.div(self.mixed.view(o.shape), self.total.clamp(min=2.0 ** -(CALM + 1)).view(lse.shape), out=o)
        found = self.total.log2() if self.top is None else self.total.log2().add_(self.top)
        lse.copy_(found.mul_(LN2).view(lse.shape))


def are_calm(q: Tensor, key_lengths: Iterable[Tensor]) -> bool:
    """Whether |q| |k| <= CALM, for q [n, r, D], scaled to units of log 2, and lengths of its keys [n, c, 1]."""
    longest = [lengths.amax((-2, -1)) for lengths in key_lengths]
    if not longest:
        return True
    bound = torch.linalg.vector_norm(q, dim=-1).amax(-1) * torch.stack(longest).amax(0)
    return bool((bound <= CALM).all())  # NaN is not calm
