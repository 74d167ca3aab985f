"""HiP: the blocks of keys of a block of queries, found by a search that halves what is left."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnir.catalog.registry import Example, entry
from attnir.catalog.sizes import divides, whole
from attnir.facts import selection
from attnir.graph.edges import Lists
from attnir.graph.graph import Graph
from attnir.graph.tracing import attend, epilogue, graph, merge
from attnir.inputs import exact
from attnir.masks import causal, mask


@entry(
    "hip",
    source="A Training-Free Sub-quadratic Cost Transformer Model Serving Framework with Hierarchically Pruned "
    "Attention; from the paper",
    example=Example({"query_block": 8, "block": 4, "budget": 16, "window": 8, "sinks": 2}, heads=2),
    graph=True,
)
def hip(query_block: int = 32, block: int = 2, budget: int = 512, window: int = 256, sinks: int = 4) -> Graph:
    """Causal; a window, the first tokens, and the blocks of earlier keys that a search finds for a block of queries.

    The keys before the window are cut into as many groups of blocks as are to be found. Each group is halved, a half
    is worth the largest product of a probe (every second query, from the second on) with a key of its first block, and
    the best halves are kept, until a group is one block. All is in one softmax; the search has no gradient. Later
    queries of a block change what earlier ones see: causal in values only.

    query_block   queries that search together
    block         keys in a block
    budget        keys that are found, a multiple of block
    window        keys up to a query's own that it sees anyway
    sinks         tokens at the beginning that it sees anyway

    >>> import attnir as an
    >>> print(an.catalog.build("hip"))  # doctest: +ELLIPSIS
    q  ...
    """
    whole(1, query_block=query_block, block=block, budget=budget, window=window)
    whole(0, sinks=sinks)
    divides("block", block, budget=budget)
    found = selection("found", "b", "h")
    near = mask(lambda q, k: (q - k < window) | (k < sinks))
    listed = mask(lambda q, k: found(q // query_block, k // block) > 0)
    search = _Search(query_block, block, budget // block, window)

    def stages(q: Any, k: Any, v: Any) -> Any:
        lists = epilogue(search, q, k, gives=Lists(f"q // {query_block}", f"k // {block}"))
        far = attend(causal() & listed & ~near, q, k, v, found=lists, return_lse=True)
        return merge([attend(causal() & near, q, k, v, return_lse=True), far])[0]

    return graph(stages)


@dataclass(frozen=True, slots=True)
class _Search:
    """The blocks that are found for every block of queries: int32 [B, Hq, query blocks, groups], -1 is none."""

    query_block: int
    block: int
    groups: int
    window: int

    def __call__(self, q: Tensor, k: Tensor, q_start: int) -> Tensor:
        start, stop = q_start, q_start + q.shape[2]
        units = range(-(-stop // self.query_block))
        copies = q.shape[:2]
        if q.is_meta:
            members = torch.arange(self.groups, dtype=torch.int32) % max(1, k.shape[2] // self.block)
            return members.expand(*copies, len(units), -1)
        q = q.detach().float()
        k = k.detach().float().repeat_interleave(q.shape[1] // k.shape[1], 1)
        found = torch.full((*copies, len(units), self.groups), -1, dtype=torch.int32, device=q.device)
        for unit in units:
            low, high = max(start, unit * self.query_block), min(stop, (unit + 1) * self.query_block)
            blocks = -(-max(0, min(k.shape[2], high - self.window)) // self.block)
            if low >= high or not blocks or not k.numel():
                continue
            probes = q[:, :, low - start : high - start]
            with exact(q.device):
                taken = self.search(probes[:, :, 1::2] if high - low > 1 else probes, k, blocks)
            found[:, :, unit, : taken.shape[-1]] = taken
        return found

    def search(self, probes: Tensor, k: Tensor, blocks: int) -> Tensor:
        """The groups that are left, [B, H, at most `groups`], of so many blocks."""
        copies = probes.shape[:2]
        if blocks <= self.groups:
            return torch.arange(blocks, device=k.device, dtype=torch.int32).expand(*copies, -1)
        ends = [int(blocks / self.groups * g) for g in range(self.groups)]
        first = torch.tensor(ends, device=k.device).expand(*copies, -1)
        size = torch.tensor([*ends[1:], blocks], device=k.device).expand(*copies, -1) - first
        largest = max(b - a for a, b in itertools.pairwise([*ends, blocks]))
        while largest > 1:
            half, largest = size // 2, largest - largest // 2
            first, size = torch.cat([first, first + half], -1), torch.cat([half, size - half], -1)
            worth = self.worth(probes, k, first).masked_fill(size == 0, -torch.inf)
            best = worth.sort(stable=True, dim=-1, descending=True).indices[..., : self.groups].sort(-1).values
            first, size = first.gather(-1, best), size.gather(-1, best)
        return first.int()

    def worth(self, probes: Tensor, k: Tensor, first: Tensor) -> Tensor:
        """The largest product of a probe with a key of a block, [B, H, groups]."""
        at = first[..., None] * self.block + torch.arange(self.block, device=k.device)
        b, h = (torch.arange(n, device=k.device) for n in k.shape[:2])
        keys = k[b[:, None, None, None], h[:, None, None], at.clamp(max=k.shape[2] - 1)]
        return torch.einsum("bhpd,bhgkd->bhgpk", probes, keys).amax((-1, -2))
