"""How well units of keys fit units of queries, in one call: what routes choose by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnir.errors import DeviceError, RouteError
from attnir.heads import spread
from attnir.philox import uniform

LARGEST = 1e30  # a score: what is infinite is that, so that differences are numbers
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
    scaled: bool = False

    def __str__(self) -> str:
        return {"mean": "products of means", "max": "products of maxima"}[self.how]

    def scores(self, q: Tensor, k: Tensor, of: Sequence[int], units: Units, given: Mapping[str, Any]) -> Scores:
        of_queries = _pooled(q, units.queries, self.how, units.q_start % units.queries)
        if self.scaled:
            of_queries = of_queries * q.shape[-1] ** -0.5
        of_keys = spread(_pooled(k, units.keys, self.how), of).transpose(-1, -2)
        return lambda rows: of_queries[:, :, rows] @ of_keys


@dataclass(frozen=True, slots=True)
class LastKey(UnitScore):
    """The product of the mean of a unit of queries with the last key of a unit of keys; one without it has -inf."""

    def __str__(self) -> str:
        return "products with last keys"

    def scores(self, q: Tensor, k: Tensor, of: Sequence[int], units: Units, given: Mapping[str, Any]) -> Scores:
        of_queries = _pooled(q, units.queries, "mean", units.q_start % units.queries)
        last = spread(k[:, :, units.keys - 1 :: units.keys].float(), of).transpose(-1, -2)
        missing = units.members - last.shape[-1]
        return lambda rows: torch.nn.functional.pad(of_queries[:, :, rows] @ last, (0, missing), value=-torch.inf)


@dataclass(frozen=True, slots=True)
class LowRank(UnitScore):
    """The product of means after a projection [D, r], or [Hk, D, r] of key heads, which a call gives by name."""

    name: str

    def __str__(self) -> str:
        return f"products of means behind {self.name}"

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
        _check_device(self.name, p, q)
        if p.dim() == 3 and p.shape[0] not in (1, k.shape[1]):
            raise RouteError(
                f"the projection `{self.name}` has {p.shape[0]} heads; there are {k.shape[1]} of k (1 is for all)"
            )
        p = p.detach().float()
        of_queries = p if p.dim() == 2 or p.shape[0] == 1 else spread(p[None], of)[0]
        return Pooled("mean").scores(q.float() @ of_queries, k.float() @ p, of, units, given)


@dataclass(frozen=True, slots=True)
class Shares(UnitScore):
    """The softmax of a unit of queries over the units of keys that its first query sees whole; others have -inf."""

    def __str__(self) -> str:
        return "weights of means"

    def scores(self, q: Tensor, k: Tensor, of: Sequence[int], units: Units, given: Mapping[str, Any]) -> Scores:
        products = Pooled("mean", scaled=True).scores(q, k, of, units, given)
        ends = (torch.arange(units.members, device=q.device) + 1) * units.keys - 1
        low, _ = units.span(torch.arange(units.first, units.lists, device=q.device))

        def shares(rows: slice) -> Tensor:
            unseen = ends > low[rows, None]
            return products(rows).masked_fill(unseen, -torch.inf).softmax(-1).masked_fill(unseen, -torch.inf)

        return shares


@dataclass(frozen=True, slots=True)
class Relative(UnitScore):
    """Other scores, less the largest one of each unit of queries."""

    score: UnitScore

    def __str__(self) -> str:
        return f"{self.score}, less the largest of a row"

    @property
    def names(self) -> tuple[str, ...]:
        return self.score.names

    def scores(self, q: Tensor, k: Tensor, of: Sequence[int], units: Units, given: Mapping[str, Any]) -> Scores:
        whole = self.score.scores(q, k, of, units, given)

        def relative(rows: slice) -> Tensor:
            found = whole(rows)
            if not found.shape[-1]:
                return found
            found = found.clamp(max=LARGEST)
            return found - found.amax(-1, keepdim=True).clamp(min=torch.finfo(torch.float32).min)

        return relative


@dataclass(frozen=True, slots=True)
class _Named(UnitScore):
    """Scores of a tensor that a call gives by name."""

    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)


@dataclass(frozen=True, slots=True)
class Valued(_Named):
    """The mean of a value of keys, [B or 1, H or 1, Sk], which a call gives by name."""

    def scores(self, q: Tensor, k: Tensor, of: Sequence[int], units: Units, given: Mapping[str, Any]) -> Scores:
        t = _of_shape(self.name, given, "values", "keys", (q.shape[0], q.shape[1], units.k_len), q)
        of_units = _pooled(t[..., None], units.keys, "mean")[..., 0]
        rows = units.lists - units.first
        return lambda at: of_units[:, :, None].expand(-1, -1, len(range(rows)[at]), -1)


@dataclass(frozen=True, slots=True)
class Random(UnitScore):
    """Random scores: the same ones for the same seed, sample, head and units, whatever the lengths."""

    seed: int

    def __str__(self) -> str:
        return f"chance, seed {self.seed}"

    def scores(self, q: Tensor, k: Tensor, of: Sequence[int], units: Units, given: Mapping[str, Any]) -> Scores:
        def drawn(rows: slice) -> Tensor:
            index = [torch.arange(n, device=q.device) for n in (q.shape[0], q.shape[1], units.lists, units.members)]
            index[2] = index[2][units.first :][rows]
            b, h, u, m = (i.view([-1 if a == axis else 1 for a in range(4)]) for axis, i in enumerate(index))
            return uniform(torch.full((), self.seed, device=q.device), b, h, u, m).float()

        return drawn


@dataclass(frozen=True, slots=True)
class Given(_Named):
    """Scores that a call gives by name, [B or 1, H or 1, query units, key units]."""

    def scores(self, q: Tensor, k: Tensor, of: Sequence[int], units: Units, given: Mapping[str, Any]) -> Scores:
        shape = (q.shape[0], q.shape[1], units.lists, units.members)
        t = _of_shape(self.name, given, "scores", "units", shape, q)[:, :, units.first :]
        return lambda rows: t[:, :, rows]


def _check_device(name: str, t: Tensor, q: Tensor) -> None:
    if t.device != q.device:
        raise DeviceError(f"`{name}` is on {t.device}, q on {q.device}; move one of them")


def _of_shape(name: str, given: Mapping[str, Any], what: str, of: str, shape: tuple[int, ...], q: Tensor) -> Tensor:
    """What a call gives by name, in float32 and of a shape; 1 stands for all samples, and for all heads."""
    t = given[name]
    fits = isinstance(t, Tensor) and t.dim() == len(shape) and tuple(t.shape[2:]) == shape[2:]
    if not fits or any(n not in (1, size) for n, size in zip(t.shape[:2], shape, strict=False)):
        shown = list(t.shape) if isinstance(t, Tensor) else type(t).__name__
        raise RouteError(f"the {what} `{name}` are of all {of}, {list(shape)} (1 stands for all), not {shown}")
    _check_device(name, t, q)
    found: Tensor = t.detach().float().expand(shape)
    return found


def _pooled(t: Tensor, size: int, how: str, before: int = 0) -> Tensor:
    """What units of t [B, H, S, D] have on average, or at most, float32 [B, H, units, D]; the first lacks `before`."""
    t = t.detach().float()
    size = min(size, max(1, before + t.shape[2]))  # of a unit of all tokens
    if size == 1:
        return t
    neutral = 0.0 if how == "mean" else -torch.inf
    after = -(before + t.shape[2]) % size
    if not before and not after:
        whole: Tensor = t.unflatten(2, (-1, size))
        return whole.amax(3) if how == "max" else whole.mean(3)
    padded: Tensor = torch.nn.functional.pad(t, (0, 0, before, after), value=neutral).unflatten(2, (-1, size))
    if how == "max":
        return padded.amax(3)
    there: Tensor = torch.nn.functional.pad(t.new_ones(t.shape[2]), (before, after)).unflatten(0, (-1, size))
    return padded.sum(3) / there.sum(1).clamp(min=1)[:, None]
