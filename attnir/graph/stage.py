"""A stage: a node of a graph, what it takes and gives, and what it computes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from torch import Tensor

from attnir.errors import GraphError
from attnir.graph.edges import Given, Kind, Lists, Tokens

K = TypeVar("K", bound=Kind)
Value = Any  # a tensor, a pair of o and lse, or what a call binds


@dataclass(frozen=True, slots=True)
class Setting:
    """What stages know of the call they are run in.

    q_start  the first position of the queries
    kinds    of what the stage is given
    attend   computes an attention: of the stage, and what it is given
    typical  values are those of no call: tensors without numbers, and choices by chance
    """

    q_start: int
    attend: Callable[..., Value]
    typical: bool = False
    kinds: tuple[Kind, ...] = ()

    @property
    def of_queries(self) -> int:
        """The first position of queries, which are given first, behind keys, which come next and begin at 0.

        Queries on the axis of their keys are these: they begin where these do.
        """
        q, k = (getattr(kind, "axis", "") for kind in self.kinds[:2]) if self.kinds else ("", "")
        return 0 if q == k else self.start(0)

    def start(self, argument: int) -> int:
        """The first position of the tokens of an argument: that of the queries of the call, or 0."""
        kind = self.kinds[argument] if self.kinds else None
        axis = kind.members if isinstance(kind, Lists) else getattr(kind, "axis", "")
        return self.q_start if axis == "q" else 0


class Stage(ABC):
    """A node. Frozen values, equal where they compute the same of the same."""

    @property
    @abstractmethod
    def text(self) -> str:
        """What it is called, with its parameters."""

    @abstractmethod
    def kind(self, *given: Kind) -> Kind:
        """What comes of such edges. Raises GraphError for those that it cannot take."""

    @abstractmethod
    def run(self, setting: Setting, *given: Value) -> Value:
        """What comes of values. Only attention itself is computed by others: by kernels, or densely."""

    def said(self, *names: str) -> str:
        """What it computes of values that are called so."""
        return f"{self.text} of {', '.join(names)}"

    def moved(self, given: tuple[Value, ...], found: Value) -> int:
        """How many bytes it reads and writes."""
        return bytes_of(*given, found)

    def flops(self, given: tuple[Value, ...], found: Value) -> int:
        """About how many operations it takes: one for each number it reads, where nothing else is said."""
        return sum(t.numel() for value in given for t in tensors(value))


class Free(Stage):
    """A stage that moves what it is given, and computes nothing."""

    def flops(self, given: tuple[Value, ...], found: Value) -> int:
        return 0


class View(Free):
    """A stage whose result is what it is given, seen in another way."""

    def moved(self, given: tuple[Value, ...], found: Value) -> int:
        return 0


def tensors(value: Value) -> tuple[Tensor, ...]:
    """The tensors of a value."""
    parts = value if isinstance(value, tuple) else (value,)
    return tuple(t for t in parts if isinstance(t, Tensor))


def bytes_of(*values: Value) -> int:
    """How many bytes the tensors of values take."""
    return sum(t.numel() * t.element_size() for value in values for t in tensors(value))


def expect(stage: Stage, given: Kind, kind: type[K]) -> K:
    """The edge, where it is of this kind."""
    if isinstance(given, kind):
        return given
    said = kind.__name__.lower()
    if isinstance(given, Given):  # of what a call gives, tokens and lists have to say what they are
        ways: dict[type[Any], str] = {Tokens: ", of an input with an axis: an.graph(function, name='m')"}
        ways |= {Lists: ", such as an.epilogue(function, x, gives=an.Lists('m', 'k')) makes of it"}
        said += ways.get(kind, "")
    wrong(stage, said, given)


def wrong(stage: Stage, wanted: str, given: object) -> NoReturn:
    """Raise GraphError."""
    raise GraphError(f"{stage.text} takes {wanted}; it is given {given}")
