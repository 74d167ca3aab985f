"""The torch target's schedule: the concrete spans of keys that each tile of queries visits.

The compiler evaluates a tile program to this for one call; the target only follows it. Indices are those of the
tensors, not positions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from attnir.codegen.torch.units import LOG2E
from attnir.heads import Heads

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Span:
    """Key indices [start, stop). full: every pair is live; otherwise the predicate decides."""

    start: int
    stop: int
    full: bool


@dataclass(frozen=True, slots=True)
class Visit:
    """Query indices [start, stop) and the disjoint spans that its rows visit, ascending."""

    start: int
    stop: int
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Fold:
    """Members whose queries stand on one axis, member after member: samples, and of each some heads.

    A member has `shared` query heads, which have one head of k and of v, and a sample `heads` members. The keys of all
    heads of k stand on one axis as well.
    """

    q_len: int
    k_len: int
    heads: int
    shared: int


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """Visits whose keys are gathered, each for one product.

    Visit i has queries [rows[i], rows[i] + heights[i]) and, of the keys of its group, those from keys[i]: first
    `full[i]` that all its queries see, then `checked[i]` of which the predicate decides.
    """

    rows: Indices
    heights: Indices
    keys: Indices
    full: Indices
    checked: Indices


@dataclass(frozen=True, slots=True)
class Group:
    """Samples and query heads that share their visits. The rows of the visits ascend and do not overlap.

    rows, keys: where the tokens do not stand in the order of the visits, the indices of those that do: int64. A visit
    then counts rows and keys by their places in these; a key may have several, a row has one.
    gathered: more visits, whose keys are gathered. fold: how samples and heads that visit other keys go together; then
    rows and keys count those of all members.
    """

    batches: slice
    heads: slice
    visits: tuple[Visit, ...]
    rows: Tensor | None = None
    keys: Tensor | None = None
    gathered: Gathered | None = None
    fold: Fold | None = None


Place = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor | None]]  # of samples, heads, rows and cols
Reach = Callable[[Tensor], tuple[Tensor, Tensor]]  # the least and the greatest score, of products of at most a size


class Change(Protocol):
    """A function of samples, heads, rows, cols and scores, which it may overwrite where that is said."""

    def __call__(
        self, samples: Tensor, heads: Tensor, rows: Tensor, cols: Tensor, s: Tensor, *, overwrite: bool = False
    ) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class Learned:
    """A real tensor, read somewhere in the score, the weight or the factor, whose gradient is asked for.

    slope: the derivative by what is read, None where that is 1. place: which entry of the tensor a pair reads,
    in row-major order, and, where that is not everywhere, whether it reads one at all; of any shape that broadcasts.
    """

    name: str
    slope: Change | None
    place: Place


class Landmarks(NamedTuple):
    """Blocks whose last key is their landmark: how many keys one has, and the position of the first query."""

    block: int
    q_start: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """All groups of a call; a query row that no visit names is dead.

    live(samples, heads, rows, cols) is bool, of the shape to which the four index tensors broadcast or of one that
    broadcasts to it. by_distance: it gives the same for rows and cols that are moved by one amount. by_member: it may
    differ between samples, or between heads.

    score(samples, heads, rows, cols, s): what becomes of scores s in softmax, None where they stay; bias: what is added
    to them instead, where that is all that becomes of them, whatever s; weight: what weights are, None in softmax;
    divided: whether by their sum; slope: the derivative of either by s, None where that is 1; factor: what weights are
    multiplied with when they meet values, of pairs alone, None where that is 1. sink: [B, Hq, Sq], softmax's further
    score of each row. unbounded: scores, weights and slopes may be infinite on dead pairs; unbounded_factor: factors
    may. learned: the tensors whose gradients are asked for, one for each place in the score or the weight;
    learned_factor: for each place in the factor.
    Scores that become something are in powers of two then, unless natural ones were asked for; and s, of scores and
    slopes, is what the products are times factor_of_s. bias_by_distance: the bias gives the same for rows and cols that
    are moved by one amount. maps: which heads of k and v the query heads have, where these are not contiguous groups of
    both. landmarks: those of softmax, if any; then every span begins with a block, and but for the last keys ends with
    one. reach: the range of softmax's scores, in powers of two; None where they may be infinite.
    """

    groups: tuple[Group, ...]
    live: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    by_distance: bool = False
    by_member: bool = True
    score: Change | None = None
    bias: Change | None = None
    bias_by_distance: bool = False
    factor_of_s: float = LOG2E
    slope: Change | None = None
    unbounded: bool = False
    learned: tuple[Learned, ...] = ()
    weight: Change | None = None
    divided: bool = True
    factor: Change | None = None
    unbounded_factor: bool = False
    learned_factor: tuple[Learned, ...] = ()
    sink: Tensor | None = None
    maps: Heads | None = None
    landmarks: Landmarks | None = None
    reach: Reach | None = None

    @property
    def block(self) -> int:
        """Products hold whole blocks of so many keys."""
        return 1 if self.landmarks is None else self.landmarks.block
