"""Scores: how the score of a pair is changed before the softmax; and patterns: a mask, a score, and its weights.

>>> import attnir as an
>>> doc = an.field("doc")
>>> soft = an.score(lambda s, q, k: an.where(doc(q) == doc(k), s, s - 4.0))   # other documents cost 4
>>> print(an.pattern(an.causal(), score=soft))
doc = field(); k <= q; score = where(doc(q) == doc(k), s, s - 4.0)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import TypeVar

from attnir import expr as ex
from attnir import real
from attnir.errors import DeclarationError
from attnir.expr import TRUE, Expr
from attnir.factors import Factor
from attnir.limits import predicate_problem, score_problem, twice_problem
from attnir.masks import SHORT_FORMS, Declared, Grid, Mask, joined, tokens_on
from attnir.normalizers import Normalizer, softmax, weights
from attnir.ops import Op
from attnir.pattern_text import read_pattern
from attnir.printing import format_expr
from attnir.space import NO_SPACES, Spaces, spaces_of
from attnir.trace import trace_count, trace_score
from attnir.traverse import nodes, substitute
from attnir.value import Value, fail, is_function
from attnir.weighing import SOFTMAX, Weights

LONGEST_SHOWN = 200  # characters of what is no mask
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

    def lines(self, names: Mapping[Expr, str]) -> list[str]:
        return [format_expr(self.live, names), f"score = {format_expr(self.value, names)}"]

    def __repr__(self) -> str:
        return f"<Score {self}>"


@dataclass(frozen=True, slots=True)
class Pattern(Declared):
    """A mask, a score for its pairs, and the weights of these. What takes a mask takes it as well."""

    mask: Mask
    score: Expr = real.SCORE  # of `s`, the product of q and k times the scale
    weights: Weights = SOFTMAX

    def __post_init__(self) -> None:
        problem = self.weights.problem() or next(
            filter(None, map(score_problem, (self.score, *self.weights.roots))), ""
        )
        if problem := problem or twice_problem(*self.roots, *self.lengths, *self.conditions):
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
        scores = () if self.score is real.SCORE else (self.score,)
        return self.predicate, *scores, *self.weights.roots

    @property
    def weighed(self) -> Expr:
        """What a pair's weight follows from, over the score before: see `Weights.of`."""
        return self.weights.of(self.score)

    def lines(self, names: Mapping[Expr, str]) -> list[str]:
        changed = [] if self.score is real.SCORE else [f"score = {format_expr(self.score, names)}"]
        return [format_expr(self.predicate, names), *changed, *self.weights.lines(names)]

    def __and__(self, other: Mask) -> Pattern:
        """The pattern on those of its pairs that a mask allows."""
        return replace(self, mask=self.mask & other)

    def without_spaces(self) -> Pattern:
        """The same, over positions alone."""
        return replace(self, mask=replace(self.mask, spaces=NO_SPACES))

    def __repr__(self) -> str:
        return f"<Pattern {self}>"


def pattern(
    mask: Mask | Pattern,
    *,
    score: Score | Iterable[Score] = (),
    normalize: Normalizer | None = None,
    factor: Factor | Iterable[Factor] = (),
) -> Pattern:
    """A mask with scores, which are applied in their order: each one changes what the one before it gave.

    normalize   how weights come of scores: an.softmax(sink=...), an.weights(...), or a function of the score
    factor      what weights are multiplied with when they meet values: an.factor(...), an.dropout(...)

    >>> import attnir as an
    >>> twice = an.multiplicity(lambda k: an.where(k < 4, 2, 1))
    >>> print(an.pattern(an.causal(), score=[twice, an.score(lambda s: 0.5 * s)]))
    k <= q; score = (s + log(where(k < 4, 2, 1))) * 0.5
    >>> print(an.pattern(an.causal(), normalize=an.sigmoid))
    k <= q; weights = sigmoid(s)

    Raises DeclarationError for what is no mask and no score, and for scores and masks that do not fit each other.
    """
    if not isinstance(mask, Mask | Pattern):
        shown = repr(mask) if len(repr(mask)) < LONGEST_SHOWN else f"a {type(mask).__name__}"
        own = isinstance(getattr(mask, "pattern", None), Mask | Pattern)
        ways = "it has its own: `.pattern`" if own else "declare one: an.mask(lambda q, k: ...)"
        fail(DeclarationError, f"a pattern is a mask, not {shown}; {ways}")
    start = mask if isinstance(mask, Pattern) else Pattern(mask)
    scores = _each(score, Score, "scores are what an.score(lambda s, q, k: ...) gives")
    factors = _each(factor, Factor, "factors are what an.factor(lambda q, k: ...) and an.dropout(...) give")
    changed = reduce(_changed, scores, start)
    if normalize is not None:
        if replace(changed.weights, factor=real.ONE) != SOFTMAX:
            fail(DeclarationError, "the pattern says already how weights come of scores; give normalize= once")
        named = softmax() if normalize is softmax else normalize
        given = weights(named) if callable(named) else named
        if not isinstance(given, Weights):
            fail(DeclarationError, f"normalize= is an.softmax(...), an.weights(...) or a function of s, not {given!r}")
        changed = replace(changed, weights=replace(given, factor=real.mul(given.factor, changed.weights.factor)))
    return reduce(_multiplied, factors, changed)


Kind = TypeVar("Kind", Score, Factor)


def _each(given: Kind | Iterable[Kind], kind: type[Kind], expected: str) -> list[Kind]:
    """One, or several, of a kind."""
    found = list(given) if isinstance(given, Iterable) else [given]
    for one in found:
        if not isinstance(one, kind):
            fail(DeclarationError, f"{expected}, not {one!r}")
    return found


def _changed(before: Pattern, change: Score) -> Pattern:
    live = Mask(before.predicate & change.live, *joined(before, change))
    return replace(before, mask=live, score=real.after(change.value, before.score))


def _multiplied(before: Pattern, more: Factor) -> Pattern:
    live = Mask(before.predicate, *joined(before, more))
    return replace(
        before, mask=live, weights=replace(before.weights, factor=real.mul(before.weights.factor, more.value))
    )


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
    function = count if is_function(count) else lambda: count
    times = trace_count(function, tokens_on(spaces))
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
    plain = said.score is real.SCORE and said.weights == SOFTMAX
    return mask if plain else Pattern(mask, said.score, said.weights)
