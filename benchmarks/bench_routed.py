"""Measure routed attention beside dense attention and FlexAttention with a block mask built by hand, in one run.

    python -m benchmarks.bench_routed [--device cuda] [--lengths 4096 ...] [--repeats 5] [--json PATH]

MoBA: chunks of 512 keys, three to a query, causal. BiFormer: 56 x 56 tokens in 7 x 7 regions, four to a region. B = 1,
8 heads, D = 64; float32 on a CPU, bfloat16 on a GPU. All attend to the same lists. What chooses them is timed apart,
and so is what turns them into FlexAttention's block mask, in each call; to FlexAttention tokens of an image are given
in the order of regions, for nothing. Medians in milliseconds of interleaved repeats, and ratios (other / attnir: above
1 attnir is faster). FlexAttention has no backward on a CPU.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

# Threads that spin while they wait for each other slow every contestant down on a machine that has other work.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

import attnir as an
from attnir.frontends.timing import medians

HEADS, D = 8, 64
CHUNK, CHUNKS = 512, 3
SIDE, REGIONS, CHOSEN = 56, 7, 4
ROW = 128  # queries of a block of FlexAttention
Runner = Callable[..., Tensor]


@dataclass(frozen=True, slots=True)
class Case:
    """A mechanism at a length.

    graph     its stages
    lists     what chooses: of q and k
    blocks    FlexAttention's block mask: of lists, a tensor
    order     in which FlexAttention has the tokens
    name      of the lists
    is_causal of the dense attention that it is compared with
    """

    title: str
    length: int
    graph: an.Graph
    lists: Callable[[Tensor, Tensor], Tensor]
    blocks: Callable[[Tensor], BlockMask]
    order: Tensor
    name: str
    is_causal: bool


def moba(length: int, device: str) -> Case:
    """Chunks of keys for every query."""
    route = an.route.topk_blocks(
        block=CHUNK, query_block=1, k=CHUNKS, forced=[an.route.own()], counted=True, causal=True, name="chunks"
    )

    def blocks(lists: Tensor) -> BlockMask:
        members = -(-length // CHUNK)
        chosen = torch.zeros(*lists.shape[:3], members + 1, dtype=torch.bool, device=lists.device)
        chosen.scatter_(3, torch.where(lists < 0, members, lists).long(), value=True)
        chosen = chosen[..., :members]
        seen = torch.nn.functional.pad(chosen, (0, 0, 0, -length % ROW)).unflatten(2, (-1, ROW)).any(3)
        seen = seen.repeat_interleave(CHUNK // ROW, 3)[..., : -(-length // ROW)]
        at = torch.arange(seen.shape[2], device=lists.device)
        seen = seen & (at[:, None] >= at[: seen.shape[3]])

        def mask(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
            return chosen[b, h, q, k // CHUNK] & (k <= q)

        return _mask(seen, ROW, mask)

    graph = an.catalog.build("moba", chunk=CHUNK, k=CHUNKS)
    return Case("moba", length, graph, route.lists, blocks, torch.arange(length, device=device), "chunks", True)


def biformer(device: str) -> Case:
    """Regions of keys for every region."""
    size = SIDE // REGIONS
    place = torch.arange(SIDE * SIDE, device=device)
    region = place // SIDE // size * REGIONS + place % SIDE // size
    graph = an.catalog.build("biformer", height=SIDE, width=SIDE, regions=REGIONS, k=CHOSEN)
    route = an.route.topk_keys(k=CHOSEN, heads="all")
    order = torch.argsort(region, stable=True)

    def lists(q: Tensor, k: Tensor) -> Tensor:
        return route.lists(*(t[:, :, order].unflatten(2, (REGIONS**2, -1)).float().mean(3) for t in (q, k)))

    def blocks(lists: Tensor) -> BlockMask:
        seen = torch.zeros(lists.shape[0], REGIONS**2, REGIONS**2, dtype=torch.bool, device=lists.device)
        seen.scatter_(2, lists.long(), value=True)
        return _mask(seen[:, None], size * size, None)

    return Case("biformer", SIDE * SIDE, graph, lists, blocks, order, "picks", False)


def _mask(seen: Tensor, block: int, mask: Any) -> BlockMask:
    """A block mask whose blocks are FULL, or PARTIAL where there is a mask."""
    count = seen.sum(-1).int()
    indices = seen.int().sort(stable=True, dim=-1, descending=True).indices.int()
    none = torch.zeros_like(count), torch.zeros_like(indices)
    partial_blocks, full_blocks = ((count, indices), none) if mask is not None else (none, (count, indices))
    (count, indices), (full, whole) = partial_blocks, full_blocks
    return BlockMask.from_kv_blocks(count, indices, full, whole, BLOCK_SIZE=block, mask_mod=mask)


def measured(case: Case, repeats: int, device: str) -> dict[str, float]:
    """Medians of every contestant and of what they need, after a look at whether they compute the same."""
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    g = torch.Generator(device).manual_seed(0)
    q, k, v, do = (torch.randn(1, HEADS, case.length, D, generator=g, device=device, dtype=dtype) for _ in range(4))
    attention: Runner = an.compile(case.graph)
    compiled: Runner = torch.compile(flex_attention, dynamic=False)
    lists = case.lists(q, k)
    blocks, ordered = case.blocks(lists), [t[:, :, case.order] for t in (q, k, v)]
    runners: dict[str, Runner] = {
        "attnir, lists given": lambda q, k, v: attention(q, k, v, **{case.name: lists}),
        "attnir": attention,
        "dense": partial(scaled_dot_product_attention, is_causal=case.is_causal),
    }
    with torch.no_grad():
        o = runners["attnir"](q, k, v)
        flex = compiled(*ordered, block_mask=blocks)
        torch.testing.assert_close(flex, o[:, :, case.order], atol=2e-4 if device == "cpu" else 2e-2, rtol=1e-3)
        ms = medians(
            {
                **{name: partial(run, q, k, v) for name, run in runners.items()},
                "flex, mask given": partial(compiled, *ordered, block_mask=blocks),
                "choosing": partial(case.lists, q, k),
                "flex's mask": partial(case.blocks, lists),
            },
            repeats,
        )
    leaves = [t.requires_grad_() for t in (q, k, v)]
    both = {
        f"{name}, both": partial(_both, run, leaves, do)
        for name, run in runners.items()
        if name != "attnir, lists given"
    }
    if device != "cpu":
        own = [t.detach().requires_grad_() for t in ordered]
        both["flex, mask given, both"] = partial(_both, partial(compiled, block_mask=blocks), own, do)
    return ms | medians(both, repeats)


def _both(run: Runner, leaves: list[Tensor], do: Tensor) -> None:
    torch.autograd.grad(run(*leaves), leaves, do)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--lengths", type=int, nargs="+", help="of MoBA; 4096 and 16384, on a GPU 8192 and 32768")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    lengths = options.lengths or ([4096, 16384] if options.device == "cpu" else [8192, 32768])
    rows = []
    for case in [*(moba(n, options.device) for n in lengths), biformer(options.device)]:
        ms = measured(case, options.repeats, options.device)
        rows.append({"mechanism": case.title, "length": case.length, "ms": ms})
        flex = ms["flex, mask given"] + ms["flex's mask"] + ms["choosing"]
        print(f"{case.title}, S = {case.length}")
        print("  " + ", ".join(f"{name} {t:.1f}" for name, t in ms.items()) + " ms")
        needed = f"dense {ms['dense'] / ms['attnir']:.2f}x, flex {flex / ms['attnir']:.2f}x"
        given = f"flex {ms['flex, mask given'] / ms['attnir, lists given']:.2f}x"
        both = f"dense {ms['dense, both'] / ms['attnir, both']:.2f}x"
        print(f"  forward, all that a call needs: {needed}; lists and mask given: {given}; forward + backward: {both}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
