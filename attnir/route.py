"""Routes: which units of keys each unit of queries attends to, chosen from what they hold.

A route scores pairs of units, chooses some of them for each unit of queries, and hands them to a pattern as lists of a
selection (`an.selection`). Its `mask` says that a pair is live where its unit of keys is listed; `an.compile(pattern,
route=r)` joins it to a pattern and computes the lists in each call. Given lists take their place: `attn(q, k, v,
picks=lists)`. Lists carry no gradient.

>>> import attnir as an, torch
>>> r = an.route.topk_blocks(block=64, k=4, causal=True)
>>> attn = an.compile(an.causal(), route=r)
>>> print(attn.pattern)
picks = selection(b, h); (k <= q) & (picks(q // 64, k // 64) > 0)
>>> q = k = v = torch.randn(1, 2, 1000, 32)
>>> attn(q, k, v).shape
torch.Size([1, 2, 1000, 32])

Units are runs of tokens by their position: unit u has the positions from u * size on. Scores are float32; of equal ones
the lower unit wins, and a unit whose score is -inf or NaN is not chosen. Time goes with the number of pairs of units,
memory with that of units.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from attnir import expr as ex
from attnir.choices import Beside, Choice, Forced, Mass, Portion, Threshold, TopK
from attnir.errors import MissingBindingError, RouteError
from attnir.heads import Heads, heads_of, spread, summed
from attnir.inputs import exact
from attnir.limits import name_problem
from attnir.masks import Mask
from attnir.ops import LISTED_LIMIT, POSITION_LIMIT, SelectionDecl
from attnir.scores import Pattern
from attnir.selections import distinct
from attnir.signature import first_position
from attnir.traverse import selections_of
from attnir.unit_scores import Given, LastKey, LowRank, Pooled, Random, Relative, Shares, Units, UnitScore, Valued

WORKSPACE = 2**22  # scores at once
TAKEN = ("self", "q", "k", "v", "scale", "q_start", "return_lse", "maps")  # arguments of calls
SHARED = ("each", "group", "all")
SCOPES = ("row", "head", "overall")


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
    scope      what chooses together: each "row", which is a unit of queries; all rows of a "head"; or all heads of a
               sample, "overall". The k of a choice is that of a row on average, then; lists are as wide as all units
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

    def __post_init__(self) -> None:
        for what, size in (("queries", self.queries), ("keys", self.keys)):
            _positive(f"a unit of {what}", size)
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
            raise RouteError(f"units compete in a {', a '.join(SCOPES[:2])} or overall, not {self.scope!r}")
        for problem in map(name_problem, (self.name, *self.score.names)):
            if problem:
                raise RouteError(problem)

    @property
    def text(self) -> str:
        """What it chooses, in a line."""
        who = {"each": "each head", "group": "a group of heads", "all": "all heads"}[self.heads]
        forced = "".join(f" and {f}" for f in self.forced)
        causal = ", causal" if self.causal else ""
        return f"{self.choice}{forced} by {self.score}, {self.queries} queries to units of {self.keys}, {who}{causal}"

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
        if not isinstance(self.choice, TopK) or self.scope != "row":
            return None
        own = sum(f.most(self.queries, self.keys) for f in self.forced)
        return max(self.choice.k, own) if self.counted else self.choice.k + own

    @property
    def causality(self) -> str:
        """What lists know of later tokens: "strict", nothing of those behind their queries; "value-only": they may be
        chosen by such values; "none": they may hold such keys.
        """
        if not self.causal:
            return "none"
        alone = self.queries == 1 and isinstance(self.score, Pooled | LowRank | Shares)
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
        start = first_position(q_start, q.shape[2], k.shape[2])
        units = Units(self.queries, self.keys, start, q.shape[2], k.shape[2])
        if missing := [name for name in self.score.names if name not in given]:
            raise MissingBindingError(f"the route reads `{missing[0]}`; give {missing[0]}=... in the call")
        with torch.no_grad(), exact(q.device):
            of = heads_of(maps, q.shape[1], k.shape[1], k.shape[1]).k
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
        return torch.full((q.shape[0], q.shape[1], rows, self.choice.most(units.members)), -1, device=q.device).int()

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
        forced, places = torch.zeros(len(number), units.members, dtype=torch.bool, device=scores.device), []
        for f in self.forced:
            first, last = f.range(units, low, high)
            most = min(f.most(units.queries, units.keys), units.members)
            listed = first[:, None] + torch.arange(most, device=scores.device)
            places.append(torch.where((listed <= last[:, None]) & (listed < units.members), listed, -1))
            forced = forced | ((member >= first[:, None]) & (member <= last[:, None]))
        unseen = (member + 1) * units.keys - 1 > low[:, None] if self.causal else torch.zeros_like(forced)
        scores = torch.where(scores.isnan(), -torch.inf, scores)
        chosen = self._best(scores, forced, unseen)
        if not places:
            return chosen.to(torch.int32)
        own = distinct(torch.cat(places, 1))
        listed = torch.cat([own.expand(*chosen.shape[:2], -1, -1), chosen], -1).to(torch.int32)
        if not self.counted or not isinstance(self.choice, TopK) or self.scope != "row":
            return listed
        # Places that are forced are none of the k: those that hold something move to the front, and fit.
        order = (listed < 0).sort(stable=True, dim=-1).indices
        return listed.gather(-1, order)[..., : max(self.choice.k, own.shape[-1])]

    def _best(self, scores: Tensor, forced: Tensor, unseen: Tensor) -> Tensor:
        """The chosen units of every row, [B, H, rows, places], -1 where there is none."""
        shape, dims = scores.shape, {"row": 0, "head": 1, "overall": 2}[self.scope]

        def together(t: Tensor) -> Tensor:
            """[..., all that choose together]."""
            return t.expand(shape).flatten(-1 - dims)

        candidates = torch.where(forced | unseen, -torch.inf, scores)
        # Sorted so that of equal scores the lower unit comes first, of the lower row, of the lower head.
        order = together(candidates).sort(stable=True, dim=-1, descending=True)
        counted = forced if self.counted else torch.zeros_like(forced)
        rows = math.prod(shape[-1 - dims : -1])
        beside = Beside(together(torch.where(unseen & ~forced, -torch.inf, scores)), together(counted), rows)
        kept = self.choice.kept(order.values, beside) & (order.values > -torch.inf)
        if self.scope == "row":
            return torch.where(kept, order.indices, -1)[..., : self.choice.most(shape[-1])]
        # Back to rows: a row may have all of its units, or none.
        there = torch.zeros_like(kept).scatter(-1, order.indices, kept).view(shape)
        inside = torch.where(there, candidates, -torch.inf).sort(stable=True, dim=-1, descending=True)
        return torch.where(inside.values > -torch.inf, inside.indices, -1)[..., : self.choice.limit]


def _positive(what: str, size: object) -> int:
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= POSITION_LIMIT:
        raise RouteError(f"{what} has a number from 1 to 2**28, not {size!r}")
    return size


def mean_pool(scaled: bool = False) -> UnitScore:
    """The product of the means of both units, of the tokens that there are; of single tokens, theirs.

    scaled: times D ** -0.5, as scores of attention are; the share of a mass depends on it.
    """
    return Pooled("mean", scaled)


def max_pool() -> UnitScore:
    """The product of the largest values of both units, channel by channel."""
    return Pooled("max")


def last_key() -> UnitScore:
    """The product of the mean of a unit of queries with the last key of a unit, such as a landmark of the block."""
    return LastKey()


def low_rank(name: str) -> UnitScore:
    """The product of the means of both units after a projection [D, r], or [Hk, D, r], that a call gives as `name=`."""
    return LowRank(name)


def relative(score: UnitScore) -> UnitScore:
    """Other scores, less the largest one of each unit of queries: so that rows compete fairly, in a scope of a head."""
    return Relative(score)


def values(name: str) -> UnitScore:
    """A value of each key, whatever the query, given in a call as `name=`, [B or 1, Hq or 1, Sk]; units have means."""
    return Valued(name)


def shares() -> UnitScore:
    """The weight of each unit of keys in a softmax over those that a query sees whole, of their means: NSA's score."""
    return Shares()


