"""Statistics of one call on a plan's backend: what the targets sum up, finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from attnir.asked import OF_COLUMNS, Asked, Kind, Part
from attnir.call import Call
from attnir.codegen import dense, dispatch
from attnir.codegen.plan import Plan
from attnir.codegen.sums import Sums, Wished
from attnir.dense import of_rows
from attnir.dense_statistics import dense_probabilities
from attnir.weighing import Weights

COLUMNS = 16


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """One call of statistics: pulling holds v and dO, where a part reads their product."""

    plan: Plan
    asked: Asked
    call: Call
    q: Tensor
    k: Tensor
    pulling: Sequence[Tensor]
    scale: float

    @property
    def weights(self) -> Weights:
        return self.plan.pattern.weights

    @property
    def backend(self) -> str:
        return self.plan.backend_on(self.q.device.type)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """[B, Hq, Sq, Sk] of P."""
        return *self.q.shape[:3], self.k.shape[2]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The result of each part, and what a backward needs again: lse, and the first largest keys, int32 [B, Hq, Sq]."""

    results: list[Tensor]
    lse: Tensor
    first: Tensor


def statistics(given: Given) -> Found:
    """The results of all parts: float32, positions int64."""
    b, h, q_len, _ = given.shape
    device, asked = given.q.device, given.asked
    if given.q.numel() == 0 or given.k.numel() == 0:
        none = torch.full((b, h, q_len), -torch.inf, dtype=torch.float32, device=device)
        lse = none if given.weights.divided else dispatch.no_lse(given.q)
        first = torch.full((b, h, q_len) if asked.largest else (0,), -1, dtype=torch.int32, device=device)
        return Found([empty(part, given.shape, device) for part in asked.parts], lse, first)
    lse = _lse(given)
    wished = Wished(asked.rows, asked.columns, asked.largest)
    sums = summed(given, lse, wished) if wished != Wished() else Sums()
    first = lse.new_zeros(0, dtype=torch.int32) if sums.first is None else sums.first
    finished = _Finished(given, lse, wished, sums)
    return Found([finished.of(part) for part in asked.parts], lse, first)


def _lse(given: Given) -> Tensor:
    """The lse of every row, where there is one; the values that the forward wants do not matter: some columns of k.

    As many as a product has at least, so that the rows of what comes of them are aligned.
    """
    if not given.weights.divided:
        return dispatch.no_lse(given.q)
    _, lse = dispatch.forward(given.plan, given.call, given.q, given.k, given.k[..., :COLUMNS], given.scale)
    return lse


def summed(given: Given, lse: Tensor, wished: Wished, first: Tensor | None = None) -> Sums:
    """What a target sums up of P; first: the first largest keys, where a term reads them."""
    q, k, call = given.q, given.k, given.call
    if given.backend == "reference":
        return dense.sums(given.plan.pattern, call, q, k, given.pulling, given.scale, wished, first)
    if given.backend == "triton":
        from attnir.codegen.triton import statistics as on_triton

        return on_triton.statistics(given.plan, call, q, k, lse, first, given.pulling, given.scale, wished)
    from attnir.codegen.torch import statistics as on_torch
    from attnir.codegen.torch.build import schedule

    found = schedule(given.plan, call, q, k, natural=True, fold=False)
    inputs = on_torch.Inputs(q, k, lse, call, found, given.scale, given.pulling, first)
    return on_torch.statistics(inputs, wished)


def empty(part: Part, shape: tuple[int, int, int, int], device: torch.device) -> Tensor:
    """The result of a part where there is no pair."""
    b, h, q_len, k_len = shape
    if part.kind is Kind.ARGMAX:
        return torch.full((b, h, q_len), -1, device=device)
    sizes = {Kind.MATRIX: (q_len, k_len)} | dict.fromkeys(OF_COLUMNS, (k_len,))
    return torch.zeros((b, h, *sizes.get(part.kind, (q_len,))), dtype=torch.float32, device=device)


@dataclass(frozen=True, slots=True, eq=False)
class Sink:
    """The probability of the sink of each row, [B, Hq, Sq], and its logarithm; a row without an lse has none."""

    p: Tensor
    log_p: Tensor

    @staticmethod
    def of(given: Given, lse: Tensor) -> Sink | None:
        """None where the weights have no sink."""
        sink = given.plan.pattern.weights.sink
        if sink is None:
            return None
        score = of_rows(sink, given.call, lse.dtype)
        log_p = torch.where(score > -torch.inf, score - lse, 0.0)
        return Sink(torch.where(score > -torch.inf, log_p.exp(), 0.0), log_p)


def total_of(sums: Sums, lse: Tensor, sink: Sink | None) -> Tensor:
    """The sum of the probabilities of each row, near 1: what lse lost by rounding cancels with it; 1 in dead rows."""
    total = sums.rows[0] if sink is None else sums.rows[0] + sink.p
    return torch.where(lse > -torch.inf, total, 1.0)


@dataclass(frozen=True, eq=False)
class _Finished:
    """Sums that become results."""

    given: Given
    lse: Tensor
    wished: Wished
    sums: Sums

    @cached_property
    def total(self) -> Tensor:
        """The sum of the probabilities of each row: see `total_of`."""
        return total_of(self.sums, self.lse, self.sink)

    @property
    def alive(self) -> Tensor:
        """Which rows give their keys anything: one without a live key may still have a sink."""
        return self.sums.rows[0] > 0

    @cached_property
    def sink(self) -> Sink | None:
        return Sink.of(self.given, self.lse)

    def of(self, part: Part) -> Tensor:
        """The result of a part, contiguous."""
        if part.kind is Kind.MATRIX:
            return dense_probabilities(
                self.given.plan.pattern, self.given.call, self.given.q, self.given.k, self.given.scale
            )[2].float()
        if part.kind in OF_COLUMNS:
            return (
                self.sums.columns[self.wished.columns.index(part.term)]
                .float()
                .clone(memory_format=torch.contiguous_format)
            )
        if part.kind is Kind.ARGMAX:
            assert self.sums.first is not None
            return self.sums.first.long()
        if not self.given.weights.is_softmax:
            return self.sums.rows[self.wished.rows.index(part.term)].float().clone()
        return torch.where(self.alive, self._of_row(part), 0.0).float()

    def _of_row(self, part: Part) -> Tensor:
        if part.kind is Kind.LARGEST:
            assert self.sums.highest is not None
            return (self.sums.highest - self.lse).exp() / self.total
        summed = self.sums.rows[self.wished.rows.index(part.term)]
        match part.kind:
            case Kind.ENTROPY:
                of_sink = 0.0 if self.sink is None else self.sink.p * self.sink.log_p
                return self.total.log() - (summed + of_sink) / self.total
            case Kind.MEAN:
                share = 1.0 if self.sink is None else self.sums.rows[0] / self.total
                return self.lse * share + summed / self.total
            case Kind.COLLISION:
                return summed / self.total.square()
        return summed / self.total
