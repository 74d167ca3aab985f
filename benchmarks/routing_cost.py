"""What a route costs on this CPU: time and memory of a forward and a backward as the length grows.

    make routing-cost                                     # S up to 65,536
    python -m benchmarks.routing_cost --length 131072 --k 32

Each block of 64 queries attends to the k blocks of 64 keys whose means fit its own best, and to its own (B = H = 1,
D = 64, float32, the torch target). Each length runs in a process of its own, whose peak of resident memory is the
system's; that of a process that only makes the inputs is taken off. Scores of all pairs of blocks are made, in parts:
their time alone grows with the square of the number of blocks, and stands apart. The exit status says whether
the tiles visited are those chosen, and whether memory grows no faster than the length.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass

import torch

import attnir as an
from benchmarks.apart import MIB, measured_apart, peak

BLOCK, D, TIMES = 64, 64, 3


@dataclass(frozen=True, slots=True)
class Measured:
    """One length: seconds of choosing and of the whole, MiB beside the inputs, tiles visited and chosen."""

    length: int
    choosing: float
    whole: float
    own: float
    visited: int
    chosen: int


def measure(length: int, k: int) -> Measured:
    """One length."""
    route = an.route.topk_blocks(block=BLOCK, k=k, forced=[an.route.own()])
    attention = an.compile(an.full(), route=route, backend="torch")
    g = torch.Generator().manual_seed(0)
    inputs = [torch.randn(1, 1, length, D, generator=g).requires_grad_() for _ in range(3)]
    do = torch.randn(1, 1, length, D, generator=g)
    warm = [t[:, :, :256].detach().requires_grad_() for t in inputs]
    attention(*warm).sum().backward()
    before = peak()
    choosing, whole = [], []
    for _ in range(TIMES):
        began = time.perf_counter()
        lists = route.lists(*inputs[:2])
        choosing.append(time.perf_counter() - began)
        torch.autograd.grad(attention(*inputs), inputs, do)
        whole.append(time.perf_counter() - began - choosing[-1])
    found = attention.explain(length, tile=(BLOCK, BLOCK), picks=lists)
    chosen = sum(len({m for m in row if m >= 0}) for row in lists[0, 0].tolist())
    return Measured(length, min(choosing), min(whole), peak() - before, found.tiles.full + found.tiles.partial, chosen)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=65536, help="tokens")
    parser.add_argument("--k", type=int, default=16, help="blocks that are chosen, beside the own one")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.one:
        print(json.dumps(asdict(measure(given.one, given.k))))
        return 0
    lengths = [given.length // n for n in (8, 4, 2, 1)]
    found = [Measured(**measured_apart("benchmarks.routing_cost", "--one", n, "--k", given.k)) for n in lengths]
    print(
        f"topk_blocks(block={BLOCK}, k={given.k}) and the own block, float32, B = H = 1, D = {D}; forward and backward"
    )
    for m in found:
        inputs = 4 * 4 * m.length * D / MIB
        print(
            f"S = {m.length:>7,}: {m.whole:.2f} s, {m.whole / m.length * 1e6:.1f} us a token, of it choosing "
            f"{m.choosing:.3f} s; {m.own:.0f} MiB beside {inputs:.0f} MiB of inputs; {m.visited:,} tiles visited, "
            f"{m.chosen:,} chosen"
        )
    exact = all(m.visited == m.chosen for m in found)
    linear = found[-1].own <= 2.5 * max(found[-2].own, 16.0)
    print(f"Tiles visited are {'those chosen' if exact else 'NOT those chosen'}.")
    print(f"Memory grows {'no faster than the length' if linear else 'FASTER than the length'}.")
    return 0 if exact and linear else 1


if __name__ == "__main__":
    sys.exit(main())
