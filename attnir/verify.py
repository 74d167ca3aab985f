"""Verifying a pattern: random calls of it, held to every property."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch

from attnir.codegen.plan import BACKENDS, Plan
from attnir.errors import BackendError, VerificationError
from attnir.factors import Factor
from attnir.heads import Heads, check_is_heads
from attnir.masks import Mask
from attnir.normalizers import Normalizer
from attnir.scores import Pattern, Score
from attnir.scores import pattern as declare


@dataclass(frozen=True, slots=True)
class Report:
    """What was verified. Prints as text.

    pattern   the pattern, as text
    backend   what computed it, and where
    seed      of the calls that were drawn
    cases     how many calls
    checks    how often each property was checked, by its name
    figures   the largest error of each result beside the norm of its row, by (dtype, result)
    """

    pattern: str
    backend: str
    seed: int
    cases: int
    checks: dict[str, int]
    figures: dict[tuple[str, str], float]

    def __str__(self) -> str:
        checks = ", ".join(f"{name} {n}" for name, n in self.checks.items())
        errors = ", ".join(f"{dtype} {name} {error:.1e}" for (dtype, name), error in sorted(self.figures.items()))
        return "\n".join(
            [
                f"pattern       {self.pattern}",
                f"verified      {self.cases} calls on {self.backend}, seed {self.seed}",
                f"checks        {checks}",
                f"errors        {errors or 'none measured'}",
            ]
        )


def verify(
    pattern: Mask | Pattern,
    *,
    score: Score | Iterable[Score] = (),
    normalize: Normalizer | None = None,
    factor: Factor | Iterable[Factor] = (),
    heads: Heads | None = None,
    backend: str | None = None,
    cases: int = 40,
    seed: int = 0,
) -> Report:
    """Try a pattern: random calls of it, each held to every property of `attnir.testing.PROPERTIES`.

    The pattern and its heads are said as for `an.compile`. Lengths, widths, dtypes, layouts, fields and parameters are
    drawn, the same ones for the same seed. The backend is
    "torch", or "triton": the kernels, on a GPU or else in Triton's interpreter, which is slow. By default it is Triton
    where there is a GPU, and torch elsewhere.

    >>> import attnir as an
    >>> print(an.verify(an.causal() & an.window(16), cases=3).checks["numbers"])
    3

    Raises VerificationError, with a script of a few lines that shows what fails; and where no call could be tried.
    """
    check_is_heads(heads)
    declared = declare(pattern, score=score, normalize=normalize, factor=factor)
    return _tried(Plan(declared, backend, heads=heads), cases, seed, own_tiles=False)


def verified(plan: Plan, cases: int, seed: int) -> Report:
    """The same of a plan, with the tiles that it has itself."""
    return _tried(plan, cases, seed, own_tiles=True)


def _tried(plan: Plan, cases: int, seed: int, *, own_tiles: bool) -> Report:
    from attnir.testing.fuzzing import tried
    from attnir.testing.properties import PROPERTIES

    if plan.backend not in (None, *BACKENDS[:2]):
        raise BackendError(f"what is verified is torch or triton, against the reference; not {plan.backend!r}")
    backend = plan.backend_on("cuda" if torch.cuda.is_available() else "cpu")
    on, tally = tried(replace(plan, backend=backend), cases, seed, own_tiles=own_tiles)
    for failure in tally.failures:
        raise VerificationError(f"{failure.error}\nThis script shows it:\n\n{failure.script}")
    if not tally.cases:
        raise VerificationError(
            f"nothing was checked: of {cases} calls, none was drawn that the pattern takes and that is small enough to "
            "look at each pair; give cases=1 or more, and a smaller grid"
        )
    if not any(PROPERTIES[name].level == "kernel" for name, _ in tally.checks):
        raise VerificationError(
            f"no kernel was tried: each of {tally.cases} calls visits too many tiles for Triton's interpreter; give "
            'more cases, a smaller grid, or backend="torch"'
        )
    checks: Counter[str] = Counter()
    for (name, _), n in tally.checks.items():
        checks[name] += n
    figures = {(dtype, name): error for (_, dtype, name), error in tally.figures.items()}
    return Report(str(plan.pattern), on, seed, tally.cases, dict(checks), figures)
