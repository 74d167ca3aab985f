"""Factors: what weights are multiplied with when they meet values. Dropout is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from attnir import real
from attnir.errors import DeclarationError
from attnir.expr import TRUE, Expr
from attnir.facts import param
from attnir.functions import random, where
from attnir.limits import score_problem
from attnir.masks import Declared, Grid, tokens_on
from attnir.ops import Op
from attnir.printing import format_expr
from attnir.space import NO_SPACES, Spaces, spaces_of
from attnir.trace import trace_real
from attnir.value import Value, fail, number_argument


@dataclass(frozen=True, slots=True)
class Factor(Declared):
    """A number for each pair, by which its weight is multiplied when it meets the value."""

    value: Expr
    spaces: Spaces = NO_SPACES
    heads: int | None = None

    def __post_init__(self) -> None:
        if problem := score_problem(self.value):
            fail(DeclarationError, problem)

    @property
    def roots(self) -> tuple[Expr, ...]:
        return TRUE, self.value

    def lines(self, names: Mapping[Expr, str]) -> list[str]:
        return ["True", f"factor = {format_expr(self.value, names)}"]

    def __repr__(self) -> str:
        return f"<Factor {self}>"


def factor(function: Callable[..., object], *, grid: Grid = None) -> Factor:
    """The factor that a lambda over `q`, `k`, `b` and `h` says, as in a score: o = sum of weight * factor * v.

    Weights are divided by their sum before; lse does not know of it. What it reads may be learned. So weights of chosen
    heads or keys grow or shrink without a change to the others.

    >>> import attnir as an
    >>> gain = an.tensor("gain", "h")
    >>> print(an.pattern(an.causal(), factor=an.factor(lambda k, h: an.where(k < 4, gain[h], 1.0))))
    gain = tensor(h, dtype=float); k <= q; factor = where(k < 4, gain[h], 1.0)

    Raises DeclarationError for what is no real number, and the errors of `an.score`.
    """
    spaces = spaces_of(grid)
    return Factor(trace_real("factor", function, tokens_on(spaces)), spaces)


def dropout(rate: float | Value, *, seed: str | int | Value = "seed") -> Factor:
    """Each weight is dropped with the probability `rate`; the others are divided by 1 - rate.

    rate   a number from 0 to below 1, or a real parameter, `dtype=float`
    seed   an integer, or a parameter, or the name of one: give another value in every step of the training

    Which ones follows from the seed, the sample, the query head and the positions alone, by Philox: the forward and the
    backward, all backends and all tiles drop the same. Softmax's sum and lse are those without dropout.

    >>> import attnir as an
    >>> print(an.pattern(an.causal(), factor=an.dropout(0.25)))
    seed = param(); k <= q; factor = where(random(seed, b, h, q, k) >= 0.25, 1.3333333333333333, 0.0)

    Dropout: A Simple Way to Prevent Neural Networks from Overfitting; Parallel Random Numbers: As Easy as 1, 2, 3.

    Raises DeclarationError for a rate that is no such number.
    """
    known = number_argument(rate)
    if known.op in (Op.CONST, Op.REAL) and not (isinstance(rate, int | float) and 0 <= rate < 1):
        fail(DeclarationError, f"a rate of dropout is a number from 0 to below 1, or a parameter, not {rate!r}")
    drawn = param(seed) if isinstance(seed, str) else seed
    grown = Value(real.div(real.ONE, real.sub(real.ONE, known)))
    return factor(lambda q, k, b, h: where(random(drawn, b, h, q, k) >= Value(real.of_integer(known)), grown, 0.0))
