"""Weights: how those of a row come of the scores of its live pairs, and how they meet the values.

Softmax gives a pair exp(score) and divides by the sum over its row; with landmarks it does so in two levels. Any other
function of the score may stand in its place, divided by the sum or not; and what a weight is when it meets a value may
have a factor besides.

>>> from attnir.real import SCORE, sigmoid
>>> print(*Weights(sigmoid(SCORE), divided=False).lines(), SOFTMAX.lines())
weights = sigmoid(s) []
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from attnir.expr import Expr, K
from attnir.ops import Coordinate, Side
from attnir.printing import format_expr
from attnir.real import ONE, SCORE, after
from attnir.traverse import contains, nodes

OF_ROWS = frozenset({"b", "h", "q"})  # what a sink may differ by
BLOCKS = (16, 32, 64, 128)  # keys of a block that has a landmark: it is a column of tiles


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of a row's live pairs.

    value     the weight of a pair, over its score `s` and tokens; None: exp(s), which is softmax
    divided   whether they are divided by their sum over the row. Then rows have an lse, the log of that sum; one whose
              sum is not positive is like one without a live pair
    sink      of softmax: the score of one more key, over `b`, `h` and `q`, whose value is 0; None: there is none
    landmarks of softmax: so many keys make a block, whose last one is its landmark and has no value. In the blocks that
              a query does not stand in, the landmark's weight is shared among the others by a softmax of their own; in
              its own block keys weigh as they do without. None: there are no landmarks
    factor    what a weight is multiplied with when it meets a value, over tokens; sums of weights do not know of it
    """

    value: Expr | None = None
    divided: bool = True
    sink: Expr | None = None
    factor: Expr = ONE
    landmarks: int | None = None

    @property
    def is_softmax(self) -> bool:
        return self.value is None

    @property
    def is_plain(self) -> bool:
        """Whether the weights of a live row are softmax's alone, and sum up to 1."""
        return self == SOFTMAX

    @property
    def of_pairs(self) -> bool:
        """Whether something else than exp(score) is computed of pairs."""
        return self.value is not None or self.factor is not ONE or self.landmarks is not None

    @property
    def roots(self) -> tuple[Expr, ...]:
        """The expressions that are not what they are in softmax."""
        return tuple(e for e in (self.sink, self.value, self.factor) if e is not None and e is not ONE)

    @property
    def without_sink(self) -> Weights:
        """Those of the backward: there lse holds all that is to know of a sink."""
        return replace(self, sink=None)

    def of(self, score: Expr) -> Expr:
        """Of softmax the score itself, of which exp is taken; else the weight, over what the score is made of."""
        return score if self.value is None else after(self.value, score)

    def map(self, change: Callable[[Expr], Expr]) -> Weights:
        """The same of other expressions."""
        sink, value = (None if e is None else change(e) for e in (self.sink, self.value))
        return replace(self, value=value, sink=sink, factor=change(self.factor))

    def lines(self, names: Mapping[Expr, str] | None = None) -> list[str]:
        """What differs from softmax, as text."""
        found = []
        if self.value is not None:
            text = format_expr(self.value, names)
            found.append(f"weights = {f'normalized({text})' if self.divided else text}")
        elif self.sink is not None or self.landmarks is not None:
            given = [format_expr(self.sink, names)] if self.sink is not None else []
            given += [f"landmarks={self.landmarks}"] if self.landmarks is not None else []
            found.append(f"weights = softmax({', '.join(given)})")
        if self.factor is not ONE:
            found.append(f"factor = {format_expr(self.factor, names)}")
        return found

    def problem(self) -> str:
        """Why these are no weights; empty when they are."""
        if self.value is None and not self.divided:
            return "softmax divides by the sum of its weights"
        if self.value is not None and self.sink is not None:
            return "only softmax has a sink; another weight is any function of the score"
        if self.value is not None and self.landmarks is not None:
            return "only softmax has landmarks; another weight is any function of the score"
        if self.landmarks is not None and (type(self.landmarks) is not int or self.landmarks not in BLOCKS):
            return f"a block with a landmark has {', '.join(map(str, BLOCKS))} keys, not {self.landmarks!r}"
        if self.sink is not None and any(n is SCORE or _is_of_a_key(n) for n in nodes(self.sink)):
            return f"a sink is a number for each row, over b, h and q; not `{self.sink}`"
        if contains(self.factor, SCORE):
            return f"a factor is a number over tokens, not over the score: `{self.factor}`; see an.weights"
        if any(not e.is_real for e in self.roots):
            return "weights are real numbers"
        return ""


def _is_of_a_key(n: Expr) -> bool:
    return n is K or (isinstance(n.value, Coordinate) and n.value.side is Side.KEYS)


SOFTMAX = Weights()
