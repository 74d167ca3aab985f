"""Stand-in for the torch target, until the fast one is here: one product per visit."""

from __future__ import annotations

import torch
from torch import Tensor

from attnir.codegen.torch.schedule import Group, Schedule, Visit


def default_tile(d: int, dv: int, dtype: torch.dtype) -> tuple[int, int]:
    return 128, 128


def _parts(schedule: Schedule, g: Group, vis: Visit, q: Tensor, k: Tensor, scale: float):
    group = q.shape[1] // k.shape[1]
    heads = torch.arange(q.shape[1])[g.heads] // group
    cols = torch.cat([torch.arange(s.start, s.stop) for s in vis.spans]) if vis.spans else torch.arange(0)
    live = [schedule.live(g, slice(vis.start, vis.stop), slice(s.start, s.stop)) for s in vis.spans]
    n = (len(range(q.shape[0])[g.batches]), len(heads), vis.stop - vis.start)
    mask = torch.cat([x.expand(*n, x.shape[-1]) for x in live], -1) if live else torch.zeros(*n, 0, dtype=torch.bool)
    return heads, cols, mask


def forward(q: Tensor, k: Tensor, v: Tensor, schedule: Schedule, scale: float) -> tuple[Tensor, Tensor]:
    o = q.new_zeros(*q.shape[:3], v.shape[3])
    lse = torch.full(q.shape[:3], -torch.inf, dtype=torch.float32)
    for g in schedule.groups:
        for vis in g.visits:
            heads, cols, mask = _parts(schedule, g, vis, q, k, scale)
            if not len(cols):
                continue
            rows = slice(vis.start, vis.stop)
            s = q[g.batches, g.heads, rows].float() @ k[g.batches][:, heads][:, :, cols].float().transpose(-1, -2) * scale
            s = s.masked_fill(~mask, -torch.inf)
            lv = s.logsumexp(-1)
            p = torch.where(mask, (s - torch.where(lv == -torch.inf, 0, lv)[..., None]).exp(), 0)
            o[g.batches, g.heads, rows] = (p @ v[g.batches][:, heads][:, :, cols].float()).to(q.dtype)
            lse[g.batches, g.heads, rows] = lv
    return o, lse


def backward(q, k, v, o, lse, do, dlse, schedule, scale):
    dq, dk, dv = (torch.zeros(t.shape, dtype=torch.float32) for t in (q, k, v))
    delta = (do.float() * o.float()).sum(-1) - (0 if dlse is None else dlse)
    for g in schedule.groups:
        for vis in g.visits:
            heads, cols, mask = _parts(schedule, g, vis, q, k, scale)
            if not len(cols):
                continue
            rows = slice(vis.start, vis.stop)
            kt, vt = (t[g.batches][:, heads][:, :, cols].float() for t in (k, v))
            qt, dot = q[g.batches, g.heads, rows].float(), do[g.batches, g.heads, rows].float()
            p = torch.where(mask, (qt @ kt.transpose(-1, -2) * scale - lse[g.batches, g.heads, rows, None]).exp(), 0)
            ds = p * (dot @ vt.transpose(-1, -2) - delta[g.batches, g.heads, rows, None])
            ds = torch.where(mask, ds, 0) * scale
            dq[g.batches, g.heads, rows] += ds @ kt
            for i, h in enumerate(heads.tolist()):
                dk[g.batches, h, cols] += ds.transpose(-1, -2)[:, i] @ qt[:, i]
                dv[g.batches, h, cols] += p.transpose(-1, -2)[:, i] @ dot[:, i]
    return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype)
