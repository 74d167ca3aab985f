"""Reading declarations from text: `doc = field()`, `w = param(low=1)`, `q, k = grid(y=64, x=64)`, `h = heads(8)`.

>>> names: Names = {}
>>> declare("w = param(low=1)", names), declare("w + 1", names), *names
(True, False, 'w')
"""

from __future__ import annotations

import ast
import re
from typing import Any

from attnir import expr as ex
from attnir.errors import DeclarationError, TextError
from attnir.expr import Expr
from attnir.limits import axes_problem, name_problem, range_problem, real_axes_problem, selection_axes_problem
from attnir.ops import COPIES_LIMIT, PARAM_LIMIT, FieldDecl, ParamDecl, SelectionDecl, TensorDecl
from attnir.space import Space, concat, grid
from attnir.value import Value

Declaration = Expr | FieldDecl | TensorDecl | SelectionDecl
Names = dict[str, Declaration]  # the symbols and declarations in scope


def declare(text: str, names: Names) -> bool:
    """Add a declaration to the names; False when the text is none."""
    found = _declaration(text)
    if found is None:
        return False
    name, declared = found
    if name in names:
        raise TextError(f"`{name}` is declared twice")
    names[name] = declared
    return True


def _declaration(text: str) -> tuple[str, Declaration] | None:
    """`doc = field(sorted=True)`, `w = param(low=1)` or `n = tensor(b)`; None for anything else."""
    try:
        match ast.parse(text.strip()).body:
            case [
                ast.Assign(
                    targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id="tensor"), args=at, keywords=kw)
                )
            ]:
                if kw and not _is_real(kw):
                    raise ValueError("expected tensor(b), tensor(h), tensor(b, h) or tensor(h, offset, dtype=float)")
                axes, real = tuple(a.id if isinstance(a, ast.Name) else ast.unparse(a) for a in at), _is_real(kw)
                if problem := name_problem(name) or (real_axes_problem(axes) if real else axes_problem(axes)):
                    raise ValueError(problem)
                return name, TensorDecl(name, axes, real)
            case [
                ast.Assign(
                    targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id="selection"), args=at, keywords=[])
                )
            ]:
                axes = tuple(map(ast.unparse, at))
                if problem := name_problem(name) or selection_axes_problem(axes):
                    raise ValueError(problem)
                return name, SelectionDecl(name, axes)
            case [
                ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id=kind), args=[], keywords=kw))
            ]:
                if kind == "param" and _is_real(kw):
                    if problem := name_problem(name):
                        raise ValueError(problem)
                    return name, ex.number(ParamDecl(name, real=True))
                given = {word: ast.literal_eval(value) for word, value in _keywords(kw).items()}
                return name, _declared(name, kind, given)
    except SyntaxError:
        return None
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        raise TextError(f"not a declaration: {text.strip()!r} ({error})") from None
    return None


def _is_real(given: list[ast.keyword]) -> bool:
    """Whether the only keyword says `dtype=float`."""
    match given:
        case [ast.keyword(arg="dtype", value=ast.Name(id="float"))]:
            return True
    return False


def _keywords(given: list[ast.keyword]) -> dict[str, ast.expr]:
    """The arguments of a call by their names, each given once."""
    found: dict[str, ast.expr] = {}
    for word in given:
        if word.arg is None:
            raise ValueError("`**` is not part of the language")
        if word.arg in found:
            raise ValueError(f"`{word.arg}` is given twice")
        found[word.arg] = word.value
    return found


def _declared(name: str, kind: str, given: dict[str, object]) -> Expr | FieldDecl:
    """What `name = kind(**given)` declares."""
    if problem := name_problem(name):
        raise ValueError(problem)
    match kind, given:
        case "field", _ if given.keys() <= {"sorted"}:
            is_sorted = given.get("sorted", False)
            if isinstance(is_sorted, bool):
                return FieldDecl(name, is_sorted)
        case "param", _ if given.keys() <= {"low", "high"}:
            low, high = given.get("low", -PARAM_LIMIT), given.get("high", PARAM_LIMIT)
            if problem := range_problem(name, low, high):
                raise ValueError(problem)
            if isinstance(low, int) and isinstance(high, int):
                return ex.param(ParamDecl(name, low, high))
    raise ValueError(
        "expected field(), field(sorted=True), param(), param(low=..., high=...), param(dtype=float), tensor(b), "
        "tensor(h), tensor(b, h), tensor(h, offset, dtype=float), selection(), selection(b), selection(h) or "
        "selection(b, h)"
    )


def heads_of(text: str) -> int:
    """The number that `h = heads(8)` declares; 0 when the text is no such declaration."""
    found = re.fullmatch(r"\s*h\s*=\s*heads\((.*)\)\s*", text, re.DOTALL)
    if not found:
        return 0
    count = int(found[1]) if re.fullmatch(r"\s*\d{1,9}\s*", found[1]) else 0
    if not 1 <= count <= COPIES_LIMIT:
        raise TextError(f"the number of heads is an integer from 1 to 2**20, h = heads(8), not {found[1].strip()!r}")
    return count


def declare_space(text: str, names: Names, spaces: dict[str, Space]) -> bool:
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
            given: Any = {name: _space(size, names) for name, size in _keywords(sizes).items()}
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
