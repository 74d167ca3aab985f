"""Attentions put together: one softmax over several sets of keys, or a weighted sum of several softmaxes.

These are two things. `merge` takes parts of one softmax, whose keys are disjoint, and weighs each by its lse: whatever
the keys were split into, the result is that of all at once. `combine` adds up attentions that are normalised on their
own, with weights that are given. One in the place of the other is another function, not a faster one.
"""

from __future__ import annotations

from dataclasses import dataclass

from attnir.branches import combine, merge
from attnir.graph.edges import Given, Kind, Part, Rows, Tokens
from attnir.graph.stage import Setting, Stage, Value, View, expect, wrong


@dataclass(frozen=True, slots=True)
class Merge(Stage):
    """One softmax over the keys of all parts."""

    @property
    def text(self) -> str:
        return "merge"

    def kind(self, *given: Kind) -> Kind:
        for x in given:
            if not isinstance(x, Part):
                wrong(self, "parts (o, lse), of an.attend(..., return_lse=True)", x)
        parts = [expect(self, x, Part) for x in given]
        for part in parts:
            if part != parts[0]:
                wrong(self, "parts of the same queries", f"{parts[0]} and {part}")
        return parts[0]

    def run(self, setting: Setting, *given: Value) -> Value:
        return merge(given)


@dataclass(frozen=True, slots=True)
class Combine(Stage):
    """The sum of attentions with weights: numbers that are known, None where a weight is given before its attention."""

    weights: tuple[float | None, ...]

    @property
    def text(self) -> str:
        return "combine"

    def said(self, *names: str) -> str:
        branches = self._branches(names)
        return " + ".join(f"{w if isinstance(w, str) else f'{w:g}'} * {o}" for w, o in branches)

    def kind(self, *given: Kind) -> Kind:
        branches = self._branches(given)
        first: Kind = branches[0][1]
        for weight, o in branches:
            if isinstance(o, Part):
                wrong(self, "o alone, part[0]", o)
            if expect(self, o, Tokens) != first:
                wrong(self, "attentions of the same queries", f"{first} and {o}")
            if isinstance(weight, Tokens) or not isinstance(weight, Rows | Given | float):
                wrong(
                    self, "weights that are numbers of tokens (an.epilogue(..., gives=an.Rows('q'))), or given", weight
                )
            if isinstance(weight, Rows) and (weight.axis, weight.per) != (first.axis, first.per):
                wrong(self, f"weights of {first.axis}", weight)
        return first

    def _branches(self, given: tuple[Value, ...]) -> list[tuple[Value, Value]]:
        left = list(given)
        return [(left.pop(0) if w is None else w, left.pop(0)) for w in self.weights]

    def run(self, setting: Setting, *given: Value) -> Value:
        return combine(self._branches(given))


@dataclass(frozen=True, slots=True)
class Output(View):
    """o of a part, or its lse."""

    which: str

    @property
    def text(self) -> str:
        return self.which

    def kind(self, *given: Kind) -> Kind:
        part = expect(self, given[0], Part)
        return Tokens(part.axis, part.per) if self.which == "o" else Rows(part.axis, part.per)

    def run(self, setting: Setting, *given: Value) -> Value:
        o, lse = given[0]
        return o if self.which == "o" else lse
