"""The kernels of a plan on a target, compiled without a GPU: what each of them uses, and which promises it breaks."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from attnir.codegen.occupancy import Occupancy, occupancy
from attnir.codegen.plan import Plan
from attnir.codegen.targets import Config, Target
from attnir.codegen.triton.inspect import Report, broken, inspect
from attnir.codegen.triton.launch import launches_of, spec_of
from attnir.codegen.triton.spec import Spec
from attnir.program import Programs


@dataclass(frozen=True, slots=True)
class Finding:
    """What a kernel uses, how many instances a processor of the target holds, and which promises it breaks."""

    report: Report
    occupancy: Occupancy
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kernel:
    """One launch of a kernel on a target, as the compiler configures it."""

    name: str  # its kind, with a number where there are several launches
    kind: str
    programs: Programs
    spec: Spec
    target: Target

    @property
    def config(self) -> Config:
        return self.spec.config

    def inspect(self) -> Finding:
        """Compile it and take it apart. Triton must not be interpreting in this process."""
        report = inspect(self.kind, self.programs, self.spec, self.target)
        held = occupancy(self.target, self.config.num_warps, report.registers, report.shared, report.columns)
        return Finding(report, held, tuple(broken(self.kind, self.programs, self.spec, self.target, report)))


def kernels(
    plan: Plan,
    kind: str,
    target: Target,
    d: int,
    dv: int,
    dtype: torch.dtype,
    *,
    grouped: bool = True,
    aligned: bool = True,
) -> tuple[Kernel, ...]:
    """The kernels of a kind, "forward", "dq", "dkv" or "delta": one for each launch."""
    spec = spec_of(plan, kind, target, d, dv, dtype, grouped=grouped, aligned=aligned)
    launches = launches_of(plan, kind, spec.config)
    names = [f"{kind} {i + 1}" for i in range(len(launches))] if len(launches) > 1 else [kind]
    return tuple(Kernel(name, kind, programs, spec, target) for name, programs in zip(names, launches, strict=True))
