"""The kernels of a plan on a target, compiled without a GPU: what each of them uses, and which promises it breaks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from attnir.codegen.configure import configure
from attnir.codegen.occupancy import Occupancy, occupancy
from attnir.codegen.plan import Plan
from attnir.codegen.targets import Config, Target
from attnir.codegen.triton.inspect import Report, broken, inspect
from attnir.codegen.triton.launch import launches_of
from attnir.codegen.triton.spec import Spec


@dataclass(frozen=True, slots=True)
class Finding:
    """One kernel on a target: its configuration, what it uses, how many fit a processor, which promises it breaks."""

    kind: str
    launch: int  # which of the kernel's launches, from 0
    config: Config
    report: Report
    occupancy: Occupancy
    problems: tuple[str, ...]


def survey(
    plan: Plan,
    kind: str,
    target: Target,
    d: int,
    dv: int,
    dtype: torch.dtype,
    *,
    grouped: bool = True,
    aligned: bool = True,
) -> Iterator[Finding]:
    """The kernel of each launch of a kind, "forward", "dq", "dkv" or "delta", as the compiler configures it."""
    config = configure(plan, kind, target, d, dv, dtype).config
    spec = Spec(dtype, d, dv, config, target.family, grouped=grouped, aligned=aligned)
    for i, programs in enumerate(launches_of(plan, kind, config)):
        report = inspect(kind, programs, spec, target)
        held = occupancy(target, config.num_warps, report.registers, report.shared, report.columns)
        yield Finding(kind, i, config, report, held, tuple(broken(kind, programs, spec, target, report)))