def random(seed: int) -> UnitScore:
    """Random scores, the same ones for the same seed."""
    if not isinstance(seed, int) or isinstance(seed, bool) or abs(seed) >= 2**62:
        raise RouteError(f"a seed is an integer, not {seed!r}")
    return Random(seed)


def given(name: str) -> UnitScore:
    """Scores that a call gives as `name=`: [B or 1, Hq or 1, query units, key units]."""
    return Given(name)


def topk(k: int) -> Choice:
    """The k units with the largest scores."""
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= LISTED_LIMIT:
        raise RouteError(f"k units are chosen, k an integer from 1 to 2**20, not {k!r}")
    return TopK(k)


def threshold(tau: float, *, most: int | None = None) -> Choice:
    """All units with a score of at least tau; at most so many, the largest. Lists are as wide: without it, as all."""
    if isinstance(tau, bool) or not isinstance(tau, int | float) or math.isnan(tau):
        raise RouteError(f"a threshold is a number, not {tau!r}")
    return Threshold(float(tau), None if most is None else topk(most).most(LISTED_LIMIT))


def mass(p: float, *, most: int | None = None) -> Choice:
    """The fewest units, from the largest score on, that have a share p of the softmax of the scores; at most so many.

    Lists are as wide as `most`: without it, as all units.
    """
    if isinstance(p, bool) or not isinstance(p, int | float) or not 0.0 < p <= 1.0:
        raise RouteError(f"a share of the mass lies in (0, 1], not {p!r}")
    return Mass(float(p), None if most is None else topk(most).most(LISTED_LIMIT))


