"""Attention as a stage: a pattern, with what its fields, tensors and selections are bound to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from torch import Tensor

from attnir import expr as ex
from attnir.expr import Expr, side_of
from attnir.graph.edges import Facts, Given, Kind, Lists, Part, Rows, Tokens
from attnir.graph.stage import Setting, Stage, Value, expect, wrong
from attnir.heads import Heads
from attnir.ops import FieldDecl, Op, SelectionDecl, Side
from attnir.scores import Pattern
from attnir.traverse import fields_of, nodes, unit_size

X = TypeVar("X")


@dataclass(frozen=True, slots=True)
class Attend(Stage):
    """The softmax of a pattern. After q, k and v come the values of its names; of a pair both, one after the other.

    names   what is bound, with how many values each: 1, or 2 for a pair (for queries, for keys)
    """

    pattern: Pattern
    names: tuple[tuple[str, int], ...]
    scale: float | None
    heads: Heads | None
    of_keys: frozenset[str] = field(init=False, repr=False, compare=False)  # fields that no query is asked for

    def __post_init__(self) -> None:
        object.__setattr__(self, "of_keys", _of_keys_alone(self.pattern))

    @property
    def text(self) -> str:
        return f"attend({self.pattern})"

    def said(self, *names: str) -> str:
        bound = [f"{n}={v[0] if len(v) == 1 else f'({v[0]}, {v[1]})'}" for n, v in self.bound(names)]
        return f"{self.text} of {', '.join([*names[:3], *bound])}"

    def kind(self, *given: Kind) -> Kind:
        q, k, v = (expect(self, x, Tokens) for x in given[:3])
        if k.axis != v.axis:
            wrong(self, "keys and values of the same tokens", f"k of {k} and v of {v}")
        if not q.per == k.per == v.per:
            wrong(self, "q, k and v with the same samples", f"q of {q}, k of {k} and v of {v}")
        fields = {d.name for d in fields_of(*self.pattern.roots)}
        for name, values in self.bound(given):
            if len(values) == 2 and name not in fields:
                wrong(self, f"one value as `{name}`, which is no field", "a pair of them")
            if len(values) == 1 and isinstance(values[0], Lists):
                self._check_lists(name, values[0], q, k)
            for x, side in zip(values, (q, k) if len(values) == 2 else (k,), strict=True):
                self._check(name, x, side)
        return Part(q.axis, q.per) if self.pattern.weights.divided else q

    def _check_lists(self, name: str, x: Lists, q: Tokens, k: Tokens) -> None:
        """Raise where the pattern reads lists of other units, or of the other side."""
        for n in (n for e in self.pattern.roots for n in nodes(e)):
            if n.op is not Op.RANK or not isinstance(n.value, SelectionDecl) or n.value.name != name:
                continue
            read = [_units(e, *side) for e, side in zip(n.args, ((ex.Q, q.axis), (ex.K, k.axis)), strict=False)]
            said = [_normal(axis) for axis in (x.of, x.members)]
            if any(a is not None and b is not None and a != b for a, b in zip(read, said, strict=True)):
                wrong(self, f"lists {read[0] or x.of} -> {read[1] or x.members} as `{name}`", x)

    def _check(self, name: str, x: Kind, side: Tokens) -> None:
        """Raise unless a binding is for these tokens."""
        if isinstance(x, Facts) and (x.axis, x.per) != (side.axis, side.per):
            wrong(self, f"`{name}` of {side.axis} with the samples of q", x)
        if not isinstance(x, Facts | Lists | Given | Rows):
            wrong(self, f"facts, lists or what a call gives as `{name}`", x)

    def bound(self, given: tuple[X, ...]) -> Iterator[tuple[str, tuple[X, ...]]]:
        """Each name with what it is bound to: one value, or two."""
        at = 3
        for name, count in self.names:
            yield name, given[at : at + count]
            at += count

    def run(self, setting: Setting, *given: Value) -> Value:
        q, k, v = given[:3]
        bindings = {name: values if len(values) == 2 else values[0] for name, values in self.bound(given)}
        for name in self.of_keys & bindings.keys():
            if isinstance(keys := bindings[name], Tensor):
                bindings[name] = keys.new_zeros(1).expand(q.shape[2]), keys
        return setting.attend(self, setting.of_queries, q, k, v, bindings)

    def flops(self, given: tuple[Value, ...], found: Value) -> int:
        raise AssertionError("who computes it says what it takes")


def _units(e: Expr, token: Expr, axis: str) -> str | None:
    """The axis that an index counts along, tokens or units of them; None where it is something else."""
    size = unit_size(e, token)
    return None if size is None else _normal(f"{axis} // {size}")


def _normal(axis: str) -> str | None:
    """An axis with one divisor: "k // 4 // 8" is "k // 32". None for one that has no tokens' name: it fits any."""
    base, *divisors = axis.split(" // ")
    if base not in ("q", "k") or not all(d.isdigit() for d in divisors):
        return None
    size = math.prod(map(int, divisors))
    return base if size == 1 else f"{base} // {size}"


def _of_keys_alone(pattern: Pattern) -> frozenset[str]:
    """The fields that are read of keys, and not of queries: those need no values."""
    read = [(n.value.name, n.args[0]) for e in pattern.roots for n in nodes(e) if isinstance(n.value, FieldDecl)]
    of_queries = {name for name, token in read if side_of(token) is Side.QUERIES}
    return frozenset(name for name, _ in read) - of_queries
