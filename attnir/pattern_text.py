"""Reading patterns from text: declarations, how tokens are arranged, what a call is held to, a predicate, a score.

>>> from attnir.printing import format_predicate
>>> p = read_predicate("doc = field(sorted=True); (k <= q) & (doc(q) == doc(k))")
>>> format_predicate(p)
'doc = field(sorted=True); (k <= q) & (doc(q) == doc(k))'
>>> read_predicate(format_predicate(p)) is p
True
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from attnir import real
from attnir.errors import DeclarationError, TextError
from attnir.expr import TOKENS, Expr
from attnir.limits import condition_problem, predicate_problem
from attnir.ops import COPIES_LIMIT
from attnir.reading import Names, Reader, declare, keywords
from attnir.space import Space, Spaces, concat, grid
from attnir.value import Value


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
        if count := _heads(part):
            if heads:
                raise TextError(f"the number of heads is declared twice: {heads}, and {count}")
            heads = count
        elif found := re.match(r"\s*assert\b", part):
            conditions.append(_condition(part[found.end() :], names))
        elif not (_declare_space(part, names, spaces) or declare(part, names)):
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
    if problem := predicate_problem(changed):
        raise TextError(problem)
    return Said(e, changed, (spaces.get("q"), spaces.get("k")), heads, tuple(conditions))


def _condition(text: str, names: Names) -> Expr:
    """The condition that `assert a <= b` holds a call to."""
    e = Reader(text, names).read()
    if problem := condition_problem(e):
        raise TextError(problem)
    return e


def _heads(text: str) -> int:
    """The number that `h = heads(8)` declares; 0 when the text is no such declaration."""
    found = re.fullmatch(r"\s*h\s*=\s*heads\((.*)\)\s*", text, re.DOTALL)
    if not found:
        return 0
    count = int(found[1]) if re.fullmatch(r"\s*\d{1,9}\s*", found[1]) else 0
    if not 1 <= count <= COPIES_LIMIT:
        raise TextError(f"the number of heads is an integer from 1 to 2**20, h = heads(8), not {found[1].strip()!r}")
    return count


def _declare_space(text: str, names: Names, spaces: dict[str, Space]) -> bool:
    """Add `q, k = grid(y=64, x=64)`, or `k = concat(...)`, to the spaces; False when the text is none."""
    try:
        match ast.parse(text.strip()).body:
            case [
                ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id="grid" | "concat")) as value)
            ]:
                tokens = [name]
            case [ast.Assign(targets=[ast.Tuple(elts=[ast.Name(id=a), ast.Name(id=b)])], value=ast.Call() as value)]:
                tokens = [a, b]
            case _:
                return False
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    if tokens not in (["q"], ["k"], ["q", "k"]):
        return False
    if twice := [t for t in tokens if t in spaces]:
        raise TextError(f"the grid of `{twice[0]}` is declared twice")
    try:
        found = _space(value, names)
    except (DeclarationError, ValueError) as error:
        raise TextError(f"not a grid: {text.strip()!r} ({str(error).splitlines()[0]})") from None
    if not isinstance(found, Space):
        raise TextError(f"not a grid: {text.strip()!r}; expected grid(y=64, x=64) or concat(text=256, ...)")
    spaces |= dict.fromkeys(tokens, found)
    return True


def _space(n: ast.expr, names: Names) -> Space | Value | int:
    """`grid(...)`, `concat(...)`, a size or a parameter."""
    match n:
        case ast.Call(func=ast.Name(id="grid" | "concat" as kind), args=[], keywords=sizes):
            given: Any = {name: _space(size, names) for name, size in keywords(sizes).items()}
            return grid(**given) if kind == "grid" else concat(**given)
        case ast.Constant(value=int() as size):
            return size
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as size)):
            return -size
        case ast.Name(id=name) if isinstance(e := names.get(name), Expr):
            return Value(e)
        case ast.Name(id=name) if name not in names:
            raise ValueError(f"unknown name `{name}`; declare it before: {name} = param(low=1)")
    raise ValueError(f"a size is an integer or a parameter, not `{ast.unparse(n)}`")