def portion(tau: float, *, most: int | None = None) -> Choice:
    """The fewest units, one at least, that reach a share tau of all scores, together with the forced and counted ones.

    Scores count from 0, the least of those that choose together, to 1, the largest.
    """
    if isinstance(tau, bool) or not isinstance(tau, int | float) or not 0.0 < tau <= 1.0:
        raise RouteError(f"a share of the scores lies in (0, 1], not {tau!r}")
    return Portion(float(tau), None if most is None else topk(most).most(LISTED_LIMIT))


def own() -> Forced:
    """The units of keys that a unit of queries stands in are always listed."""
    return Forced("own")


def first(n: int = 1) -> Forced:
    """The first n units of keys are always listed."""
    return Forced("first", _positive("what is forced", n))


def window(tokens: int) -> Forced:
    """The units of keys from so many tokens before a unit of queries on, up to its own, are always listed."""
    return Forced("window", _positive("what is forced", tokens))


def blocks(
    choice: Choice,
    *,
    block: int,
    query_block: int | None = None,
    score: UnitScore | None = None,
    heads: str = "each",
    forced: Iterable[Forced] = (),
    counted: bool = False,
    causal: bool = False,
    name: str = "picks",
    scope: str = "row",
) -> Route:
    """Blocks of keys for each block of queries: `Route` with a size for both, mean pooling where no score is said."""
    queries = block if query_block is None else query_block
    pooling = mean_pool() if score is None else score
    given = tuple(forced) if isinstance(forced, Iterable) and not isinstance(forced, str) else (forced,)
    return Route(pooling, choice, queries, block, heads, given, bool(counted), bool(causal), name, scope)


def topk_blocks(*, block: int, k: int, **more: Any) -> Route:
    """For each block of queries the k blocks of keys with the largest scores; more as for `blocks`.

    >>> import attnir as an
    >>> an.route.topk_blocks(block=64, k=8, score=an.route.mean_pool(), forced=[an.route.own()]).mask
    <Mask picks = selection(b, h); picks(q // 64, k // 64) > 0>
    """
    return blocks(topk(k), block=block, **more)


def topk_keys(*, k: int, query_block: int = 1, **more: Any) -> Route:
    """For each query the k keys with the largest products; more as for `blocks`."""
    if "block" in more:
        raise RouteError("topk_keys chooses single keys; of blocks take an.route.topk_blocks(block=64, k=8)")
    return blocks(topk(k), block=1, query_block=query_block, **more)


def joined(declared: Pattern, routes: tuple[Route, ...]) -> Pattern:
    """The pattern with the masks of routes, of those whose selections its own mask does not read."""
    for r in routes:
        if not isinstance(r, Route):
            raise RouteError(f"a route is made by an.route, such as an.route.topk_blocks(block=64, k=8); not {r!r}")
        read = {s.name: s for s in declared.selections}
        if r.name in read and read[r.name] != r.selection:
            axes = ", ".join(repr(a) for a in r.selection.axes)
            raise RouteError(
                f"the pattern reads `{r.name}` over {read[r.name].axes}, the route has lists over {r.selection.axes}; "
                f"declare an.selection({r.name!r}, {axes})"
            )
        if r.selection not in selections_of(declared.predicate):
            declared = replace(declared, mask=declared.mask & r.mask)
    if len({r.name for r in routes}) < len(routes):
        raise RouteError("several routes have one name; give each its own: name='near'")
    return declared


def with_lists(
    routes: tuple[Route, ...],
    q: Tensor,
    k: Tensor,
    q_start: int | None,
    maps: Heads | None,
    bindings: Mapping[str, object],
    read: Iterable[str],
) -> Mapping[str, object]:
    """What a call binds, with the lists of routes that are not given, and without what only these read.

    read: the names that the pattern reads.
    """
    found = dict(bindings)
    for r in routes:
        own = {name: found[name] for name in r.score.names if name in found}
        if r.name not in found:
            found[r.name] = r.lists(q, k, q_start=q_start, maps=maps, **own)
    only_of_routes = {name for r in routes for name in r.score.names} - set(read)
    return {name: value for name, value in found.items() if name not in only_of_routes}


def with_typical_lists(
    routes: tuple[Route, ...],
    batch: int,
    heads: int,
    q_len: int,
    k_len: int | None,
    q_start: int | None,
    bindings: Mapping[str, object],
) -> dict[str, object]:
    """What a call without tensors binds: lists that are not given are those of random scores."""
    found = dict(bindings)
    for r in routes:
        if r.name not in found:
            q, k = (torch.zeros(batch, heads, n, 1) for n in (q_len, q_len if k_len is None else k_len))
            found[r.name] = replace(r, score=Random(0)).lists(q, k, q_start=q_start)
    return found
