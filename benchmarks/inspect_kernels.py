"""Compile the kernels in their default configurations for every target, without a GPU: `make inspect`.

bfloat16 comes with every head width and pattern, float16 with some; float32 is asked for with --dtypes fp32, and does
not keep every promise (see budgets.py on the backward with D + Dv above 256). Of each kernel it is promised that

- it compiles, and its shared memory is within the target's limit;
- no register is spilled;
- products use the target's own matrix instructions. sm_90 does so in the backward up to D = 128; in layouts other than
  runs of tokens the backward does so up to D = 64, and on sm_100 dK and dV up to D = 128. float32 may use those of
  sm_80 on newer targets;
- the loop over full tiles decides nothing about single scores, and divides no vector of integers.

Columns: registers per thread, spills, shared memory, the instructions that compare or select in the loop over full
tiles, then in the loop over partial ones, and the matrix instructions. At the end, one line for each target and dtype.
Exits with 1 if a promise is broken.

Takes some 8 minutes on two cores. What was compiled before comes from Triton's cache, which knows kernels by their
text: the next run takes a fraction of that.
"""

from __future__ import annotations

import os

os.environ["TRITON_INTERPRET"] = "0"  # before Triton is imported

import argparse
import itertools
import multiprocessing
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import torch

import attnir as an
from attnir.codegen.plan import CONFIGURED, Plan
from attnir.codegen.targets import Target
from attnir.codegen.triton.inspect import Report
from attnir.codegen.triton.spec import NAMES
from attnir.codegen.triton.survey import kernels

_doc = an.field("doc", sorted=True)
_cluster, _n = an.field("cluster"), an.field("n")
_soft = an.score(lambda s, q, k: an.where(_cluster(q) == _cluster(k), s, s - 4.0))
PATTERNS: dict[str, an.Mask | an.Pattern] = {
    "full": an.full(),
    "causal": an.causal(),
    "window": an.window(1023, 0),
    "packed": an.causal() & an.mask(lambda q, k: _doc(q) == _doc(k)),
    "dilated": an.window(1023, 0) & an.mask(lambda q, k: (q - k) % 8 == 0),
    "sparse": an.causal() & (an.window(511, 0) | an.mask(lambda q, k: k % 256 == 0)),
    "na2d": an.neighborhood(an.grid(y=128, x=128), 31),
    "na3d": an.neighborhood(an.grid(t=30, y=48, x=80), (18, 24, 24), stride=(16, 8, 8)),
    "labels": an.causal() & an.mask(lambda q, k: _cluster(q) == _cluster(k)),
    "scored": an.pattern(an.causal(), score=[an.multiplicity(lambda k: _n(k)), _soft]),
}
LAYOUTS = ("dilated", "sparse", "na2d", "na3d", "labels")  # in residue classes, in both, in boxes, in an order
TARGETS = ("sm_80", "sm_90", "sm_100", "gfx942")
WIDTHS = ("64", "128", "256", "192/128", "80", "16")
DTYPES = {name: dtype for dtype, name in NAMES.items()}
SOME_WIDTHS = ("64", "128", "256", "80", "16")
SOME_PATTERNS = ("packed",)  # it has all that the others have, and documents


@dataclass(frozen=True)
class Case:
    """One kernel on one target."""

    target: str
    kind: str
    width: str
    dtype: str
    pattern: str
    aligned: bool = True

    def inspect(self) -> tuple[str, Report | None, list[str]]:
        """(configuration, report, broken promises)."""
        torch.set_num_threads(1)
        target = Target.parse(self.target)
        d, _, dv = self.width.partition("/")
        widths, plan = (int(d), int(dv or d)), Plan(an.pattern(PATTERNS[self.pattern]))
        kernel = kernels(plan, self.kind, target, *widths, DTYPES[self.dtype], aligned=self.aligned)[-1]
        try:
            found = kernel.inspect()
        except Exception as error:  # a kernel that does not compile is a finding, and the others are still of interest
            return str(kernel.config), None, [f"{type(error).__name__}: {error}"]
        return str(kernel.config), found.report, list(found.problems)


def _inspect(case: Case) -> tuple[Case, str, Report | None, list[str]]:
    return case, *case.inspect()


def _row(case: Case, config: str, report: Report | None, problems: list[str]) -> str:
    start = f"{case.target:7} {case.kind:8} {case.width:>8} {case.dtype} {case.pattern:7} {config:38}"
    if report is None:
        return f"{start} {problems[0]}"
    matrix = ", ".join(f"{n} {name}" for name, n in report.matrix.items())
    masking = " | ".join(str(loop.masking) for loop in report.loops[:2])
    facts = f"{report.registers:4} regs {report.spills:5} spills {report.shared:7,} B  {masking:9} {matrix}"
    return f"{start}{facts}" + "".join(f"  << {p}" for p in problems)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, values in (("targets", TARGETS), ("kinds", CONFIGURED), ("dtypes", ("bf16", "fp16"))):
        parser.add_argument(f"--{name}", default=",".join(values), help="comma-separated; default: %(default)s")
    for name, values, some in (("widths", WIDTHS, SOME_WIDTHS), ("patterns", tuple(PATTERNS), SOME_PATTERNS)):
        text = f"comma-separated; default: {','.join(values)} for bf16, {','.join(some)} for others"
        parser.add_argument(f"--{name}", help=text)
    parser.add_argument("--unaligned", action="store_true", help="tensors whose rows do not begin at 16-byte multiples")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="default: one per core")
    a = parser.parse_args()
    cases = []
    for target, dtype in itertools.product(a.targets.split(","), a.dtypes.split(",")):
        widths = a.widths.split(",") if a.widths else WIDTHS if dtype == "bf16" else SOME_WIDTHS
        patterns = a.patterns.split(",") if a.patterns else PATTERNS if dtype == "bf16" else SOME_PATTERNS
        for kind, width, pattern in itertools.product(a.kinds.split(","), widths, patterns):
            cases.append(Case(target, kind, width, dtype, pattern, not a.unaligned))
    if a.jobs == 1:
        failures = _show(map(_inspect, cases))
    else:
        with multiprocessing.get_context("spawn").Pool(a.jobs) as pool:
            failures = _show(pool.imap(_inspect, cases, chunksize=2))
    kernels = Counter((case.target, case.dtype) for case in cases)
    for (target, dtype), count in kernels.items():
        print(f"{target} {dtype}: {count} kernels, {failures[target, dtype]} with a broken promise")
    return 1 if failures else 0


def _show(findings: Iterable[tuple[Case, str, Report | None, list[str]]]) -> Counter[tuple[str, str]]:
    """Print the table as it comes in; how many kernels break a promise, by target and dtype."""
    failures: Counter[tuple[str, str]] = Counter()
    for case, config, report, problems in findings:
        if problems:
            failures[case.target, case.dtype] += 1
        print(_row(case, config, report, problems), flush=True)
    return failures


if __name__ == "__main__":
    sys.exit(main())
