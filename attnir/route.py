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
the lower unit wins, one that is infinite is 1e30, and a unit whose score is -inf or NaN is not chosen. Time goes with
the number of pairs of units, and memory with that of units, where units compete in their rows; that of `threshold`,
`mass` and `portion` with the pairs as well, unless they say how many they choose at most.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from attnir.choices import Choice, Forced, Mass, Portion, Threshold, TopK
from attnir.errors import RouteError
from attnir.ops import LISTED_LIMIT
from attnir.routing import Route, positive
from attnir.unit_scores import Given, LastKey, LowRank, Pooled, Random, Relative, Shares, UnitScore, Valued


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
    return TopK(_number("k", k))


def _number(name: str, k: object) -> int:
    """A number of units of a list."""
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= LISTED_LIMIT:
        raise RouteError(f"{name} is how many units are chosen, an integer from 1 to 2**20, not {k!r}")
    return k


def threshold(tau: float, *, most: int | None = None) -> Choice:
    """All units with a score of at least tau; at most so many, the largest. Lists are as wide: without it, as all."""
    if isinstance(tau, bool) or not isinstance(tau, int | float) or math.isnan(tau):
        raise RouteError(f"a threshold is a number, not {tau!r}")
    return Threshold(float(tau), None if most is None else _number("most", most))


def mass(p: float, *, most: int | None = None) -> Choice:
    """The fewest units, from the largest score on, that have a share p of the softmax of the scores; at most so many.

    Lists are as wide as `most`: without it, as all units.
    """
    if isinstance(p, bool) or not isinstance(p, int | float) or not 0.0 < p <= 1.0:
        raise RouteError(f"a share of the mass lies in (0, 1], not {p!r}")
    return Mass(float(p), None if most is None else _number("most", most))


def portion(tau: float, *, most: int | None = None) -> Choice:
    """The fewest units, one at least, that reach a share tau of all scores, together with the forced and counted ones.

    Scores count from 0, the least of those that choose together, to 1, the largest. Of a share of 0 it is one unit.
    """
    if isinstance(tau, bool) or not isinstance(tau, int | float) or not 0.0 <= tau <= 1.0:
        raise RouteError(f"a share of the scores lies in [0, 1], not {tau!r}")
    return Portion(float(tau), None if most is None else _number("most", most))


def own() -> Forced:
    """The units of keys that a unit of queries stands in are always listed."""
    return Forced("own")


def first(n: int = 1) -> Forced:
    """The first n units of keys are always listed."""
    return Forced("first", positive("what is forced", n))


def window(tokens: int) -> Forced:
    """The units of keys from so many tokens before a unit of queries on, up to its own, are always listed."""
    return Forced("window", positive("what is forced", tokens))


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
