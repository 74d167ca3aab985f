"""The forward: softmax over the live keys of each row, product by product."""

from __future__ import annotations

import torch
from torch import Tensor

from attnir.codegen.torch import products
from attnir.codegen.torch.budget import budget_on
from attnir.codegen.torch.online import LOG2E, Rows, are_calm
from attnir.codegen.torch.operands import Workspace, compute_dtype
from attnir.codegen.torch.schedule import Schedule
from attnir.codegen.torch.steps import Step, covers, exact, steps


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
    work = Workspace(compute_dtype(q.dtype), q.device)
    lengths = torch.linalg.vector_norm(k, dim=-1, dtype=work.dtype)
    for step in steps(schedule, q, k, budget_on(q.device)):
        queries = work.rows("q", step.unit.queries(q), step.panel.rows).mul_(scale * LOG2E)
        key_lengths = step.unit.keys(lengths).flatten(0, 1)
        calm = are_calm(queries, (key_lengths[:, start:stop] for start, stop in step.panel.seen()))
        rows = Rows.empty(work, (queries.shape[0], queries.shape[1]), v.shape[3], calm)
        if step.panel.bare:
            rows.mixed.zero_()
        _walk(step, queries, step.unit.keys(k), step.unit.keys(v), rows, work)
        step.put(rows.output(), o)
        step.put(rows.lse(), lse[..., None])
    return o, lse


def _walk(step: Step, q: Tensor, k: Tensor, v: Tensor, rows: Rows, work: Workspace) -> None:
    """All products of a panel; q [n, rows * shared, D], k and v as `Unit.keys` gives them."""
    for cols, parts in step.wide(q):
        keys, values = work.columns("k", k, cols), work.columns("v", v, cols)
        for n in parts:
            s = products.scores(q[n], keys[n], work, "s")
            rows.part(n, slice(None)).absorb(s, values[n], cols[0] == step.panel.wide[0], work)
    for piece in step.panel.narrow:
        r = step.rows_of(piece)
        s = products.scores(q[:, r], work.columns("k", k, piece.cols), work, "s")
        step.dead.hide(piece, s)
        rows.part(slice(None), r).absorb(s, work.columns("v", v, piece.cols), piece.first, work)
