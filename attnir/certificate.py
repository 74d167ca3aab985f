"""Certificates: what was checked of an attention, by what, with which figures; kept beside its cached kernels."""

from __future__ import annotations

import datetime
import json
import platform
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING

import torch

from attnir.codegen.cache import CACHE
from attnir.codegen.plan import Plan
from attnir.errors import BackendError
from attnir.verify import Report, verified

if TYPE_CHECKING:
    from attnir.api import Attention

KIND = "certificate"
LIBRARIES = ("attnir", "torch", "triton")


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was checked of an attention. Prints as text.

    pattern   the pattern, as text
    executor  what computed it, and where: "triton on cuda", "torch on cpu"
    versions  of attnir, torch, Triton and Python, and the GPU, by name
    day       when, in UTC
    seed      of the calls that were drawn
    cases     how many calls
    checks    how often each property of `attnir.testing.PROPERTIES` was checked; all passed
    errors    the largest error of each result beside the norm of its row, against float64: by dtype and result
    kernels   the files in the cache of the kernels that ran
    """

    pattern: str
    executor: str
    versions: dict[str, str]
    day: str
    seed: int
    cases: int
    checks: dict[str, int]
    errors: dict[str, float]
    kernels: tuple[str, ...]

    @property
    def summary(self) -> str:
        """It in one line."""
        total = sum(self.checks.values())
        return f"{total:,} checks of {self.cases} calls on {self.executor}, seed {self.seed}, {self.day}: all passed"

    def __str__(self) -> str:
        errors = ", ".join(f"{name} {error:.1e}" for name, error in self.errors.items())
        return "\n".join(
            [
                f"pattern       {self.pattern}",
                f"proof         {self.summary}",
                f"checks        {', '.join(f'{name} {n}' for name, n in self.checks.items())}",
                f"errors        {errors or 'none measured'}",
                f"made with     {', '.join(f'{name} {version}' for name, version in self.versions.items())}",
                f"kernels       {', '.join(self.kernels) or 'none in the cache'}",
            ]
        )


def certificate(attention: Attention, *, cases: int = 20, seed: int = 0) -> Certificate:
    """Check this attention on random calls, and keep what was found beside its kernels; `explain` shows it.

    cases, seed     as in `an.verify`; here the tiles are the attention's own. Triton kernels run on a GPU, or else in
                    Triton's interpreter, which is slow. The backend is the attention's, by default that of this machine

    >>> import attnir as an
    >>> proof = an.compile(an.causal() & an.window(16), backend="torch").certificate(cases=2)
    >>> proof.executor, proof.checks["numbers"]
    ('torch on cpu', 2)

    Raises VerificationError, with a script that shows what fails; no certificate is kept then.
    """
    if attention.plan.backend == "reference":
        raise BackendError("the reference is what others are checked against; certify an attention of torch or triton")
    plan = attention.plan
    with CACHE.noted() as kernels:
        report = verified(plan, cases, seed)
    found = _of(report, tuple(sorted(kernels)))
    CACHE.keep(KIND, plan.text(), json.dumps(asdict(found), indent=1))
    return found


def kept_certificate(plan: Plan) -> Certificate | None:
    """The certificate of a plan that was made last, if there is one, with what this process runs on.

    Another version of attnir, torch, Triton or Python, or another GPU, is another compiler: what was proved of that one
    says nothing here.
    """
    text = CACHE.find(KIND, plan.text())
    if text is None:
        return None
    given = json.loads(text)
    found = Certificate(**{**given, "kernels": tuple(given["kernels"])})
    return found if found.versions == _versions() else None


def _of(report: Report, kernels: tuple[str, ...]) -> Certificate:
    errors = {f"{dtype} {name}": error for (dtype, name), error in sorted(report.figures.items())}
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    return Certificate(
        report.pattern, report.backend, _versions(), day, report.seed, report.cases, report.checks, errors, kernels
    )


@cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # Triton on machines that have none; a checkout that is not installed
            found[name] = "not installed"
    return found | ({"GPU": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})
