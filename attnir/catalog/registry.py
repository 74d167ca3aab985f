"""The table of the catalog: every mechanism by its name, how it is built, where it comes from, and a small example."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import Tensor

from attnir.errors import DeclarationError, UnknownNameError
from attnir.graph.graph import Graph
from attnir.masks import Mask
from attnir.scores import Pattern

Builder = TypeVar("Builder", bound=Callable[..., Mask | Pattern | Graph])


@dataclass(frozen=True, slots=True)
class Example:
    """An entry at a size that fits a picture: parameters of its builder, sizes of a call, and what the call binds."""

    params: Mapping[str, object] = field(default_factory=dict)
    q_len: int = 64
    k_len: int | None = None
    heads: int = 1
    batch: int = 1
    bindings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """A mechanism. `source` is the paper and the code that define it."""

    name: str
    build: Callable[..., Any]  # a mask, a pattern, or a graph
    source: str
    example: Example
    is_graph: bool = False

    @property
    def summary(self) -> str:
        """The first sentence of its description."""
        return (self.build.__doc__ or "").strip().splitlines()[0]

    def __repr__(self) -> str:
        return f"<Entry {self.name}: {self.summary}>"


_ENTRIES: dict[str, Entry] = {}


def entry(name: str, *, source: str, example: Example, graph: bool = False) -> Callable[[Builder], Builder]:
    """Put the function below into the catalog under a name; `graph`: it builds a graph of stages, and no pattern."""

    def register(build: Builder) -> Builder:
        assert name not in _ENTRIES, f"{name} is there twice"
        _ENTRIES[name] = Entry(name, build, source, example, graph)
        return build

    return register


def names(*, graphs: bool | None = None) -> tuple[str, ...]:
    """The names of all mechanisms, in alphabetical order; of those that are graphs of stages, or are none."""
    return tuple(sorted(name for name, found in _ENTRIES.items() if graphs in (None, found.is_graph)))


def get(name: str) -> Entry:
    """The entry of a name.

    Raises UnknownNameError, with the nearest names.
    """
    if not isinstance(name, str) or name not in _ENTRIES:
        near = difflib.get_close_matches(str(name), _ENTRIES, n=3) or [n for n in names() if name and str(name) in n]
        beside = f"near it: {', '.join(near)}; all" if near else "all that it has"
        raise UnknownNameError(f"the catalog has no {name!r}; {beside}: an.catalog.names(), or `attnir catalog`")
    return _ENTRIES[name]


def build(name: str, **params: object) -> Any:
    """The mask of a mechanism with its parameters, its pattern where scores change as well, or its graph of stages.

    >>> import attnir as an
    >>> print(an.catalog.build("streaming-llm", sinks=4, window=256))
    (k <= q) & ((k < 4) | (q - k < 256))

    Raises UnknownNameError for a name that is not there, DeclarationError for parameters that it does not have.
    """
    found = get(name)
    for argument, value in params.items():
        if isinstance(value, Tensor):
            raise DeclarationError(f"{name}: `{argument}` shapes the pattern, so it is no tensor; give int({argument})")
    try:
        return found.build(**params)
    except TypeError as error:
        raise DeclarationError(f"{name}: {error}; see help(an.catalog.get({name!r}).build)") from None
