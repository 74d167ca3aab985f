"""All mutants, by name: bugs of the classic kinds in every level of the compiler."""

from __future__ import annotations

from tests.mutants import analysis, graphs, kernels, language, products, programs, statistics, weights
from tests.mutants.mutant import Mutant

ALL: tuple[Mutant, ...] = (
    *language.MUTANTS,
    *analysis.MUTANTS,
    *programs.MUTANTS,
    *kernels.MUTANTS,
    *products.MUTANTS,
    *statistics.MUTANTS,
    *weights.MUTANTS,
    *graphs.MUTANTS,
)
MUTANTS = {m.name: m for m in ALL}
