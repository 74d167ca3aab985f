"""HiP: the blocks of keys of a block of queries, found by a search that halves what is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnir.catalog.registry import Example, entry
from attnir.catalog.sizes import divides, whole
from attnir.facts import selection
from attnir.graph.edges import Lists
from attnir.graph.graph import Graph
from attnir.graph.moving import spread_heads
from attnir.graph.tracing import attend, epilogue, graph, merge
from attnir.inputs import exact
from attnir.masks import causal, mask

WORKSPACE = 2**23  # keys that are looked at together, in numbers


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
        first, stop = q_start // self.query_block, -(-(q_start + q.shape[2]) // self.query_block)
        if q.is_meta:
            members = torch.arange(self.groups, dtype=torch.int32, device="cpu") % max(1, k.shape[2] // self.block)
            return members.expand(*q.shape[:2], stop, -1)
        if not q.numel() or not k.numel():
            return torch.full((*q.shape[:2], stop, self.groups), -1, dtype=torch.int32, device=q.device)
        q = q.detach().float()
        k = spread_heads(k.detach().float(), q.shape[1])
        keys = q.shape[0] * q.shape[1] * 2 * self.groups * self.block * q.shape[3]  # numbers, of one search
        step = max(1, WORKSPACE // keys)
        with exact(q.device):
            parts = [self.search(q, k, q_start, range(at, min(stop, at + step))) for at in range(first, stop, step)]
        return torch.nn.functional.pad(torch.cat(parts, 2), (0, 0, first, 0), value=-1).int()

    def search(self, q: Tensor, k: Tensor, start: int, units: range) -> Tensor:
        """The groups that are left for some blocks of queries, each one block by then: [B, H, units, groups]."""
        low = [max(start, unit * self.query_block) for unit in units]
        high = [min(start + q.shape[2], (unit + 1) * self.query_block) for unit in units]
        blocks = [-(-max(0, min(k.shape[2], end - self.window)) // self.block) for end in high]
        first, size = (t.to(q.device).expand(*q.shape[:2], -1, -1) for t in self.groups_of(blocks))
        probes, there = self.probes(q, start, *(torch.tensor(ends, device=q.device) for ends in (low, high)))
        largest = -(-max(blocks) // self.groups)
        while largest > 1:
            half, largest = size // 2, largest - largest // 2
            halves = ([first, first + half], [half, size - half])  # side by side: of equal ones the lower blocks win
            first, size = (torch.stack(pair, -1).flatten(-2) for pair in halves)
            worth = self.worth(probes, there, k, first).masked_fill(size == 0, -torch.inf)
            best = worth.sort(stable=True, dim=-1, descending=True).indices[..., : self.groups].sort(-1).values
            first, size = first.gather(-1, best), size.gather(-1, best)
        return torch.where(size > 0, first, -1)

    def groups_of(self, blocks: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The first block of every group of so many, and how many it has: [units, groups] each."""
        count = torch.tensor(blocks, device="cpu")[:, None]
        group = torch.arange(self.groups + 1, device="cpu")
        first = (count.double() / self.groups * group).long()  # rounded as in the paper's search
        first[:, -1:] = count
        first = torch.where(count <= self.groups, torch.minimum(group, count), first)
        return first[:, :-1], first.diff(dim=-1)

    def probes(self, q: Tensor, start: int, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Every second query from the second on, or the only one: [B, H, units, probes, D]; and which there are."""
        second = torch.where(high - low > 1, low + 1, low)
        at = second[:, None] + 2 * torch.arange(max(1, self.query_block // 2), device=q.device)
        return q[:, :, (at - start).clamp(max=q.shape[2] - 1)], at < high[:, None]

    def worth(self, probes: Tensor, there: Tensor, k: Tensor, first: Tensor) -> Tensor:
        """The largest product of a probe with a key of a block, [B, H, units, groups]."""
        at = first[..., None] * self.block + torch.arange(self.block, device=k.device)
        b, h = (torch.arange(n, device=k.device) for n in k.shape[:2])
        keys = k[b[:, None, None, None, None], h[:, None, None, None], at.clamp(max=k.shape[2] - 1)]
        products = probes @ keys.flatten(3, 4).mT  # [B, H, units, probes, groups * block]
        best = products.masked_fill(~there[..., None], -torch.inf).amax(3)
        of_blocks: Tensor = best.unflatten(-1, (-1, self.block)).amax(-1)
        return of_blocks
