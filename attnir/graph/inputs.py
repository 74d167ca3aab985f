"""What a call gives: the first nodes of every graph."""

from __future__ import annotations

from dataclasses import dataclass

from attnir.graph.edges import Kind
from attnir.graph.stage import Setting, Stage, Value


@dataclass(frozen=True, slots=True)
class Input(Stage):
    """What a call gives by name."""

    name: str
    given: Kind

    @property
    def text(self) -> str:
        return "input"

    def said(self, *names: str) -> str:
        return self.text

    def kind(self, *given: Kind) -> Kind:
        return self.given

    def run(self, setting: Setting, *given: Value) -> Value:
        raise AssertionError("an input is what the call gives")
