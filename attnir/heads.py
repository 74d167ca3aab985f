"""Head maps: which key head and which value head each query head has.

Where nothing is said query heads have contiguous groups: Hq / Hk of them to a key head, Hq / Hv to a value head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attnir.errors import HeadsError

EXAMPLE = "an.Heads(k=(0, 0, 1, 1), v=(0, 1, 0, 1))"


@dataclass(frozen=True, slots=True)
class Heads:
    """Which head of k, and which of v, each query head attends over.

    k, v    for every query head the index of its key head and of its value head, from 0; heads may be named in any
            order, often or not at all; v where left out as k

    >>> import attnir as an, torch
    >>> attn = an.compile(an.causal(), heads=an.Heads(k=(0, 0, 1, 1), v=(0, 1, 0, 1)))
    >>> q, k, v = torch.randn(1, 4, 10, 16), torch.randn(1, 2, 10, 16), torch.randn(1, 2, 10, 32)
    >>> attn(q, k, v).shape
    torch.Size([1, 4, 10, 32])

    Raises HeadsError for maps of different lengths, and for what is no index.
    """

    k: tuple[int, ...]
    v: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.v == ():
            object.__setattr__(self, "v", self.k)
        for name, given in (("k", self.k), ("v", self.v)):
            if not isinstance(given, Sequence) or isinstance(given, str) or not all(type(i) is int for i in given):
                raise HeadsError(f"the map of {name} gives each query head the index of its head of {name}: {EXAMPLE}")
            if low := [i for i in given if i < 0]:
                raise HeadsError(f"the map of {name} has the entry {low[0]}; heads are counted from 0")
            object.__setattr__(self, name, tuple(given))
        if len(self.k) != len(self.v) or not self.k:
            raise HeadsError(
                f"the map of k is for {len(self.k)} query heads, that of v for {len(self.v)}; both are for every one"
            )

    @staticmethod
    def groups(heads: int, k: int, v: int) -> Heads:
        """Contiguous groups: of `heads` query heads over k key heads and v value heads.

        >>> Heads.groups(4, k=2, v=1)
        Heads(k=(0, 0, 1, 1), v=(0, 0, 0, 0))

        Raises HeadsError where they are no multiple of them.
        """
        check_heads(None, heads, k, v)
        return Heads(*(tuple(h // (heads // n) for h in range(heads)) for n in (k, v)))


def check_is_heads(given: object) -> None:
    """Raise HeadsError unless it is head maps, or None."""
    if given is not None and not isinstance(given, Heads):
        raise HeadsError(f"heads says which head of k and of v each query head has, {EXAMPLE}; it is not {given!r}")


def check_heads(given: Heads | None, heads: int, k: int, v: int) -> None:
    """Raise HeadsError unless `heads` query heads can attend over k key heads and v value heads."""
    if given is None:
        for n, word in ((k, "key"), (v, "value")):
            if n == 0 or heads % n:
                raise HeadsError(
                    f"{heads} query heads are no multiple of {n} {word} heads; expected Hq = n * H{word[0]}, or a map: "
                    f"heads={EXAMPLE}"
                )
        return
    if heads != len(given.k):
        raise HeadsError(f"the maps are for {len(given.k)} query heads, but q has {heads}: {given}")
    for n, name, of in ((k, "k", given.k), (v, "v", given.v)):
        if max(of) >= n:
            raise HeadsError(f"the map of {name} names head {max(of)}, but {name} has {n}, counted from 0: {given}")


def heads_of(given: Heads | None, heads: int, k: int, v: int) -> Heads:
    """The maps of a call: those given, or contiguous groups."""
    return Heads.groups(heads, k, v) if given is None else given


def named(given: Heads | None, heads: int, k: int, v: int) -> tuple[Sequence[int], Sequence[int]]:
    """The key head and the value head of every query head of a call, which may have none."""
    if not heads:
        check_heads(given, heads, k, v)
        return (), ()
    found = heads_of(given, heads, k, v)
    return found.k, found.v


def maps_of(given: Heads | None, heads: int, k: int, v: int) -> Heads | None:
    """The maps of a call, or None where k and v have the same contiguous groups, which need none."""
    if k == v and (given is None or (heads % k == 0 and given == Heads.groups(heads, k, v))):
        return None
    return heads_of(given, heads, k, v)


def needs_maps(given: Heads | None) -> bool:
    """Whether calls with these need maps, which have as many heads of k and v as they name."""
    return given is not None and maps_of(given, len(given.k), max(given.k) + 1, max(given.v) + 1) is not None


def spread(t: Tensor, of: Sequence[int]) -> Tensor:
    """t [B, Hk, ...] for every query head, [B, Hq, ...]: a copy, whose gradient is summed in a fixed order."""
    return torch.stack([t[:, i] for i in of], 1) if of else t[:, :0]


def summed(t: Tensor, of: Sequence[int], heads: int) -> Tensor:
    """The sums of t [B, Hq, ...] over the query heads of each head, [B, heads, ...], in a fixed order."""
    found = t.new_zeros(t.shape[0], heads, *t.shape[2:])
    for h, i in enumerate(of):
        found[:, i] += t[:, h]
    return found
