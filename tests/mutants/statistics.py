"""Mutants of statistics: their sums, how these are finished, their gradients, on both targets."""

from tests.mutants.mutant import Mutant


def _kernel(name: str, module: str, old: str, new: str) -> Mutant:
    return Mutant(name, "kernel", f"attnir.codegen.triton.{module}", old, new)


def _torch(name: str, module: str, old: str, new: str, test: str = "") -> Mutant:
    return Mutant(name, "torch", f"attnir.codegen.{module}", old, new, test)


MUTANTS = (
    _torch(
        "a sink is no part of an entropy",
        "statistics",
        "of_sink = 0.0 if self.sink is None else self.sink.p * self.sink.log_p",
        "of_sink = 0.0",
    ),
    _torch(
        "what keys receive is that of another head",
        "torch.statistics",
        "terms, shared).permute(0, 1, 4, 2, 3)",
        "terms, shared).flip(4).permute(0, 1, 4, 2, 3)",
        "tests/test_statistics.py::test_each_alone[received-mass-torch]",
    ),
    _torch(
        "the pull of an entropy has the other sign",
        "torch.statistics",
        "return self.of(pull) - self.p * delta",
        "return -self.of(pull) - self.p * delta",
    ),
    _torch(
        "the mean of a pull is not taken from that of a weight",
        "torch.statistics",
        "(self._values(pull) - delta) * self.share",
        "self._values(pull) * self.share",
    ),
    _kernel(
        "dead pairs count in sums",
        "measure",
        'w.let("p", "tl.where(live, p, 0.0)")',
        "pass",
    ),
    _kernel(
        "the largest score of the last tile is taken",
        "measure",
        '"tl.maximum(highest_score, highest_here)"',
        '"highest_here"',
    ),
    _kernel(
        "the mean of a pull is not taken from it",
        "measure",
        "gradient(weights, terms.texts[0], spread)",
        'gradient(weights, terms.texts[0], f"{spread} * 0.0")',
    ),
)
