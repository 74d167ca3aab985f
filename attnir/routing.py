"""What a route is: how units fit, which are chosen, and the lists of a call.

`route.py` has the words that make one, `routed.py` its place in a pattern and its calls.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, cast

import torch
from torch import Tensor

from attnir import expr as ex
from attnir.choices import Beside, Choice, Forced, TopK, largest
from attnir.errors import MissingBindingError, RouteError, ShapeError, UnknownBindingError
from attnir.heads import Heads, check_heads, named, spread, summed
from attnir.inputs import check_dense, exact
from attnir.limits import name_problem
from attnir.masks import Mask
from attnir.ops import POSITION_LIMIT, SelectionDecl
from attnir.selections import distinct
from attnir.signature import first_position
from attnir.unit_scores import LARGEST, LastKey, LowRank, Pooled, Random, Shares, Units, UnitScore, Valued

WORKSPACE = 2**22  # scores at once
TAKEN = ("maps",)  # an argument of `Route.lists`, besides those that no name may have
SHARED = ("each", "group", "all")
SCOPES = {
    "row": "",
    "block": ", rows for each unit of keys",
    "head": ", lists of a head together",
    "overall": ", all lists together",
}


@dataclass(frozen=True, slots=True)
class Route:
    """Which units of keys each unit of queries attends to: see `attnir.route`.

    score      how units fit
    choice     which of them are chosen
    queries    tokens in a unit of queries; 1: each has a list of its own
    keys       tokens in a unit of keys
    heads      "each" query head has lists of its own; those of a "group", which share a key head, choose by the sum of
               their scores; or "all" choose together
    forced     units that are always listed
    counted    whether these count among the k of a choice
    causal     only units are chosen whose keys all stand where the first query of the unit does, or before it
    name       of the selection
    scope      what competes: in each "row", which is a unit of queries, the units of keys; for each "block", which is a
               unit of keys, the rows; both in all rows of a "head"; or in all heads of a sample, "overall". The k of a
               choice is that of a row on average, then; lists are as wide as all units
    """

    score: UnitScore
    choice: Choice
    queries: int
    keys: int
    heads: str = "each"
    forced: tuple[Forced, ...] = ()
    counted: bool = False
    causal: bool = False
    name: str = "picks"
    scope: str = "row"
    written: str = field(init=False, repr=False, compare=False)  # all that it says, for the operator

    def __post_init__(self) -> None:
        for what, size in (("queries", self.queries), ("keys", self.keys)):
            positive(f"a unit of {what}", size)
        if not isinstance(self.score, UnitScore):
            raise RouteError(
                f"units are scored by an.route.mean_pool() and the like, not by {self.score!r}; scores of your own are "
                'given in the call: score=an.route.given("fit")'
            )
        if not isinstance(self.choice, Choice):
            raise RouteError(f"units are chosen by an.route.topk(8) and the like, not by {self.choice!r}")
        if not all(isinstance(f, Forced) for f in self.forced):
            raise RouteError(f"what is forced is an.route.own() and the like, not {self.forced!r}")
        if taken := {*TAKEN, self.name} & set(self.score.names):
            raise RouteError(f"`{min(taken)}` is taken; name what the score reads otherwise")
        if self.heads not in SHARED:
            raise RouteError(f'heads choose "each", by "group" or "all" together, not {self.heads!r}')
        if self.scope not in SCOPES:
            raise RouteError(f"units compete in a {', a '.join([*SCOPES][:3])} or overall, not {self.scope!r}")
        for problem in map(name_problem, (self.name, *self.score.names)):
            if problem:
                raise RouteError(problem)
        object.__setattr__(self, "written", repr(self))
        _WRITTEN[self.written] = self

    def __reduce__(self) -> tuple[type[Route], tuple[Any, ...]]:
        """Where it is read from a pickle it is made anew, so that the operator knows it there."""
        return Route, tuple(getattr(self, f.name) for f in fields(self) if f.init)

    @property
    def text(self) -> str:
        """What it chooses, in a line."""
        who = {"each": "each head", "group": "a group of heads", "all": "all heads"}[self.heads]
        forced = "".join(f" and {f}" for f in self.forced)
        causal = ", causal" if self.causal else ""
        units = f"{self.queries} queries to units of {self.keys}"
        return f"{self.choice}{forced} by {self.score}, {units}, {who}{SCOPES[self.scope]}{causal}"

    @property
    def selection(self) -> SelectionDecl:
        return SelectionDecl(self.name, ("b",) if self.heads == "all" else ("b", "h"))

    @property
    def mask(self) -> Mask:
        """Live are the pairs whose unit of keys is listed."""
        return Mask(ex.rank(self.selection, ex.Q // self.queries, ex.K // self.keys) > 0)

    @property
    def width(self) -> int | None:
        """How many places lists have at most, whatever the call; None where the call decides."""
        alone = isinstance(self.choice, TopK) and self.scope == "row"
        return self.places(POSITION_LIMIT) if alone else None

    def places(self, members: int) -> int:
        """How many places the lists of a call have, of so many units of keys."""
        if self.scope != "row":
            chosen = members if self.choice.limit is None else min(self.choice.limit, members)
        else:
            chosen = self.choice.most(members)
        own = sum(min(f.most(self.queries, self.keys), members) for f in self.forced)
        if self.counted and isinstance(self.choice, TopK) and self.scope == "row":
            return min(own + chosen, max(self.choice.k, own))
        return own + chosen

    @property
    def causality(self) -> str:
        """What lists know of later tokens: "strict", nothing of those behind their queries; "value-only": they may be
        chosen by such values; "none": they may hold such keys.
        """
        if not self.causal:
            return "none"
        alone = self.queries == 1 and isinstance(self.score, Pooled | LastKey | LowRank | Shares | Valued)
        fixed = self.scope == "row" and (alone or isinstance(self.score, Random))
        if self.forced and self.choice.weighs_forced:
            fixed = False
        return "strict" if fixed else "value-only"

    def lists(
        self, q: Tensor, k: Tensor, *, q_start: int | None = None, maps: Heads | None = None, **given: object
    ) -> Tensor:
        """The lists of a call: int32 [B, Hq, query units, places], or [B, query units, places] where all heads share.

        q [B, Hq, Sq, D], k [B, Hk, Sk, D]; -1 stands where nothing is chosen. First come the forced ones, then those
        that were chosen, from the largest score on. maps are those of an attention's heads.
        """
        _check_tokens(q, k)
        start = first_position(q_start, q.shape[2], k.shape[2])
        if unknown := sorted(given.keys() - {*self.score.names}):
            known = ", ".join(self.score.names) or "nothing"
            raise UnknownBindingError(f"`{unknown[0]}` given, but the route reads {known}")
        if maps is not None:
            check_heads(Heads(maps.k), q.shape[1], k.shape[1], k.shape[1])
        units = Units(self.queries, self.keys, start, q.shape[2], k.shape[2])
        if missing := [name for name in self.score.names if name not in given]:
            raise MissingBindingError(f"the route reads `{missing[0]}`; give {missing[0]}=... in the call")
        of, _ = named(maps, q.shape[1], k.shape[1], k.shape[1])
        if torch.compiler.is_compiling():  # which would take the parts below one by one, for one length alone
            tensors = [cast(Tensor, given[name]).detach() for name in self.score.names]
            return cast(Tensor, choose(q.detach(), k.detach(), tensors, of, start, self.written))
        return self.found(q, k, of, units, given)

    def found(self, q: Tensor, k: Tensor, of: Sequence[int], units: Units, given: Mapping[str, object]) -> Tensor:
        """The lists of a call that is checked, in parts, so that few scores are there at once."""
        with torch.no_grad(), exact(q.device):
            scores = self.score.scores(q.detach(), k.detach(), of, units, given)
            rows = units.lists - units.first
            step = max(1, WORKSPACE // max(1, q.shape[0] * q.shape[1] * units.members))
            if self.scope != "row":
                step = max(1, rows)
            shared = (self._shared(scores(slice(at, at + step)), of, k.shape[1]) for at in range(0, rows, step))
            parts = [self._chosen(each, units, at) for each, at in zip(shared, range(0, rows, step), strict=True)]
            found = torch.cat(parts, 2) if parts else self._none(q, units, rows)
            found = torch.nn.functional.pad(found, (0, 0, units.first, 0), value=-1)
            if self.heads == "all":
                return found[:, 0]
            return spread(found, of) if self.heads == "group" else found

    def _none(self, q: Tensor, units: Units, rows: int) -> Tensor:
        return torch.full((q.shape[0], q.shape[1], rows, self.places(units.members)), -1, device=q.device).int()

    def _shared(self, scores: Tensor, of: Sequence[int], key_heads: int) -> Tensor:
        """Those of each head, or their sum over the heads that choose together."""
        if self.heads == "all":
            return scores.sum(1, keepdim=True)
        return summed(scores, of, key_heads) if self.heads == "group" else scores

    def _chosen(self, scores: Tensor, units: Units, at: int) -> Tensor:
        """The lists of query units from `at` on, of scores [B, H, rows, key units]."""
        number = units.first + at + torch.arange(scores.shape[2], device=scores.device)
        low, high = units.span(number)
        member = torch.arange(units.members, device=scores.device)
        always, places = torch.zeros(len(number), units.members, dtype=torch.bool, device=scores.device), []
        for f in self.forced:
            first, last = f.range(units, low, high)
            most = min(f.most(units.queries, units.keys), units.members)
            listed = first[:, None] + torch.arange(most, device=scores.device)
            places.append(torch.where((listed <= last[:, None]) & (listed < units.members), listed, -1))
            always = always | ((member >= first[:, None]) & (member <= last[:, None]))
        unseen = (member + 1) * units.keys - 1 > low[:, None] if self.causal else torch.zeros_like(always)
        scores = torch.where(scores.isnan(), -torch.inf, scores).clamp(max=LARGEST)
        chosen = self._best(scores, always, unseen)
        if not places:
            return chosen.to(torch.int32)
        placed = distinct(torch.cat(places, 1))
        listed = torch.cat([placed.expand(*chosen.shape[:2], -1, -1), chosen], -1).to(torch.int32)
        if not self.counted or not isinstance(self.choice, TopK) or self.scope != "row":
            return listed
        # Places that are forced are none of the k: those that hold something move to the front, and fit.
        order = (listed < 0).sort(stable=True, dim=-1).indices
        return listed.gather(-1, order)[..., : max(self.choice.k, placed.shape[-1])]

    def _best(self, scores: Tensor, forced: Tensor, unseen: Tensor) -> Tensor:
        """The chosen units of every row, [B, H, rows, places], -1 where there is none."""
        shape, dims = scores.shape, {"row": 0, "block": 0, "head": 1, "overall": 2}[self.scope]
        by_block = self.scope == "block"

        def together(t: Tensor) -> Tensor:
            """[..., all that choose together]."""
            return t.expand(shape).mT if by_block else t.expand(shape).flatten(-1 - dims)

        candidates = torch.where(forced | unseen, -torch.inf, scores)
        # Of equal scores the lower unit comes first, of the lower row, of the lower head.
        few = self.scope == "row" and self.choice.leading
        values, order = largest(together(candidates), self.choice.most(shape[-1]) if few else math.prod(shape))
        counted = forced if self.counted else torch.zeros_like(forced)
        rows = shape[-2] / max(1, shape[-1]) if by_block else math.prod(shape[-1 - dims : -1])
        weighed = torch.where(unseen & ~forced, -torch.inf, scores) if self.choice.weighs_forced else candidates
        beside = Beside(together(weighed), together(counted), rows)
        kept = self.choice.kept(values, beside) & (values > -torch.inf)
        if self.scope == "row":
            return torch.where(kept, order, -1)[..., : self.choice.most(shape[-1])]
        # Back to rows: a row may have all of its units, or none.
        there = torch.zeros_like(kept).scatter(-1, order, kept)
        there = there.mT if by_block else there.view(shape)
        places = shape[-1] if self.choice.limit is None else min(self.choice.limit, shape[-1])
        values, order = largest(torch.where(there, candidates, -torch.inf), places)
        return torch.where(values > -torch.inf, order, -1)


_WRITTEN: dict[str, Route] = {}  # every route that was made; an operator takes text


@torch.library.custom_op("attnir::choose", mutates_args=())
def choose(q: Tensor, k: Tensor, given: Sequence[Tensor], of: Sequence[int], q_start: int, route: str) -> Tensor:
    """The lists of a call that torch traces; `of`: which key head each query head has, `route`: `Route.written`."""
    read = _WRITTEN[route]
    units = Units(read.queries, read.keys, q_start, q.shape[2], k.shape[2])
    return read.found(q, k, of, units, dict(zip(read.score.names, given, strict=True))).contiguous()


@choose.register_fake
def _choose_fake(q: Tensor, k: Tensor, given: Sequence[Tensor], of: Sequence[int], q_start: int, route: str) -> Tensor:
    read = _WRITTEN[route]
    units = Units(read.queries, read.keys, q_start, q.shape[2], k.shape[2])
    heads = () if read.heads == "all" else (q.shape[1],)
    shape = (q.shape[0], *heads, units.lists, read.places(units.members))
    return q.new_empty(shape, dtype=torch.int32)


def _check_tokens(q: Tensor, k: Tensor) -> None:
    """Raise unless queries and keys can be compared."""
    for name, t in (("q", q), ("k", k)):
        check_dense(name, t)
    if not q.dim() == k.dim() == 4 or (q.shape[0], q.shape[3]) != (k.shape[0], k.shape[3]):
        raise ShapeError(
            f"a route is for q [B, Hq, Sq, D] and k [B, Hk, Sk, D], not {list(q.shape)} and {list(k.shape)}"
        )


def positive(what: str, size: object) -> int:
    """A number of tokens or units that a unit, or what is forced, has. Raises RouteError."""
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= POSITION_LIMIT:
        raise RouteError(f"{what} has a number from 1 to 2**28, not {size!r}")
    return size
