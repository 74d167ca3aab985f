"""What scores cost in the loop over full tiles, as instructions of the compiled code: `make score-cost`.

    python -m benchmarks.score_cost [--target sm_90] [--json PATH]

Kernels of causal attention in bfloat16 are compiled without a GPU, in the configuration that the compiler chooses for
the scored one; the plain kernel beside it in the same. Of each, the instructions in the loop over full tiles are
counted by what they do. A thread has so many pairs of a tile; its instructions by pairs, less those of the plain
kernel, are what a score costs a pair. Registers and spills are those of the whole kernel.
"""

from __future__ import annotations

import os

os.environ["TRITON_INTERPRET"] = "0"  # before Triton is imported

import argparse
import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import attnir as an
from attnir.codegen.plan import Plan
from attnir.codegen.targets import Target
from attnir.codegen.triton.assembly import mix
from attnir.codegen.triton.inspect import inspect
from attnir.codegen.triton.launch import launches_of
from attnir.codegen.triton.survey import Kernel, kernels

KINDS = ("forward", "dq", "dkv")
WIDTHS = (64, 128)
SCORES: dict[str, an.Score] = {
    "ALiBi": an.alibi(),
    "ALiBi, symmetric": an.alibi(symmetric=True),
    "softcap": an.softcap(30.0),
    "clipped table": an.relative_bias(127, causal=True),
}


@dataclass(frozen=True, slots=True)
class Cost:
    """The loop over full tiles of a kernel.

    pairs    of a tile, by threads
    opcodes  the instructions of a thread
    """

    score: str
    kind: str
    width: int
    tile: str
    pairs: int
    registers: int
    spills: int
    opcodes: Counter[str]

    def more(self, plain: Cost) -> float:
        """Instructions by pair that the plain kernel, in the same configuration, has not."""
        return (self.opcodes.total() - plain.opcodes.total()) / self.pairs


def measure(score: str, kernel: Kernel) -> Cost:
    """Compile a kernel, and count."""
    found = inspect(kernel.kind, kernel.programs, kernel.spec, kernel.target)
    assert found.full is not None, f"{kernel.kind}: no loop over full tiles"
    config = kernel.config
    pairs = config.block_q * config.block_k // (kernel.target.warp * config.num_warps)
    tile = f"{config.block_q} x {config.block_k}"
    return Cost(score, kernel.kind, kernel.spec.d, tile, pairs, found.registers, found.spills, found.full.counts)


def of_score(name: str, kind: str, width: int, target: Target) -> tuple[Cost, Cost]:
    """(the plain kernel, the scored one), in the scored one's configuration."""
    scored = _kernel(an.pattern(an.causal(), score=SCORES[name]), kind, width, target)
    plain = _kernel(an.pattern(an.causal()), kind, width, target)
    return measure("plain", _in(plain, scored)), measure(name, scored)


def _kernel(pattern: an.Pattern, kind: str, width: int, target: Target) -> Kernel:
    return kernels(Plan(pattern), kind, target, width, width, torch.bfloat16, grouped=False)[-1]


def _in(kernel: Kernel, other: Kernel) -> Kernel:
    """A kernel in the configuration of another one."""
    config = other.config
    programs = launches_of(Plan(an.pattern(an.causal())), kernel.kind, config)[-1]
    return replace(kernel, programs=programs, spec=replace(kernel.spec, config=config))


def row(cost: Cost, plain: Cost) -> dict[str, Any]:
    return {
        "score": cost.score,
        "kind": cost.kind,
        "width": cost.width,
        "tile": cost.tile,
        "pairs": cost.pairs,
        "registers": cost.registers,
        "spills": cost.spills,
        "instructions": dict(mix(cost.opcodes)),
        "more": round(cost.more(plain), 2),
    }


def rows(target: Target) -> list[dict[str, Any]]:
    """Every score and every kernel, each plain one before its scored one, once."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for kind in KINDS:
        for width in WIDTHS:
            for name in SCORES:
                plain, scored = of_score(name, kind, width, target)
                for cost in (plain, scored):
                    found[cost.score, kind, width, cost.tile] = row(cost, plain)
    return list(found.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="sm_90", help="sm_80, sm_90, sm_100; default: %(default)s")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    found = rows(Target.parse(options.target))
    columns = ("matrix", "exp", "float", "integer", "select", "shared", "global", "control")
    heads = " ".join(f"{c:>8}" for c in columns)
    start = f"{'kernel':8} {'D':>4} {'score':18} {'tile':>10} {'regs':>5} {'spills':>6}"
    print(f"{start} {heads} {'all':>6} {'by pair':>8} {'more':>6}")
    for r in found:
        counts, total = r["instructions"], sum(r["instructions"].values())
        cells = " ".join(f"{counts[c]:8}" for c in columns)
        start = f"{r['kind']:8} {r['width']:4} {r['score']:18} {r['tile']:>10} {r['registers']:5} {r['spills']:6}"
        print(f"{start} {cells} {total:6} {total / r['pairs']:8.2f} {r['more']:6.2f}")
    if options.json:
        options.json.write_text(json.dumps({"target": options.target, "rows": found}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
