"""Stages of queries that stand once for each place of their lists: what `by_unit.py` puts in the place of an attention.

All that they make has a key head as a sample, [B * Hk, 1, ...]; or a value head, where there are more of these.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attnir.branches import merge
from attnir.errors import HeadsError
from attnir.graph.edges import Facts, Given, Kind, Lists, Part, Tokens
from attnir.graph.moving import spread_heads, spread_lists
from attnir.graph.stage import Free, Setting, Stage, Value, View, expect
from attnir.inputs import DTYPES, autocast, check_inputs
from attnir.selections import distinct

PER = "key head"  # what samples are here: each key head of each sample


def _heads(k: Tensor, v: Tensor) -> int:
    """How many heads are samples: those of k, or of v where there are more; as `spread_heads` repeats the others."""
    more, fewer = max(k.shape[1], v.shape[1]), min(k.shape[1], v.shape[1])
    if not fewer:
        raise HeadsError(f"k has {k.shape[1]} heads and v {v.shape[1]}; each has one at least")
    return more if more % fewer == 0 else math.lcm(more, fewer)  # which torch.compile knows of constants alone


def _checked(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What an attention takes, checked as it is given, before samples are others."""
    q, k, v = autocast(q, k, v)
    check_inputs(q, k, v, None, dtypes=(*DTYPES, torch.float64))
    return q, k, v


def _axis(q: Kind, lists: Kind) -> str:
    assert isinstance(q, Tokens) and isinstance(lists, Lists)
    return f"{q.axis} by {lists.name}"


@dataclass(frozen=True, slots=True)
class Spread(Free):
    """The queries of every key head, once for each place of their lists: [B * Hk, 1, Sq * G * places, D]."""

    @property
    def text(self) -> str:
        return "spread"

    def kind(self, *given: Kind) -> Kind:
        q, *_, lists = given
        return Tokens(_axis(q, lists), PER)

    def run(self, setting: Setting, *given: Value) -> Value:
        q, k, v, lists = given
        q, k, v = _checked(q, k, v)
        places = lists.shape[-1]
        of_heads = q.unflatten(1, (_heads(k, v), -1)).transpose(2, 3)  # [B, Hk, Sq, G, D]
        return of_heads[..., None, :].expand(-1, -1, -1, -1, places, -1).flatten(2, 4).flatten(0, 1)[:, None]


@dataclass(frozen=True, slots=True)
class Chosen(Free):
    """What each of them chose: facts [B * Hk, Sq * G * places], -1 where nothing."""

    @property
    def text(self) -> str:
        return "chosen"

    def kind(self, *given: Kind) -> Kind:
        q, *_, lists = given
        return Facts(_axis(q, lists), PER)

    def run(self, setting: Setting, *given: Value) -> Value:
        q, k, v, lists = given
        q, k, v = _checked(q, k, v)
        start, lists = setting.of_queries, lists if lists.dim() == 4 else lists[:, None]
        short = max(0, start + q.shape[2] - lists.shape[2])
        own = torch.nn.functional.pad(lists, (0, 0, 0, short), value=-1)[:, :, start : start + q.shape[2]]
        each = distinct(spread_lists(own, q.shape[1]))
        return each.unflatten(1, (_heads(k, v), -1)).transpose(2, 3).flatten(2).flatten(0, 1).int()


@dataclass(frozen=True, slots=True)
class Times(View):
    """How often a query of a key head stands there, for its group and its places: an integer, a parameter."""

    @property
    def text(self) -> str:
        return "times"

    def kind(self, *given: Kind) -> Kind:
        return Given()

    def run(self, setting: Setting, *given: Value) -> Value:
        q, k, v, lists = given
        return q.shape[1] // _heads(k, v) * lists.shape[-1]


@dataclass(frozen=True, slots=True)
class Start(View):
    """The first position of the queries: an integer, a parameter."""

    @property
    def text(self) -> str:
        return "start"

    def kind(self, *given: Kind) -> Kind:
        return Given()

    def run(self, setting: Setting, *given: Value) -> Value:
        return setting.of_queries


@dataclass(frozen=True, slots=True)
class UnitOf(Free):
    """The unit of so many keys that each key is of: facts [Sk]."""

    keys: int

    @property
    def text(self) -> str:
        return f"unit(keys={self.keys})"

    def kind(self, *given: Kind) -> Kind:
        return Facts(expect(self, given[0], Tokens).axis, PER)

    def run(self, setting: Setting, *given: Value) -> Value:
        (k,) = given
        first = torch.zeros(k.shape[2], dtype=torch.int32, device="cpu" if k.is_meta else k.device)
        first[self.keys :: self.keys] = 1
        return first.cumsum(0, dtype=torch.int32)  # a quotient of places is compiled wrongly by torch 2.13 for CPUs


@dataclass(frozen=True, slots=True)
class ByHead(View):
    """Each key head as a sample, [B * Hk, 1, Sk, D]: a view, where there are as many heads of k and v."""

    @property
    def text(self) -> str:
        return "by_head"

    def kind(self, *given: Kind) -> Kind:
        return replace(expect(self, given[0], Tokens), per=PER)

    def run(self, setting: Setting, *given: Value) -> Value:
        x, k, v = given
        (x,) = autocast(x)
        return spread_heads(x, _heads(k, v)).flatten(0, 1)[:, None]


@dataclass(frozen=True, slots=True)
class Merged(Stage):
    """One softmax over the places of each query: (o, lse) of [B, Hq, Sq]."""

    @property
    def text(self) -> str:
        return "merge_places"

    def kind(self, *given: Kind) -> Kind:
        expect(self, given[0], Part)
        return Part(expect(self, given[1], Tokens).axis)

    def run(self, setting: Setting, *given: Value) -> Value:
        (o, lse), q, k, v, lists = given
        if setting.typical:
            return q.new_empty(*q.shape[:3], o.shape[-1]), lse.new_empty(q.shape[:3])
        heads = _heads(k, v)
        shape = (k.shape[0], heads, q.shape[2], q.shape[1] // heads, lists.shape[-1])
        o, lse = (
            t[:, 0].unflatten(1, shape[2:]).unflatten(0, shape[:2]).transpose(2, 3).flatten(1, 2) for t in (o, lse)
        )
        return merge(zip(o.unbind(3), lse.unbind(3), strict=True))
