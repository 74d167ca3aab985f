"""The forward: softmax over the live keys of each row, product by product."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from attnir.codegen.torch import products
from attnir.codegen.torch.budget import Budget, budget_on
from attnir.codegen.torch.dead import DeadPairs
from attnir.codegen.torch.online import LOG2E, Rows, are_calm
from attnir.codegen.torch.operands import Keys, Unit, Workspace, compute_dtype, units
from attnir.codegen.torch.panels import Panel, Range, panels
from attnir.codegen.torch.schedule import Schedule
from attnir.codegen.torch.steps import ALL, covers, exact, rows_of, wide_parts


@exact
def forward(q: Tensor, k: Tensor, v: Tensor, schedule: Schedule, scale: float) -> tuple[Tensor, Tensor]:
    """Attention over the schedule's live pairs.

    q [B, Hq, Sq, D], k [B, Hkv, Sk, D], v [B, Hkv, Sk, Dv] of one dtype, any strides; Hq is a multiple of Hkv.
    Gives o [B, Hq, Sq, Dv] in q's dtype and lse [B, Hq, Sq], float32, of the natural log. A row without a live key has
    o = 0 and lse = -inf.
    """
    o = torch.empty((*q.shape[:3], v.shape[3]), dtype=q.dtype, device=q.device)
    lse = torch.empty(q.shape[:3], dtype=torch.float32, device=q.device)
    if not covers(schedule, q):
        o.zero_()
        lse.fill_(-torch.inf)
    work, budget = Workspace(compute_dtype(q.dtype), q.device), budget_on(q.device)
    lengths = torch.linalg.vector_norm(k, dim=-1, keepdim=True, dtype=work.dtype)
    for unit in units(schedule, q, k, budget.heads):
        state = _Unit(
            unit,
            DeadPairs(schedule, unit, budget.checks),
            work,
            budget,
            scale * LOG2E,
            q=unit.queries(q),
            o=unit.queries(o),
            lse=unit.queries(lse[..., None]),
            k=Keys(work, "k", unit.keys(k)),
            v=Keys(work, "v", unit.keys(v)),
            lengths=Keys(work, "lengths", unit.keys(lengths)),
        )
        for panel in panels(unit.group.visits, unit.n * unit.shared, unit.shared, budget):
            state.run(panel)
    return o, lse


@dataclass(frozen=True, slots=True, eq=False)
class _Unit:
    """A unit's own part of the call: q, o and lse as `Unit.queries` gives them, keys, values, and the keys' lengths."""

    unit: Unit
    dead: DeadPairs
    work: Workspace
    budget: Budget
    factor: float
    q: Tensor
    o: Tensor
    lse: Tensor
    k: Keys
    v: Keys
    lengths: Keys

    def run(self, panel: Panel) -> None:
        """Compute and write the rows of a panel."""
        q = self.work.rows("q", self.q[:, :, slice(*panel.rows)], self.factor)
        calm = are_calm(q, [self.lengths.at(cols) for cols in panel.seen()])
        parts = self._products(panel, q, calm)
        if not panel.whole:
            rows = Rows.none(self.work, q.shape[0], q.shape[1], self.o.shape[4], calm)
            for n, at, part in parts:
                rows.part(n, rows_of(panel, at, self.unit.shared)).merge(part)
            parts = iter([(ALL, panel.rows, rows)])
        for _, at, part in parts:
            part.write(self.o[:, :, slice(*at)], self.lse[:, :, slice(*at)])

    def _products(self, panel: Panel, q: Tensor, calm: bool) -> Iterator[tuple[slice, Range, Rows]]:
        """All products of a panel: the part of n, the query rows, and what they met, in buffers that the next reuses.

        q is [n, rows * shared, D].
        """
        for cols, parts in wide_parts(panel, q, self.budget.pairs):
            k, v = self.k.at(cols), self.v.at(cols)
            for n in parts:
                s = products.scores(q[n], k[n], self.work, "s")
                yield n, panel.rows, Rows.of(s, v[n], calm, self.work)
        for piece in panel.narrow:
            rows = q[:, rows_of(panel, piece.rows, self.unit.shared)]
            s = products.scores(rows, self.k.at(piece.cols), self.work, "s")
            self.dead.hide(piece, s)
            yield ALL, piece.rows, Rows.of(s, self.v.at(piece.cols), calm, self.work)
