"""Measure the torch target on this CPU, beside compiled FlexAttention and dense-mask attention, in one run.

    python -m benchmarks.bench_cpu [--quick] [--lengths 2048 ...] [--repeats 7] [--json PATH]

Medians in milliseconds of interleaved repeats, float32, B = 1, 8 heads, D = 64, and ratios (other / attnir: above 1
attnir is faster). Then forward + backward of the window, whose cost should grow linearly with the length.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

# Threads that spin while they wait for each other slow every contestant down on a machine that has other work.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

import attnir as an
from attnir.frontends.timing import medians
from benchmarks.patterns import WINDOW, Case, grids, scored, sequences

HEADS, D = 8, 64
Runner = Callable[[Tensor, Tensor, Tensor], Tensor]


def cases(lengths: list[int]) -> list[Case]:
    """Everything that is measured, in order."""
    found = [case for length in lengths for case in (*sequences(length), *scored(length)) if case.name != "full"]
    order = list(dict.fromkeys(case.name for case in found))
    return sorted(found, key=lambda case: order.index(case.name)) + [g for g in grids() if g.length <= max(lengths)]


def contestants(case: Case) -> dict[str, Runner]:
    """attnir first, then what it is compared with; block masks and dense masks are made outside the measurement."""
    attention = an.compile(case.pattern)
    tensors = case.tensors(HEADS, "cpu")
    bindings: dict[str, Any] = case.bindings("cpu") | tensors
    mask = case.flex(case.ids("cpu"))
    blocks = create_block_mask(mask, None, None, case.length, case.length + case.more_keys, device="cpu")
    index = torch.arange(case.length)
    dense = mask(index[:1], index[:1], index[:, None], index[None, :])
    compiled, change = torch.compile(flex_attention, dynamic=False), case.score and case.score(tensors)
    found: dict[str, Runner] = {
        "attnir": lambda q, k, v: attention(q, k, v, **bindings),
        "flex": lambda q, k, v: compiled(q, case.padded(k), case.padded(v), score_mod=change, block_mask=blocks),
    }
    if change is None:
        found["dense mask"] = lambda q, k, v: scaled_dot_product_attention(q, k, v, attn_mask=dense)
    return found


def forward(case: Case, repeats: int) -> dict[str, float]:
    q, k, v = (torch.randn(1, HEADS, case.length, D) for _ in range(3))
    runners = contestants(case)
    with torch.no_grad():
        results = {label: run(q, k, v) for label, run in runners.items()}
        for label, o in results.items():
            torch.testing.assert_close(
                o, results["attnir"], rtol=1e-3, atol=1e-4, msg=f"{label} computes another thing"
            )
        return medians({label: partial(run, q, k, v) for label, run in runners.items()}, repeats)


def both(length: int, repeats: int) -> float:
    """Forward and backward of the window, milliseconds."""
    attention = an.compile(an.window(WINDOW - 1, 0))
    q, k, v = (torch.randn(1, HEADS, length, D, requires_grad=True) for _ in range(3))
    do = torch.randn(1, HEADS, length, D)
    return medians({"both": lambda: torch.autograd.grad(attention(q, k, v), (q, k, v), do)}, repeats)["both"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two lengths, three repeats")
    parser.add_argument("--only", nargs="+", help="patterns whose names begin so, forward alone")
    parser.add_argument("--lengths", type=int, nargs="+", default=[2048, 4096, 8192, 16384])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, help="also write the figures there; with --only, beside those of others")
    options = parser.parse_args()
    lengths = [2048, 8192] if options.quick else options.lengths
    repeats = 3 if options.quick else options.repeats
    torch._dynamo.config.cache_size_limit = 64
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32, {HEADS} heads, D = {D}")
    head = f"{'forward':20} {'S':>6} {'attnir ms':>10} {'flex ms':>9} {'dense ms':>9}"
    print(f"{head} {'flex/attnir':>12} {'dense/attnir':>13}")
    rows = []
    for case in cases(lengths):
        if options.only and not any(case.name.startswith(o) for o in options.only):
            continue
        ms = forward(case, repeats)
        rows.append({"pattern": case.name, "length": case.length, "ms": ms})
        own, flex, dense = ms["attnir"], ms["flex"], ms.get("dense mask", float("nan"))
        times = f"{own:10.1f} {flex:9.1f} {dense:9.1f} {flex / own:11.2f}x {dense / own:12.2f}x"
        print(f"{case.name:20} {case.length:6} {times}", flush=True)
    if options.only:
        _keep(rows, options.json)
        return 0
    print(f"\n{'window, forward + backward':28} {'S':>6} {'ms':>9} {'us per token':>13}")
    for length in lengths:
        ms_both = both(length, repeats)
        rows.append({"pattern": "window 256, forward + backward", "length": length, "ms": {"attnir": ms_both}})
        print(f"{'':28} {length:6} {ms_both:9.1f} {1e3 * ms_both / length:13.2f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def _keep(rows: list[dict[str, Any]], path: Path | None) -> None:
    """Replace some figures of a file."""
    if path:
        new = {(row["pattern"], row["length"]) for row in rows}
        others = [row for row in json.loads(path.read_text()) if (row["pattern"], row["length"]) not in new]
        path.write_text(json.dumps(others + rows, indent=1) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
