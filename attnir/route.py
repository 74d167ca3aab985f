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
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from attnir import expr as ex
from attnir.errors import MissingBindingError, RouteError
from attnir.heads import Heads, heads_of, spread, summed
from attnir.limits import name_problem
from attnir.masks import Mask
from attnir.ops import LISTED_LIMIT, POSITION_LIMIT, SelectionDecl
from attnir.philox import uniform
from attnir.scores import Pattern
from attnir.signature import first_position

WORKSPACE = 2**22  # scores at once
SHARED = ("each", "group", "all")
Scores = Callable[[slice], Tensor]  # of some units of queries with all units of keys, float32 [B, H, units, units]


@dataclass(frozen=True, slots=True)
class Units:
    """The units of one call. Query unit `first` is the first that has a query."""

    queries: int  # tokens in a unit
    keys: int
    q_start: int
    q_len: int
    k_len: int

    @property
    def first(self) -> int:
        return self.q_start // self.queries

    @property
    def lists(self) -> int:
        """Units of queries, those before the first query included."""
        return -(-(self.q_start + self.q_len) // self.queries) if self.q_len else self.first

    @property
    def members(self) -> int:
        """Units of keys."""
        return -(-self.k_len // self.keys)

    def span(self, units: Tensor) -> tuple[Tensor, Tensor]:
        """(first, last) position of the queries that there are in units."""
        low = (units * self.queries).clamp(min=self.q_start)
        return low, (units * self.queries + self.queries - 1).clamp(max=self.q_start + self.q_len - 1)


class UnitScore(ABC):
    """How well units of keys fit units of queries."""

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors that a call has to give."""
        return ()

    @abstractmethod
    def scores(self, q: Tensor, k: Tensor, of: Sequence[int], units: Units, given: Mapping[str, Any]) -> Scores:
        """The scores of a call; `of` says which key head each query head has."""


@dataclass(frozen=True, slots=True)
class Pooled(UnitScore):
    """The product of what units have on average ("mean"), or at most in each channel ("max")."""

    how: str

    def scores(self, q: Tensor, k: Tensor, of: Sequence[int], units: Units, given: Mapping[str, Any]) -> Scores:
        of_queries = _pooled(q, units.queries, self.how, units.q_start % units.queries)
        of_keys = spread(_pooled(k, units.keys, self.how), of).transpose(-1, -2)
        return lambda rows: of_queries[:, :, rows] @ of_keys


@dataclass(frozen=True, slots=True)
class LowRank(UnitScore):
    """The product of means after a projection [D, r], or [Hk, D, r] of key heads, which a call gives by name."""

    name: str

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)

    def scores(self, q: Tensor, k: Tensor, of: Sequence[int], units: Units, given: Mapping[str, Any]) -> Scores:
        p = given[self.name]
        if (
            not isinstance(p, Tensor)
            or not p.is_floating_point()
            or p.dim() not in (2, 3)
            or p.shape[-2] != q.shape[-1]
        ):
            shown = list(p.shape) if isinstance(p, Tensor) else type(p).__name__
            raise RouteError(
                f"the projection `{self.name}` is real, [{q.shape[-1]}, r] or [Hk, {q.shape[-1]}, r], not {shown}"
            )
        if p.dim() == 3 and p.shape[0] not in (1, k.shape[1]):
            raise RouteError(
                f"the projection `{self.name}` has {p.shape[0]} heads; there are {k.shape[1]} of k (1 is for all)"
            )
        p = p.detach().float()
        of_queries = p if p.dim() == 2 or p.shape[0] == 1 else spread(p[None], of)[0]
        return Pooled("mean").scores(q.float() @ of_queries, k.float() @ p, of, units, given)


@dataclass(frozen=True, slots=True)
class Random(UnitScore):
    """Random scores: the same ones for the same seed, sample, head and units, whatever the lengths."""

    seed: int

    def scores(self, q: Tensor, k: Tensor, of: Sequence[int], units: Units, given: Mapping[str, Any]) -> Scores:
        def drawn(rows: slice) -> Tensor:
            index = [torch.arange(n, device=q.device) for n in (q.shape[0], q.shape[1], units.lists, units.members)]
            index[2] = index[2][units.first :][rows]
            b, h, u, m = (i.view([-1 if a == axis else 1 for a in range(4)]) for axis, i in enumerate(index))
            return uniform(torch.full((), self.seed, device=q.device), b, h, u, m).float()

        return drawn


@dataclass(frozen=True, slots=True)
class Given(UnitScore):
    """Scores that a call gives by name, [B or 1, H or 1, query units, key units]."""

    name: str

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)

    def scores(self, q: Tensor, k: Tensor, of: Sequence[int], units: Units, given: Mapping[str, Any]) -> Scores:
        t, shape = given[self.name], (q.shape[0], q.shape[1], units.lists, units.members)
        fits = isinstance(t, Tensor) and t.dim() == 4 and tuple(t.shape[2:]) == shape[2:]
        if not fits or any(n not in (1, size) for n, size in zip(t.shape[:2], shape, strict=False)):
            shown = list(t.shape) if isinstance(t, Tensor) else type(t).__name__
            raise RouteError(
                f"the scores `{self.name}` are of all units, {list(shape)} (1 stands for all), not {shown}"
            )
        t = t.detach().float().expand(shape)[:, :, units.first :]
        return lambda rows: t[:, :, rows]


def _pooled(t: Tensor, size: int, how: str, before: int = 0) -> Tensor:
    """What units of t [B, H, S, D] have on average, or at most, float32 [B, H, units, D]; the first lacks `before`."""
    t = t.detach().float()
    if size == 1:
        return t
    neutral = 0.0 if how == "mean" else -torch.inf
    after = -(before + t.shape[2]) % size
    padded: Tensor = torch.nn.functional.pad(t, (0, 0, before, after), value=neutral).unflatten(2, (-1, size))
    if how == "max":
        return padded.amax(3)
    there: Tensor = torch.nn.functional.pad(torch.ones(t.shape[2], device=t.device), (before, after)).unflatten(
        0, (-1, size)
    )
    return padded.sum(3) / there.sum(1).clamp(min=1)[:, None]


class Choice(ABC):
    """Which of the scored units are chosen."""

    @abstractmethod
    def most(self, members: int) -> int:
        """How many are chosen at most, of so many."""

    @abstractmethod
    def kept(self, scores: Tensor, forced: Tensor) -> Tensor:
        """Which of scores in descending order are chosen, beside so many that are counted and forced."""


@dataclass(frozen=True, slots=True)
class TopK(Choice):
    """The k with the largest scores."""

    k: int

    def most(self, members: int) -> int:
        return min(self.k, members)

    def kept(self, scores: Tensor, forced: Tensor) -> Tensor:
        return torch.arange(scores.shape[-1], device=scores.device) < self.k - forced


@dataclass(frozen=True, slots=True)
class Threshold(Choice):
    """All with a score of at least tau; of more than `limit` those with the largest scores."""

    tau: float
    limit: int | None = None

    def most(self, members: int) -> int:
        return members if self.limit is None else min(self.limit, members)

    def kept(self, scores: Tensor, forced: Tensor) -> Tensor:
        return scores >= self.tau


@dataclass(frozen=True, slots=True)
class Mass(Choice):
    """The fewest, from the largest score on, that together have a share p of the softmax over all candidates."""

    p: float
    limit: int | None = None

    def most(self, members: int) -> int:
        return members if self.limit is None else min(self.limit, members)

    def kept(self, scores: Tensor, forced: Tensor) -> Tensor:
        share = torch.where(scores > -torch.inf, scores, -torch.inf).softmax(-1)
        return share.cumsum(-1) - share < self.p


@dataclass(frozen=True, slots=True)
class Forced:
    """Units that are always listed: the own ones of a query unit, the first n, or those of `n` tokens before."""

    what: str
    n: int = 0

    def range(self, units: Units, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, int]:
        """(first, last, how many at most) for query units whose positions are from low to high."""
        if self.what == "first":
            return torch.zeros_like(low), torch.full_like(low, self.n - 1), self.n
        reach = self.n if self.what == "window" else 0
        first = (low - reach).clamp(min=0) // units.keys
        return first, high // units.keys, (units.queries + reach - 1) // units.keys + 2


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
    causal     only units are chosen whose keys all stand before the unit of queries
    name       of the selection
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

    def __post_init__(self) -> None:
        for what, size in (("queries", self.queries), ("keys", self.keys)):
            _positive(f"a unit of {what}", size)
        if self.heads not in SHARED:
            raise RouteError(f'heads choose "each", by "group" or "all" together, not {self.heads!r}')
        if problem := name_problem(self.name):
            raise RouteError(problem)

    @property
    def selection(self) -> SelectionDecl:
        return SelectionDecl(self.name, ("b",) if self.heads == "all" else ("b", "h"))

    @property
    def mask(self) -> Mask:
        """Live are the pairs whose unit of keys is listed."""
        return Mask(ex.rank(self.selection, ex.Q // self.queries, ex.K // self.keys) > 0)

    @property
    def causality(self) -> str:
        """What lists know of later tokens: "strict", nothing of those behind their queries; "value-only": they may be
        chosen by such values; "none": they may hold such keys.
        """
        if not self.causal:
            return "none"
        fixed = isinstance(self.score, Random) or (self.queries == 1 and isinstance(self.score, Pooled | LowRank))
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
        with torch.no_grad():
            of = heads_of(maps, q.shape[1], k.shape[1], k.shape[1]).k
            scores = self.score.scores(q.detach(), k.detach(), of, units, given)
            step = max(1, WORKSPACE // max(1, q.shape[0] * q.shape[1] * units.members))
            rows = units.lists - units.first
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
            first, last, most = f.range(units, low, high)
            listed = first[:, None] + torch.arange(most, device=scores.device)
            places.append(torch.where((listed <= last[:, None]) & (listed < units.members), listed, -1))
            forced = forced | ((member >= first[:, None]) & (member <= last[:, None]))
        outside = forced | ((member + 1) * units.keys > low[:, None]) if self.causal else forced
        scores = torch.where(outside | scores.isnan(), -torch.inf, scores)
        order = scores.sort(stable=True, dim=-1, descending=True)  # so that of equal scores the lower unit comes first
        most = self.choice.most(units.members)
        counted = forced.sum(-1, keepdim=True) if self.counted else torch.zeros_like(number)[:, None]
        kept = self.choice.kept(order.values, counted) & (order.values > -torch.inf)
        chosen = torch.where(kept, order.indices, -1)[..., :most]
        own = torch.cat([*places, torch.zeros(len(number), 0, dtype=torch.int64, device=scores.device)], 1)
        return torch.cat([own.expand(*chosen.shape[:2], -1, -1), chosen], -1).to(torch.int32)


def _positive(what: str, size: object) -> int:
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= POSITION_LIMIT:
        raise RouteError(f"{what} has a number from 1 on, not {size!r}")
    return size


def mean_pool() -> UnitScore:
    """The product of the means of both units, of the tokens that there are; of single tokens, theirs."""
    return Pooled("mean")


def max_pool() -> UnitScore:
    """The product of the largest values of both units, channel by channel."""
    return Pooled("max")


def low_rank(name: str) -> UnitScore:
    """The product of the means of both units after a projection [D, r], or [Hk, D, r], that a call gives as `name=`."""
    return LowRank(name)


def random(seed: int) -> UnitScore:
    """Random scores, the same ones for the same seed."""
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
) -> Route:
    """Blocks of keys for each block of queries: `Route` with a size for both, mean pooling where no score is said."""
    queries = block if query_block is None else query_block
    pooling = mean_pool() if score is None else score
    return Route(pooling, choice, queries, block, heads, tuple(forced), counted, causal, name)


def topk_blocks(*, block: int, k: int, **more: Any) -> Route:
    """For each block of queries the k blocks of keys with the largest scores; more as for `blocks`.

    >>> import attnir as an
    >>> an.route.topk_blocks(block=64, k=8, score=an.route.mean_pool(), forced=[an.route.own()]).mask
    <Mask picks = selection(b, h); picks(q // 64, k // 64) > 0>
    """
    return blocks(topk(k), block=block, **more)


def topk_keys(*, k: int, query_block: int = 1, **more: Any) -> Route:
    """For each query the k keys with the largest products; more as for `blocks`."""
    return blocks(topk(k), block=1, query_block=query_block, **more)


def joined(declared: Pattern, routes: tuple[Route, ...]) -> Pattern:
    """The pattern with the masks of routes, of those whose selections it does not read itself."""
    for r in routes:
        if not isinstance(r, Route):
            raise RouteError(f"a route is made by an.route, such as an.route.topk_blocks(block=64, k=8); not {r!r}")
        read = {s.name: s for s in declared.selections}
        if r.name not in read:
            declared = replace(declared, mask=declared.mask & r.mask)
        elif read[r.name] != r.selection:
            raise RouteError(
                f"the pattern reads `{r.name}` over {read[r.name].axes}, the route has lists over {r.selection.axes}"
            )
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
) -> Mapping[str, object]:
    """What a call binds, with the lists of routes that are not given, and without what only these read."""
    found = dict(bindings)
    for r in routes:
        own = {name: found[name] for name in r.score.names if name in found}
        if r.name not in found:
            found[r.name] = r.lists(q, k, q_start=q_start, maps=maps, **own)
    return {name: value for name, value in found.items() if not any(name in r.score.names for r in routes)}


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
