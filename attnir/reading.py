"""Reading expressions from text. The text is parsed, nothing is run, and what is not understood refused.

>>> print(Reader("(k <= q) & (q - k < 8)", dict(ex.TOKENS)).read())
(k <= q) & (q - k < 8)
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import reduce
from typing import ClassVar

from attnir import expr as ex
from attnir import real
from attnir.declaring import Names
from attnir.errors import AttnirError, TextError
from attnir.expr import Expr
from attnir.limits import divisor_problem
from attnir.ops import CONSTANT_LIMIT, REAL_LIMIT, FieldDecl, Op, SelectionDecl, TensorDecl
from attnir.space import Space

Functions = Mapping[str, tuple[int, Callable[..., Expr]]]  # how many arguments, and what it makes of them

_BINARY: dict[type[ast.AST], Callable[..., Expr]] = {
    ast.Add: ex.add,
    ast.Sub: ex.sub,
    ast.Mult: ex.mul,
    ast.FloorDiv: ex.floordiv,
    ast.Mod: ex.mod,
    ast.BitAnd: ex.and_,
    ast.BitOr: ex.or_,
}
_COMPARE = {ast.Lt: Op.LT, ast.LtE: Op.LE, ast.Gt: Op.GT, ast.GtE: Op.GE, ast.Eq: Op.EQ, ast.NotEq: Op.NE}
FUNCTIONS: Functions = {
    "abs": (1, ex.absolute),
    "min": (2, ex.minimum),
    "max": (2, ex.maximum),
    "where": (3, ex.where),
    "float": (1, real.of_integer),
    "random": (1 + real.COUNTERS, real.random),
}
_REAL = {ast.Add: real.add, ast.Sub: real.sub, ast.Mult: real.mul}
_OF_REALS: Functions = {
    "abs": (1, real.absolute),
    "min": (2, real.minimum),
    "max": (2, real.maximum),
    "exp": (1, real.exp),
    "log": (1, real.log),
    "tanh": (1, real.tanh),
    "sigmoid": (1, real.sigmoid),
    "sqrt": (1, real.sqrt),
}


class Reader:
    """Reads one expression. `names` are in scope; `patterns` have a meaning of their own, such as `causal`."""

    functions: ClassVar[Functions] = FUNCTIONS

    def __init__(
        self,
        text: str,
        names: Names,
        patterns: Mapping[str, Callable[..., Expr]] | None = None,
        spaces: Mapping[str, Space] | None = None,
        coordinates: Mapping[str, Expr] | None = None,
    ) -> None:
        self.text, self.names, self.patterns = " ".join(text.split()), names, patterns or {}
        self.spaces, self.coordinates = spaces or {}, coordinates or {}
        self.done: dict[ast.expr, Expr] = {}

    @property
    def of_score(self) -> bool:
        """Whether a score is read, which computes with real numbers; a mask compares integers."""
        return self.names.get("s") is real.SCORE

    def fail(self, where: ast.expr, problem: str) -> TextError:
        start, stop = (len(self.text.encode()[:at].decode()) for at in (where.col_offset, where.end_col_offset or 0))
        return self.point(start, stop, problem)

    def point(self, start: int, stop: int, problem: str) -> TextError:
        return TextError(f"{problem}\n  {self.text}\n  {' ' * start}{'^' * max(1, stop - start)}")

    def read(self) -> Expr:
        try:
            return self.expr(ast.parse(self.text, mode="eval").body)
        except SyntaxError as error:
            start = error.offset - 1 if error.offset else len(self.text)  # Python says 0 where the text ends too early
            raise self.point(start, start + 1, f"not an expression: {error.msg}") from None
        except (RecursionError, MemoryError):
            raise TextError(f"not an expression: nested too deeply: {self.text[:60]}...") from None
        except ValueError as error:
            if isinstance(error, TextError):
                raise
            raise TextError(f"not an expression: {self.text[:60]!r} ({error})") from None

    def expr(self, n: ast.expr) -> Expr:
        """What a node says; each is read once."""
        if n not in self.done:
            self.done[n] = self._checked(n)
        return self.done[n]

    def _checked(self, n: ast.expr) -> Expr:
        e = self._expr(n)
        if e.op is Op.CONST and abs(e.const) > CONSTANT_LIMIT:
            raise self.fail(n, "an integer this large is not taken")
        return e

    def _expr(self, n: ast.expr) -> Expr:
        match n:
            case ast.Constant(value=bool() | int() as value):
                return ex.wrap(value)
            case ast.Constant(value=float() as value):
                if not value <= REAL_LIMIT:
                    raise self.fail(n, "a constant is finite and at most 1e12; to hide pairs, use a mask")
                return real.real(value)
            case ast.Name(id=name):
                found = self.names.get(name)
                if isinstance(found, Expr):
                    return found
                if name in self.patterns and found is None:
                    return self.call(n, name, [])
                known = ", ".join(sorted({*self.names, *self.patterns}))
                raise self.fail(n, f"unknown name `{name}`; known: {known}; declare one first: {name} = param(); ...")
            case ast.UnaryOp(op=ast.USub(), operand=a):
                return real.neg(e) if (e := self.expr(a)).is_real else ex.neg(self.integer(a))
            case ast.UnaryOp(op=ast.Invert(), operand=a):
                return ex.not_(self.condition(a))
            case ast.BinOp(op=ast.FloorDiv() | ast.Mod() as op, left=a, right=b):
                return _BINARY[type(op)](self.integer(a), self.divisor(b))
            case ast.BinOp(op=op, left=a, right=b) if type(op) in _BINARY:
                if type(op) in _REAL and (self.expr(a).is_real or self.expr(b).is_real):
                    return _REAL[type(op)](self.number(a), self.number(b))
                kind = self.condition if isinstance(op, ast.BitAnd | ast.BitOr) else self.integer
                return _BINARY[type(op)](kind(a), kind(b))
            case ast.BinOp(op=ast.Div(), left=a, right=b) if self.of_score:
                return self.ratio(a, b)
            case ast.Compare(left=a, ops=[op], comparators=[b]) if type(op) in _COMPARE:
                if self.of_score and (self.expr(a).is_real or self.expr(b).is_real):
                    return real.compare(_COMPARE[type(op)], self.number(a), self.number(b))
                return ex.compare(_COMPARE[type(op)], self.integer(a), self.integer(b))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                return self.call(n, name, args)
            case ast.Subscript(value=ast.Name(id=name), slice=at) if isinstance(self.names.get(name), TensorDecl):
                return self.entry(n, name, at.elts if isinstance(at, ast.Tuple) else [at])
            case ast.Attribute(value=ast.Name(id=token), attr=name) if f"{token}.{name}" in self.coordinates:
                return self.coordinates[f"{token}.{name}"]
            case ast.Attribute(value=ast.Name(id=token), attr=name) if token in self.spaces:
                return self.coordinate(n, token, name)
        if isinstance(n, ast.BoolOp | ast.Compare) or (isinstance(n, ast.UnaryOp) and isinstance(n.op, ast.Not)):
            rule = "not part of the language; conditions are combined with `&`, `|`, `~`, one comparison each"
            raise self.fail(n, f"{rule}: (0 <= q - k) & (q - k < 4)")
        if isinstance(n, ast.Subscript) and isinstance(n.value, ast.Name) and n.value.id not in self.names:
            name = n.value.id
            raise self.fail(n, f"`{name}` is not declared; before the condition: {name} = tensor(h, dtype=float);")
        raise self.fail(n, "not part of the language; it has + - * // % & | ~, comparisons, abs, min, max, where")

    def integer(self, n: ast.expr) -> Expr:
        e = self.expr(n)
        if e.is_bool:
            raise self.fail(n, f"an integer is needed here, not the condition `{e}`")
        if e.is_real:
            raise self.fail(n, f"an integer is needed here, not the real number `{e}`")
        return e

    def number(self, n: ast.expr) -> Expr:
        """An integer or a real number."""
        e = self.expr(n)
        return e if e.is_real else self.integer(n)

    def ratio(self, a: ast.expr, b: ast.expr) -> Expr:
        """a / b, a real number."""
        divisor = self.number(b)
        if divisor.op in (Op.CONST, Op.REAL) and divisor.value == 0:
            raise self.fail(b, "the divisor is zero")
        return real.div(self.number(a), divisor)

    def alike(self, a: ast.expr, b: ast.expr) -> tuple[Expr, Expr]:
        """Two conditions, or two integers."""
        take = self.condition if self.expr(a).is_bool and self.expr(b).is_bool else self.integer
        return take(a), take(b)

    def divisor(self, n: ast.expr) -> Expr:
        e = self.integer(n)
        if problem := divisor_problem(e, "{} = param(low=1)", "max({}, 1)"):
            raise self.fail(n, problem)
        return e

    def condition(self, n: ast.expr) -> Expr:
        e = self.expr(n)
        if not e.is_bool:
            raise self.fail(n, f"a condition is needed here, not the integer `{e}`; compare it, in parentheses")
        return e

    def call(self, n: ast.expr, name: str, args: list[ast.expr]) -> Expr:
        declared = self.names.get(name)
        if isinstance(declared, FieldDecl):
            if len(args) == 1 and (position := self.position(args[0])) is not None:
                return ex.field(declared, position)
            raise self.fail(n, f"the field `{name}` is read at a token: {name}(q) or {name}(k)")
        if isinstance(declared, SelectionDecl):
            if len(args) == 2:
                return ex.rank(declared, self.integer(args[0]), self.integer(args[1]))
            raise self.fail(n, f"the selection `{name}` takes a list and a member: {name}(q // 64, k // 64)")
        if name in self.patterns:
            return self.pattern(n, name, [self.integer(a) for a in args])
        reals = name in _OF_REALS and (name not in self.functions or any(self.expr(a).is_real for a in args))
        functions, take = (_OF_REALS, self.number) if reals else (self.functions, self.integer)
        if name not in functions:
            near = get_close_matches(name, [*functions, *self.patterns], n=3) if len(args) > 1 else []
            ways = f"near it: {', '.join(near)}" if near else f"declare a field first: {name} = field(); ..."
            raise self.fail(n, f"unknown name `{name}`; {ways}")
        count, make = functions[name]
        if name in ("min", "max") and len(args) > 2:
            return reduce(make, map(take, args))
        if name == "random" and 1 < len(args) < count:
            return make(*map(take, args))
        if len(args) != count:
            raise self.fail(n, f"{name} takes {count} argument{'s' * (count > 1)}, {len(args)} given")
        if name == "where" and any(self.expr(a).is_real for a in args[1:]):
            return real.where(self.condition(args[0]), self.number(args[1]), self.number(args[2]))
        if name == "where":
            return make(self.condition(args[0]), *self.alike(args[1], args[2]))
        return make(*map(take, args))

    def entry(self, n: ast.expr, name: str, at: list[ast.expr]) -> Expr:
        """`kv_len[b]`, of a tensor that is declared over b; `bias[h, q - k]` of a real one."""
        declared = self.names.get(name)
        if isinstance(declared, TensorDecl) and declared.real:
            if len(at) != len(declared.axes):
                raise self.fail(n, f"`{name}` has {len(declared.axes)} axes, {len(at)} integers given")
            return ex.read(declared, map(self.integer, at))
        given = tuple(a.id for a in at if isinstance(a, ast.Name))
        if isinstance(declared, TensorDecl) and given == declared.axes and len(at) == len(given):
            return ex.entry(declared)
        raise self.fail(n, f"`{name}` is read as it is declared: {name} = tensor(b); ... {name}[b]")

    def coordinate(self, n: ast.expr, token: str, name: str) -> Expr:
        """`q.y`, on the grid that is declared for the queries."""
        found = self.spaces[token].coordinates(ex.TOKENS[token])
        if name not in found:
            raise self.fail(n, f"`{token}` has no coordinate `{name}`; it has {', '.join(found)}")
        return found[name]

    def position(self, n: ast.expr) -> Expr | None:
        """The token, or the end of a tile, that a name says."""
        found = self.names.get(n.id) if isinstance(n, ast.Name) else None
        return found if isinstance(found, Expr) and found in ex.SIDES else None

    def pattern(self, n: ast.expr, name: str, args: list[Expr]) -> Expr:
        try:
            return self.patterns[name](*args)
        except TypeError:
            raise self.fail(n, f"{name} does not take {len(args)} argument{'s' * (len(args) != 1)}") from None
        except AttnirError as error:
            raise self.fail(n, str(error).partition("\n  at ")[0]) from None  # the text has no line to name
