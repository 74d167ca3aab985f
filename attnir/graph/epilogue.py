"""What a graph does beside attention: any function of tensors, differentiable where torch differentiates it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from attnir.graph.edges import Kind, Part, Rows, Tokens
from attnir.graph.stage import Setting, Stage, Value, wrong


@dataclass(frozen=True, slots=True)
class Epilogue(Stage):
    """A function of tensors, which has the result's kind: that of the first that it takes, where nothing is said."""

    function: Callable[..., Any]
    gives: Kind | None

    @property
    def text(self) -> str:
        name = getattr(self.function, "__name__", type(self.function).__name__).strip("_").lower()
        return "epilogue" if name == "<lambda>" else f"epilogue({name})"

    def kind(self, *given: Kind) -> Kind:
        if self.gives is not None:
            return self.gives
        if not given or not isinstance(given[0], Tokens | Rows | Part):
            wrong(self, "tokens or numbers first, or says what it gives: gives=an.Tokens(...)", given[:1])
        return given[0]

    def run(self, setting: Setting, *given: Value) -> Value:
        more = {"q_start": setting.q_start} if _wants_start(self.function) else {}
        return self.function(*given, **more)


def _wants_start(function: Callable[..., Any]) -> bool:
    try:
        return "q_start" in inspect.signature(function).parameters
    except ValueError:  # what is built in has no signature
        return False
