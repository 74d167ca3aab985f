"""Pairs computed to a live pair, by attnir and by FlexAttention's block masks, and bytes of metadata, on this CPU.

    python -m benchmarks.over_compute [--quick] [NAME ...]

attnir chooses its layout and one of a few tiles, each at least 64 query rows by 64 key columns; FlexAttention visits
whole blocks of 128 x 128. `forward` is the kernel of the output, `transposed` that of dK and dV. A `~` marks a
figure of FlexAttention that is estimated, from blocks of rows that lie evenly apart. --quick leaves FlexAttention out.

`bytes` is what attnir's forward reads besides q, k and v at this length, `a token` the same divided by the queries and
keys of all samples. Where block lists are among it, the line below has the reason that the program gives.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass

# Threads that spin while they wait for each other slow everyone down on a machine that has other work.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask

import attnir as an
from attnir.call import Call
from attnir.count import count_launches, count_live
from attnir.evaluate import live_block, of_pairs
from benchmarks.metadata import Metadata, lists_of, metadata_of, shortened
from benchmarks.realistic import Sized, cataloged, promised

TILES = ((64, 64), (128, 64))
BLOCK = 128  # rows and columns of FlexAttention's blocks
CHUNK = 2**22  # pairs evaluated at once
MOST_PAIRS = 2**29  # beyond these, blocks of rows are sampled


@dataclass(frozen=True, slots=True)
class Measured:
    """Computed pairs to a live pair, the candidate layouts that were taken, live pairs, and the forward's metadata."""

    forward: float
    transposed: float
    forward_way: str
    transposed_way: str
    live: int
    metadata: Metadata


def call_of(sized: Sized) -> Call:
    m = sized.mask
    return m.signature.bind(sized.bindings, batch=sized.batch, heads=sized.heads, q_len=sized.q_len, k_len=sized.k_len)


def measure(sized: Sized) -> Measured:
    """attnir's figures as `explain` has them, with the better tile for each direction."""
    plan, call = an.compile(sized.mask).plan, call_of(sized)
    live = sized.live or count_live(sized.mask.predicate, call)
    best = []
    for transposed in (False, True):
        found = []
        for tile in TILES:
            taken = plan.arrangement(tile, transposed=transposed).taken
            lists = lists_of(taken.launches, call)
            tiles = count_launches(taken.launches, call, lists)
            computed = (tiles.full + tiles.partial) * tile[0] * tile[1]
            way = f"{taken.name}, {tile[0]} x {tile[1]}"
            found.append((computed / max(1, live), way, metadata_of(taken.launches, call, lists)))
        best.append(min(found, key=lambda f: f[:2]))
    (forward, way, metadata), (back, way_back, _) = best
    return Measured(forward, back, way, way_back, live, metadata)


@dataclass(frozen=True, slots=True)
class Blocks:
    """FlexAttention's visited blocks and live pairs, of all samples and heads; of some rows alone where `sampled`."""

    visited: int
    live: int
    sampled: bool

    @property
    def over_compute(self) -> float:
        return self.visited * BLOCK**2 / max(1, self.live)


def flex_blocks(mask: an.Mask | an.Pattern, call: Call, most_pairs: int = MOST_PAIRS) -> Blocks:
    """What create_block_mask would find, a block of rows at a time: a block is visited if it holds a live pair."""
    bands = range(-(-call.q_len // BLOCK))
    total = call.batch * call.heads * call.q_len * call.k_len
    step = max(1, -(-total // most_pairs))
    visited = live = 0
    for band in bands[step // 2 :: step]:
        rows = slice(band * BLOCK, min(call.q_len, (band + 1) * BLOCK))
        width = max(BLOCK, CHUNK // (BLOCK * call.batch * call.heads) // BLOCK * BLOCK)
        for start in range(0, call.k_len, width):
            found = live_block(mask.predicate, call, rows, slice(start, min(call.k_len, start + width)))
            copies = call.batch * call.heads // (found.shape[0] * found.shape[1])
            live += copies * int(found.sum())
            visited += copies * int(_any_live(found).sum())
    return Blocks(visited, live, step > 1)


def _any_live(found: Tensor) -> Tensor:
    """Whether each block of columns holds a live pair: [batch or 1, head or 1, blocks]."""
    columns = found.any(-2)
    found_in: Tensor = torch.nn.functional.pad(columns, (0, -columns.shape[-1] % BLOCK)).unflatten(-1, (-1, BLOCK))
    return found_in.any(-1)


def created_blocks(mask: an.Mask | an.Pattern, call: Call) -> int:
    """The blocks that FlexAttention itself finds; it holds every pair in memory, so for small sizes."""

    def mask_mod(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return of_pairs(mask.predicate, call, b, h, q, k).expand(()) & (q >= 0)  # also where no token is read

    made = create_block_mask(
        mask_mod, call.batch, call.heads, call.q_len, call.k_len, device="cpu", BLOCK_SIZE=BLOCK, _compile=False
    )
    full = 0 if made.full_kv_num_blocks is None else int(made.full_kv_num_blocks.sum())
    return int(made.kv_num_blocks.sum()) + full


def line(name: str, sized: Sized, *, quick: bool) -> str:
    found = measure(sized)
    flex = ""
    if not quick:
        blocks = flex_blocks(sized.mask, call_of(sized))
        assert blocks.sampled or blocks.live == found.live, f"{name}: {blocks.live} and {found.live} live pairs"
        flex = f"{'~' if blocks.sampled else ''}{blocks.over_compute:.2f}"
    limit = "" if sized.promised is None else f"{sized.promised:.2f}"
    tokens = sized.q_len if sized.k_len is None else f"{sized.q_len} x {sized.k_len}"
    figures = f"{limit:>8} {found.forward:8.3f} {found.transposed:10.3f} {flex:>9}"
    read = f"{found.metadata.bytes:9,} {found.metadata.per_token:7.2f}"
    way = f"{found.forward_way}; transposed: {found.transposed_way}"
    reasons = "".join(f"\n    {shortened(reason)}" for reason in found.metadata.reasons)
    return f"{name:38} {tokens!s:>13} {figures} {read}  {way}{reasons}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="attnir alone")
    parser.add_argument("names", nargs="*", help="these rows alone")
    options = parser.parse_args()
    rows = promised() | cataloged()
    heads = f"{'promised':>8} {'forward':>8} {'transposed':>10} {'flex':>9} {'bytes':>9} {'a token':>7}"
    print(f"{'pattern':38} {'tokens':>13} {heads}  layouts taken")
    for name in options.names or rows:
        print(line(name, rows[name], quick=options.quick), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
