"""Reading patterns from text: declarations, how tokens are arranged, what a call is held to, a predicate, a score.

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
from typing import NamedTuple

from attnir import real
from attnir.declaring import Names, declare, declare_space, heads_of
from attnir.errors import TextError
from attnir.expr import TOKENS, Expr
from attnir.limits import condition_problem, predicate_problem, score_problem
from attnir.reading import Reader
from attnir.space import Space, Spaces


class Said(NamedTuple):
    """What a text says."""

    predicate: Expr
    score: Expr
    spaces: Spaces
    heads: int | None
    conditions: tuple[Expr, ...]  # on parameters


def read_predicate(text: str) -> Expr:
    """The predicate over positions that `text` says."""
    return read_pattern(text).predicate


def read_pattern(text: str, patterns: Mapping[str, Callable[..., Expr]] | None = None) -> Said:
    """What a text says. `patterns` have a meaning of their own, such as `causal`."""
    if not isinstance(text, str):
        raise TextError(f'a pattern is read from a text, "causal & window(8)", not from {text!r}')
    *declarations, body = text.split(";")
    score = re.fullmatch(r"\s*score\s*=(?!=)(.*)", body, re.DOTALL)
    if score:
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
        elif found := re.match(r"\s*assert\b", part):
            conditions.append(_condition(part[found.end() :], names))
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
    changed = Reader(score[1], {**names, "s": real.SCORE}, None, spaces).read() if score else real.SCORE
    if changed.is_bool:
        raise TextError(f"a score is a number; `{changed}` is a condition")
    changed = real.of_integer(changed)
    if problem := score_problem(changed):
        raise TextError(problem)
    return Said(e, changed, (spaces.get("q"), spaces.get("k")), heads, tuple(conditions))


def _condition(text: str, names: Names) -> Expr:
    """The condition that `assert a <= b` holds a call to."""
    e = Reader(text, names).read()
    if problem := condition_problem(e):
        raise TextError(problem)
    return e
