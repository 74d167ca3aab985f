"""Compile the kernels for every target, without a GPU, and show what they use: `make inspect`.

Columns: registers per thread, spills, shared memory, matrix instructions, and the instructions that compare or select
in the loop over full tiles, then in the loop over partial ones. Exits with 1 if a promise is broken.
"""

from __future__ import annotations

import os

os.environ["TRITON_INTERPRET"] = "0"  # before Triton is imported

import argparse
import itertools
import multiprocessing
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import torch

import attnir as an
from attnir.codegen.plan import CONFIGURED, Plan
from attnir.codegen.resources import Target, choose
from attnir.codegen.triton.inspect import Report, broken, inspect
from attnir.codegen.triton.launch import program_of
from attnir.codegen.triton.spec import NAMES, Spec

_doc = an.field("doc", sorted=True)
PATTERNS = {
    "full": an.full(),
    "causal": an.causal(),
    "window": an.window(1023, 0),
    "packed": an.causal() & an.mask(lambda q, k: _doc(q) == _doc(k)),
}
TARGETS = ("sm_80", "sm_90", "sm_100", "gfx942")
WIDTHS = ("64", "128", "256", "192/128", "80", "16")
DTYPES = {name: dtype for dtype, name in NAMES.items()}


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
        widths = int(d), int(dv or d)
        config = choose(self.kind, target, *widths, DTYPES[self.dtype])
        spec = Spec(DTYPES[self.dtype], *widths, config, target.family, grouped=True, aligned=self.aligned)
        program = program_of(Plan(PATTERNS[self.pattern].predicate), self.kind, config)
        try:
            report = inspect(self.kind, program, spec, target)
        except Exception as error:  # a kernel that does not compile is a finding, and the others are still of interest
            return str(config), None, [f"{type(error).__name__}: {error}"]
        return str(config), report, broken(self.kind, spec, target, report)


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
    for name, values in (
        ("targets", TARGETS),
        ("kinds", CONFIGURED),
        ("widths", WIDTHS),
        ("patterns", tuple(PATTERNS)),
    ):
        parser.add_argument(f"--{name}", default=",".join(values), help="comma-separated; default: %(default)s")
    parser.add_argument("--dtypes", default="bf16", help="of bf16, fp16, fp32; default: %(default)s")
    parser.add_argument("--unaligned", action="store_true", help="tensors whose rows do not begin at 16-byte multiples")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    a = parser.parse_args()
    axes = (a.targets, a.kinds, a.widths, a.dtypes, a.patterns)
    cases = [Case(*names, not a.unaligned) for names in itertools.product(*(axis.split(",") for axis in axes))]
    if a.jobs == 1:
        failures = _show(map(_inspect, cases))
    else:
        with multiprocessing.get_context("spawn").Pool(a.jobs) as pool:
            failures = _show(pool.imap(_inspect, cases, chunksize=2))
    print(f"{len(cases)} kernels, {failures} with a broken promise")
    return 1 if failures else 0


def _show(findings: Iterable[tuple[Case, str, Report | None, list[str]]]) -> int:
    """Print the table as it comes in; how many kernels break a promise."""
    failures = 0
    for case, config, report, problems in findings:
        failures += bool(problems)
        print(_row(case, config, report, problems), flush=True)
    return failures


if __name__ == "__main__":
    sys.exit(main())
