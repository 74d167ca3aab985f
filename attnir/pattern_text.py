"""Reading patterns from text: declarations, how tokens are arranged, what a call is held to, a predicate, its weights.

>>> from attnir.printing import format_predicate
>>> p = read_predicate("doc = field(sorted=True); (k <= q) & (doc(q) == doc(k))")
>>> format_predicate(p)
'doc = field(sorted=True); (k <= q) & (doc(q) == doc(k))'
>>> read_predicate(format_predicate(p)) is p
True
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from attnir import real
from attnir.declaring import Names, declare, declare_space, heads_of
from attnir.errors import TextError
from attnir.expr import TOKENS, Expr
from attnir.limits import condition_problem, predicate_problem, score_problem
from attnir.reading import Reader
from attnir.space import Space, Spaces
from attnir.weighing import SOFTMAX, Weights

_LANDMARKS = re.compile(r"\s*softmax\s*\((?:(.*),)?\s*landmarks\s*=\s*(\d+)\s*\)\s*", re.DOTALL)
_BEHIND = re.compile(r"\s*(score|weights|factor)\s*=(?!=)(.*)", re.DOTALL)  # what stands behind the predicate


class Said(NamedTuple):
    """What a text says."""

    predicate: Expr
    score: Expr
    spaces: Spaces
    heads: int | None
    conditions: tuple[Expr, ...]  # on parameters
    weights: Weights = SOFTMAX


def read_predicate(text: str) -> Expr:
    """The predicate over positions that `text` says."""
    return read_pattern(text).predicate


def read_pattern(text: str, patterns: Mapping[str, Callable[..., Expr]] | None = None) -> Said:
    """What a text says. `patterns` have a meaning of their own, such as `causal`."""
    if not isinstance(text, str):
        raise TextError(f'a pattern is read from a text, "causal & window(8)", not from {text!r}')
    *declarations, body = text.split(";")
    said: dict[str, str] = {}
    while (found := _BEHIND.fullmatch(body)) and found[1] not in said:
        said[found[1]] = found[2]
        *declarations, body = declarations or [""]
    names: Names = dict(TOKENS)
    spaces: dict[str, Space] = {}
    heads = None
    conditions: list[Expr] = []
    for part in declarations:
        if count := heads_of(part):
            if heads:
                raise TextError(f"the number of heads is declared twice: {heads}, and {count}")
            heads = count
        elif held := re.match(r"\s*assert\b", part):
            conditions.append(_condition(part[held.end() :], names))
        elif not (declare_space(part, names, spaces) or declare(part, names)):
            raise TextError(
                "expected `name = field()`, `name = param()`, `name = tensor(b)`, `q, k = grid(...)`, `h = heads(8)` "
                f"or `assert a <= b` before the last `;`, not {part.strip()!r}"
            )
    e = Reader(body, names, patterns, spaces).read()
    if problem := predicate_problem(e, *(s.length for s in spaces.values())):
        raise TextError(problem)
    if not e.is_bool:
        raise TextError(f"a mask is a condition; `{e}` is {'a real number' if e.is_real else 'an integer'}")
    with_s: Names = {**names, "s": real.SCORE}
    changed = _number("score", said.get("score", "s"), with_s, spaces)
    weights = read_weights(said.get("weights"), said.get("factor"), with_s, spaces)
    if problem := weights.problem() or next(filter(None, map(score_problem, (changed, *weights.roots))), ""):
        raise TextError(problem)
    return Said(e, changed, (spaces.get("q"), spaces.get("k")), heads, tuple(conditions), weights)


def read_weights(
    weights: str | None,
    factor: str | None,
    names: Names,
    spaces: Mapping[str, Space] | None = None,
    coordinates: Mapping[str, Expr] | None = None,
) -> Weights:
    """What `softmax(sink, landmarks=64)`, `normalized(weight)` or a weight says, over names that hold `s`; a factor."""
    found = SOFTMAX
    if weights is not None and (marked := _LANDMARKS.fullmatch(weights)):
        sink, block = marked.groups()
        e = None if sink is None else _number("sink", sink, names, spaces, coordinates)
        found = Weights(sink=e, landmarks=int(block))
    elif weights is not None:
        called = re.fullmatch(r"\s*(softmax|normalized)\s*\((.*)\)\s*", weights, re.DOTALL)
        what, inner = called.groups() if called else ("weight", weights)
        e = _number("sink" if what == "softmax" else "weight", inner, names, spaces, coordinates)
        found = Weights(sink=e) if what == "softmax" else Weights(e, divided=what == "normalized")
    if factor is not None:
        found = replace(found, factor=_number("factor", factor, names, spaces, coordinates))
    return found


def _number(
    what: str,
    text: str,
    names: Names,
    spaces: Mapping[str, Space] | None,
    coordinates: Mapping[str, Expr] | None = None,
) -> Expr:
    """A real number; `what` it is."""
    e = Reader(text, names, None, spaces, coordinates).read()
    if e.is_bool:
        raise TextError(f"a {what} is a number; `{e}` is a condition")
    return real.of_integer(e)


def _condition(text: str, names: Names) -> Expr:
    """The condition that `assert a <= b` holds a call to."""
    e = Reader(text, names).read()
    if problem := condition_problem(e):
        raise TextError(problem)
    return e
