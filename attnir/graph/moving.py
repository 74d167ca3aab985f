"""Tokens that are moved: gathered by lists, and scattered back to where they stood. Differentiable, and deterministic.

Every list of a gather becomes a sample of its own, so that facts may differ from list to list: x [B, H, S, D] by lists
[B, H, n, places] gives [B * H * n, 1, places, D]. A list is a set: of a member that stands in it twice the first place
counts, and -1 is none. What stands in such places is some token; its place is -1, so that masks can tell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attnir.errors import GraphError, ShapeError
from attnir.graph.edges import CALL, HEAD, Facts, Kind, Lists, Part, Rows, Tokens
from attnir.graph.stage import Free, Setting, Stage, Value, View, bytes_of, expect, wrong
from attnir.selections import distinct

ALL = "all"  # what the lists of queries all together are of: there is one for each head
WAYS = ("set", "sum", "mean", "merge")


def name_of(lists: Lists) -> str:
    """What samples are called that are gathered by lists; those by one list of each head are heads."""
    return HEAD if lists.of == ALL else f"list of {lists.of}"


def _axis(lists: Lists) -> str:
    """The axis of what is gathered by lists."""
    return f"{lists.members}[{lists.name}]"


@dataclass(frozen=True, slots=True)
class Gather(Free):
    """The tokens of every list."""

    @property
    def text(self) -> str:
        return "gather"

    def kind(self, *given: Kind) -> Kind:
        x, lists = expect(self, given[0], Tokens), expect(self, given[1], Lists)
        if x.axis != lists.members or x.per != CALL:
            wrong(self, f"tokens {lists.members} by these lists", x)
        return Tokens(_axis(lists), name_of(lists))

    def run(self, setting: Setting, *given: Value) -> Value:
        x, lists = given
        return gathered(x, lists)

    def moved(self, given: tuple[Value, ...], found: Value) -> int:
        return 2 * bytes_of(found)


@dataclass(frozen=True, slots=True)
class Places(Free):
    """The positions of what is gathered: facts, -1 where there is none."""

    @property
    def text(self) -> str:
        return "places"

    def kind(self, *given: Kind) -> Kind:
        lists, like = expect(self, given[0], Lists), expect(self, given[1], Tokens)
        if like.per != CALL:
            wrong(self, "tokens with the heads of the call", like)
        return Facts(_axis(lists), name_of(lists))

    def run(self, setting: Setting, *given: Value) -> Value:
        lists, like = given
        at = distinct(spread_lists(lists, like.shape[1])).flatten(0, 2)
        return torch.where(at < 0, -1, at + setting.start(0))

    def moved(self, given: tuple[Value, ...], found: Value) -> int:
        return 2 * bytes_of(found)


@dataclass(frozen=True, slots=True)
class Positions(Free):
    """The positions of folded tokens, for each head: facts."""

    @property
    def text(self) -> str:
        return "positions"

    def kind(self, *given: Kind) -> Kind:
        x, like = (expect(self, t, Tokens) for t in given)
        if (x.per, like.per) != (CALL, CALL):
            wrong(self, "tokens with the samples of the call", f"{x} and {like}")
        return Facts(x.axis, HEAD)

    def run(self, setting: Setting, *given: Value) -> Value:
        x, like = given
        at = setting.start(0) + torch.arange(x.shape[2], device="cpu" if x.is_meta else x.device)
        return at.expand(like.shape[0] * like.shape[1], -1)

    def moved(self, given: tuple[Value, ...], found: Value) -> int:
        return bytes_of(found)


@dataclass(frozen=True, slots=True)
class Scatter(Stage):
    """What was computed of gathered tokens, where they stood among `like`."""

    how: str
    eps: float

    def __post_init__(self) -> None:
        if self.how not in WAYS:
            raise GraphError(f"tokens are scattered by {', '.join(WAYS)}, not {self.how!r}")
        if isinstance(self.eps, bool) or not isinstance(self.eps, int | float) or not self.eps >= 0.0:
            raise GraphError(f"eps is a number from 0 on, not {self.eps!r}")
        if self.eps and self.how != "mean":
            raise GraphError(f'eps stands beside the count of a "mean"; "{self.how}" has none')

    @property
    def text(self) -> str:
        return f"scatter({self.how!r}{f', eps={self.eps:g}' if self.eps else ''})"

    def kind(self, *given: Kind) -> Kind:
        x = expect(self, given[0], Part) if self.how == "merge" else expect(self, given[0], Tokens)
        lists, like = expect(self, given[1], Lists), expect(self, given[2], Tokens)
        wanted = (_axis(lists), name_of(lists)), (lists.members, CALL)
        if ((x.axis, x.per), (like.axis, like.per)) != wanted:
            said = f"what was gathered by `{lists.name}`, and tokens {lists.members} that it is like"
            wrong(self, said, f"{x}, {like}")
        return replace(x, axis=like.axis, per=CALL)

    def run(self, setting: Setting, *given: Value) -> Value:
        x, lists, like = given
        if setting.typical:
            shape = like.shape[:3]
            return (
                tuple(t.new_empty(*shape, *t.shape[3:]) for t in x)
                if self.how == "merge"
                else x.new_empty(*shape, x.shape[3])
            )
        return scattered(x, lists, like, self.how, self.eps)


@dataclass(frozen=True, slots=True)
class Fold(View):
    """Each head as a sample of its own, [B * H, 1, ...]: a view, so that facts may differ from head to head."""

    @property
    def text(self) -> str:
        return "fold"

    def kind(self, *given: Kind) -> Kind:
        (x, _) = given
        if not isinstance(x, Tokens | Rows) or x.per != CALL:
            wrong(self, "tokens or numbers with the samples of the call", x)
        return replace(x, per=HEAD)

    def run(self, setting: Setting, *given: Value) -> Value:
        x, like = given
        return spread_heads(x, like.shape[1]).flatten(0, 1)[:, None]


@dataclass(frozen=True, slots=True)
class Unfold(View):
    """Samples that are heads as heads again, as many as `like` has."""

    @property
    def text(self) -> str:
        return "unfold"

    def kind(self, *given: Kind) -> Kind:
        (x, _) = given
        if not isinstance(x, Tokens | Rows | Part) or x.per != HEAD:
            wrong(self, "what was folded", x)
        return replace(x, per=CALL)

    def run(self, setting: Setting, *given: Value) -> Value:
        x, like = given
        if isinstance(x, tuple):
            return tuple(self.run(setting, t, like) for t in x)
        return x[:, 0].unflatten(0, like.shape[:2])


def spread_lists(lists: Tensor, heads: int) -> Tensor:
    """Lists of every head, int64 [B, H, n, places]."""
    return spread_heads(_by_head(lists), heads).long()


def _by_head(lists: Tensor) -> Tensor:
    """Lists as [B, H, n, places], where H is 1 for those that all heads share."""
    if not isinstance(lists, Tensor) or lists.dim() not in (3, 4):
        shown = list(lists.shape) if isinstance(lists, Tensor) else type(lists).__name__
        raise ShapeError(f"lists are [B, H, n, places], or [B, n, places] where all heads share them, not {shown}")
    return lists if lists.dim() == 4 else lists[:, None]


def spread_heads(x: Tensor, heads: int) -> Tensor:
    """x [B, H, ...] with its heads repeated in groups, up to so many."""
    if heads % x.shape[1]:
        raise ShapeError(f"{x.shape[1]} heads cannot stand for {heads}, which is no multiple of them")
    return x if x.shape[1] == heads else x.repeat_interleave(heads // x.shape[1], 1)


def gathered(x: Tensor, lists: Tensor) -> Tensor:
    """The tokens of x [B, H, S, D] in lists: [B * H * n, 1, places, D]."""
    lists = _by_head(lists)
    if not isinstance(x, Tensor) or x.dim() != 4 or x.shape[0] != lists.shape[0]:
        shown = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ShapeError(f"by lists {list(lists.shape)} are gathered tokens [{lists.shape[0]}, H, S, D], not {shown}")
    heads = max(x.shape[1], lists.shape[1])
    at = spread_lists(lists, heads)
    if x.shape[2] == 0:
        return x.new_zeros(math.prod(at.shape[:3]), 1, at.shape[3], x.shape[3])
    # Of a member out of range another token is read, never what lies beyond.
    return _taken(spread_heads(x, heads), at.clamp(0, x.shape[2] - 1)).flatten(0, 2)[:, None]


def scattered(x: Value, lists: Tensor, like: Tensor, how: str, eps: float = 0.0) -> Value:
    """x [B * H * n, 1, places, D], or (o, lse) of that, where `like` [B, H, S, *] has what was gathered by lists."""
    at = distinct(spread_lists(lists, like.shape[1]))
    length = like.shape[2]
    at = torch.where((at < 0) | (at >= length), length, at)  # what is none goes to a row behind the last
    if how == "merge":
        o, lse = (t[:, 0].unflatten(0, at.shape[:3]) for t in x)
        return _merged(o, lse, at, length)
    x = x[:, 0].unflatten(0, at.shape[:3])
    if how == "set":
        return _first(x, at, length)
    total = _summed(x, at, length)
    if how == "mean":
        count = _summed(torch.ones_like(x[..., 0], dtype=total.dtype), at, length)
        total = total / torch.where(count > 0, count + eps, 1.0)[..., None]
    return total.to(x.dtype)


# In a fixed order a CPU adds by `index_add`, which is the way back of `index_select`, and a GPU by `index_put`, which
# is that of indexing. Each of them adds in whatever order comes the other way.


def _flat(at: Tensor, length: int) -> Tensor:
    """The places among all tokens of all samples and heads, of which each has so many."""
    copy = torch.arange(at.shape[0] * at.shape[1], device=at.device).view(*at.shape[:2], 1, 1)
    return (copy * length + at).flatten()


def _taken(x: Tensor, at: Tensor) -> Tensor:
    """The tokens of x [B, H, S, *] at places [B, H, n, places]: [B, H, n, places, *]."""
    tokens, index = x.flatten(0, 2), _flat(at, x.shape[2])
    found = tokens[index] if x.is_cuda else tokens.index_select(0, index)
    return found.view(*at.shape, *x.shape[3:])


def _summed(x: Tensor, at: Tensor, length: int) -> Tensor:
    """Sums over the places of each token, in a fixed order, in float32 at least."""
    wide = torch.promote_types(x.dtype, torch.float32)
    total = torch.zeros(at.shape[0] * at.shape[1] * (length + 1), *x.shape[4:], dtype=wide, device=x.device)
    index, more = _flat(at, length + 1), x.to(wide).flatten(0, 3)
    total = total.index_put((index,), more, accumulate=True) if x.is_cuda else total.index_add(0, index, more)
    return total.view(*at.shape[:2], length + 1, *x.shape[4:])[:, :, :length]


def _first(x: Tensor, at: Tensor, length: int) -> Tensor:
    """What the first place of a token has; 0 where it has none."""
    places = at.shape[2] * at.shape[3]
    number = torch.arange(places, device=at.device).expand(*at.shape[:2], -1)
    first = torch.full((*at.shape[:2], length + 1), places, device=at.device)
    first = first.scatter_reduce(2, at.flatten(2), number, "amin")[:, :, :length]
    flat = torch.nn.functional.pad(x.flatten(2, 3), (0, 0, 0, 1))  # behind the last place there is 0
    b, h = (torch.arange(n, device=at.device) for n in at.shape[:2])
    return flat[b[:, None, None], h[:, None], first]


def _merged(o: Tensor, lse: Tensor, at: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """One softmax over the keys of all places of a token."""
    largest = torch.full((*at.shape[:2], length + 1), -torch.inf, dtype=lse.dtype, device=lse.device)
    largest = largest.scatter_reduce(2, at.flatten(2), lse.detach().flatten(2), "amax")
    largest = torch.where(largest > -torch.inf, largest, 0.0)
    share = (lse - _taken(largest, at)).exp()
    total = _summed(share, at, length)
    alive = total > 0
    total = torch.where(alive, total, 1.0)
    merged = _summed(share[..., None] * o.to(share.dtype), at, length) / total[..., None]
    return merged.to(o.dtype), torch.where(alive, total.log() + largest[:, :, :length], -torch.inf)
