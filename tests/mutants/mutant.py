"""A mutant of the source: one module of the package with one piece of its text replaced."""

from __future__ import annotations

from dataclasses import dataclass

LEVELS = ("language", "analysis", "program", "kernel", "kernel, listed", "torch", "graph")


class NoLongerAppliesError(Exception):
    """The text that a mutant replaces is not there, or not just once."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A bug that is planted: `old`, which stands in the module exactly once, becomes `new`.

    test: the pytest node that has to fail where fuzzing does not find the bug; empty: fuzzing finds it.
    """

    name: str
    level: str
    module: str  # "attnir.ranges"
    old: str
    new: str
    test: str = ""

    def planted(self, source: str) -> str:
        """The source of the module with the bug."""
        if (times := source.count(self.old)) != 1:
            raise NoLongerAppliesError(
                f"`{self.name}` no longer applies: {self.module} has it {times} times, not once:\n{self.old}"
            )
        return source.replace(self.old, self.new)
