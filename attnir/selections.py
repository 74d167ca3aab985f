"""Selections: lists of members, and the place at which a member stands in a list."""

from __future__ import annotations

import torch
from torch import Tensor


def rank(lists: Tensor, samples: Tensor, heads: Tensor, at: Tensor, member: Tensor) -> Tensor:
    """The first place of members in lists, counted from 1; 0 where they are not there, or there is no such list.

    lists are int32 [B or 1, H or 1, lists, places], all others int64 of shapes that broadcast; so is the result.
    """
    count, places = lists.shape[2:]
    samples, heads = (i if n > 1 else torch.zeros_like(i) for i, n in zip((samples, heads), lists.shape, strict=False))
    exists, at = (at >= 0) & (at < count) & (member >= 0), at.clamp(0, count - 1)
    found = torch.zeros(
        torch.broadcast_shapes(samples.shape, heads.shape, at.shape, member.shape),
        dtype=torch.int64,
        device=lists.device,
    )
    for place in range(places, 0, -1):  # the first one counts
        found = torch.where(exists & (lists[samples, heads, at, place - 1] == member), place, found)
    return found


def distinct(lists: Tensor) -> Tensor:
    """Lists [..., places] as sets: a member that stood in the list before becomes -1."""
    ordered, order = lists.sort(stable=True, dim=-1)
    again = torch.zeros_like(lists, dtype=torch.bool)
    again[..., 1:] = ordered[..., 1:] == ordered[..., :-1]
    return torch.where(torch.zeros_like(again).scatter(-1, order, again), -1, lists.clamp(min=-1))
