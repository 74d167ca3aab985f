"""Scores: how the score of a pair is changed before the softmax; and patterns, which are a mask and a score.

>>> import attnir as an
>>> doc = an.field("doc")
>>> soft = an.score(lambda s, q, k: an.where(doc(q) == doc(k), s, s - 4.0))   # other documents cost 4
>>> print(an.pattern(an.causal(), score=soft))
doc = field(); k <= q; score = where(doc(q) == doc(k), s, s - 4.0)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import reduce

from attnir import expr as ex
from attnir import real
from attnir.errors import DeclarationError
from attnir.expr import TRUE, Expr
from attnir.limits import predicate_problem, score_problem, twice_problem
from attnir.masks import SHORT_FORMS, Declared, Grid, Mask, joined, tokens_on
from attnir.ops import Op
from attnir.pattern_text import read_pattern
from attnir.space import NO_SPACES, Spaces, spaces_of
from attnir.trace import trace_count, trace_score
from attnir.traverse import nodes, substitute
from attnir.value import Value, fail

MOST_CHOICES = 4  # by which a count is taken apart


@dataclass(frozen=True, slots=True)
class Score(Declared):
    """What becomes of the score `s` of a pair, and which pairs it leaves live."""

    value: Expr = real.SCORE
    live: Expr = TRUE
    spaces: Spaces = NO_SPACES
    heads: int | None = None

    def __post_init__(self) -> None:
        if problem := score_problem(self.value) or predicate_problem(self.live):
            fail(DeclarationError, problem)

    @property
    def roots(self) -> tuple[Expr, ...]:
        return self.live, self.value

    def __repr__(self) -> str:
        return f"<Score {self}>"


@dataclass(frozen=True, slots=True)
class Pattern(Declared):
    """A mask, and a score for its pairs. What `compile` and `reference` take, as they take a mask."""

    mask: Mask
    score: Expr = real.SCORE  # of `s`, the product of q and k times the scale

    def __post_init__(self) -> None:
        if problem := score_problem(self.score) or twice_problem(*self.roots, *self.lengths, *self.conditions):
            fail(DeclarationError, problem)

    @property
    def predicate(self) -> Expr:
        return self.mask.predicate

    @property
    def spaces(self) -> Spaces:
        return self.mask.spaces

    @property
    def heads(self) -> int | None:
        return self.mask.heads

    @property
    def conditions(self) -> tuple[Expr, ...]:
        return self.mask.conditions

    @property
    def roots(self) -> tuple[Expr, ...]:
        return (self.predicate,) if self.score is real.SCORE else (self.predicate, self.score)

    def __and__(self, other: Mask) -> Pattern:
        """The pattern on those of its pairs that a mask allows."""
        return replace(self, mask=self.mask & other)

    def without_spaces(self) -> Pattern:
        """The same, over positions alone."""
        return replace(self, mask=replace(self.mask, spaces=NO_SPACES))

    def __repr__(self) -> str:
        return f"<Pattern {self}>"


def pattern(mask: Mask | Pattern, *, score: Score | Iterable[Score] = ()) -> Pattern:
    """A mask with scores, which are applied in their order: each one changes what the one before it gave.

    >>> import attnir as an
    >>> twice = an.multiplicity(lambda k: an.where(k < 4, 2, 1))
    >>> print(an.pattern(an.causal(), score=[twice, an.score(lambda s: 0.5 * s)]))
    k <= q; score = (s + log(where(k < 4, 2, 1))) * 0.5

    Raises DeclarationError for what is no mask and no score, and for scores and masks that do not fit each other.
    """
    if not isinstance(mask, Mask | Pattern):
        fail(DeclarationError, f"a pattern is a mask, not {mask!r}; declare one: an.mask(lambda q, k: ...)")
    given = [score] if isinstance(score, Score) else list(score) if isinstance(score, Iterable) else [score]
    for one in given:
        if not isinstance(one, Score):
            fail(DeclarationError, f"scores are what an.score(lambda s, q, k: ...) gives, not {one!r}")
    start = mask if isinstance(mask, Pattern) else Pattern(mask)
    return reduce(_changed, given, start)


def _changed(before: Pattern, change: Score) -> Pattern:
    live = Mask(before.predicate & change.live, *joined(before, change))
    return Pattern(live, real.after(change.value, before.score))


def score(function: Callable[..., object], *, grid: Grid = None) -> Score:
    """The score that a lambda over the score `s` and, when wanted, `q`, `k`, `b` and `h` says.

    `s` is scale * (q . k), or what the score before gave. The lambda has what those of masks have, and real numbers:
    constants, `+ - *`, `an.where(condition, a, b)`, and `an.log(n)` of an integer; an integer stands for itself. All is
    computed in float32. The gradient follows from the expression.

    >>> import attnir as an
    >>> hidden = an.field("hidden")
    >>> an.score(lambda s, k: an.where(hidden(k) == 1, 0.0, s))     # a logit of 0, whose value still counts
    <Score hidden = field(); True; score = where(hidden(k) == 1, 0.0, s)>

    Raises DeclarationError for what is no real number, and the errors of `an.mask`.
    """
    spaces = spaces_of(grid)
    return Score(trace_score(function, tokens_on(spaces)), TRUE, spaces)


def multiplicity(count: Callable[..., object] | int | Value, *, grid: Grid = None) -> Score:
    """Keys that count several times: `count` says how often, an integer over `q`, `k`, `b`, `h`, or one for all.

    The score grows by log(count), as if the key stood there so often; a pair whose count is below 1 is not live.

    >>> import attnir as an
    >>> n = an.field("n")
    >>> print(an.pattern(an.causal(), score=an.multiplicity(lambda k: n(k))))    # merged tokens: key k stands for n(k)
    n = field(); (k <= q) & (n(k) >= 1); score = s + log(n(k))
    """
    spaces = spaces_of(grid)
    given = count if callable(count) else lambda: count
    times = trace_count(given, tokens_on(spaces))
    return Score(real.add(real.SCORE, real.log(times)), _at_least_one(times), spaces)


def _at_least_one(count: Expr) -> Expr:
    """count >= 1; where conditions choose the count, as a formula of them, which masks are solved in."""
    choices = [n for n in nodes(count) if n.op is Op.WHERE]
    if not 0 < len(choices) <= MOST_CHOICES:
        return ex.compare(Op.GE, count, ex.const(1))
    condition, a, b = choices[0].args
    then, other = (_at_least_one(substitute(count, {choices[0]: x})) for x in (a, b))
    return ex.or_(ex.and_(condition, then), other if then is TRUE else ex.and_(ex.not_(condition), other))


def parse(text: str) -> Mask | Pattern:
    """What a text says: what masks and patterns print, with the short forms `causal`, `full`, `window(left, right)`.

    >>> import attnir as an
    >>> an.parse("causal & (window(9) | (k < 4))") == an.causal() & (an.window(9) | an.mask(lambda q, k: k < 4))
    True
    >>> an.parse("causal; score = where(k < 4, s, s - 1.0)")
    <Pattern k <= q; score = where(k < 4, s, s - 1.0)>
    """
    said = read_pattern(text, SHORT_FORMS)
    mask = Mask(said.predicate, said.spaces, said.heads, said.conditions)
    return mask if said.score is real.SCORE else Pattern(mask, said.score)
