"""Text of expressions, patterns and tile programs: printed so that it reads back to the equal node.

A pattern's text is its declarations and its predicate, separated by semicolons:

>>> from attnir.text import format_predicate, read_predicate
>>> p = read_predicate("doc = field(sorted=True); (k <= q) & (doc(q) == doc(k))")
>>> format_predicate(p)
'doc = field(sorted=True); (k <= q) & (doc(q) == doc(k))'
>>> read_predicate(format_predicate(p)) is p
True
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from functools import reduce

from attnir import expr as ex
from attnir.bounds import bounds
from attnir.errors import AttnirError, TextError
from attnir.expr import CONSTANT_LIMIT, PARAM_LIMIT, Expr, FieldDecl, Op, ParamDecl, Searched, fields_of, params_of
from attnir.limits import name_problem, predicate_problem, range_problem
from attnir.program import KEYS, QUERIES, Listed, Status, Sweep, TileProgram

# How tightly an operator binds, as in Python: comparisons are looser than `|` and `&`.
_BINDING = {op: 1 for op in ex.COMPARISONS} | {Op.OR: 2, Op.AND: 3, Op.ADD: 4, Op.SUB: 4}
_BINDING |= {Op.MUL: 5, Op.FLOORDIV: 5, Op.MOD: 5, Op.NEG: 6, Op.NOT: 6}
_PREFIX = {Op.NEG: "-", Op.NOT: "~"}
_CALLS = frozenset({Op.ABS, Op.MIN, Op.MAX, Op.WHERE, Op.ROWMIN, Op.ROWMAX})
_TIGHTEST = 7


def format_expr(e: Expr) -> str:
    """The expression as Python; shared nodes are printed as often as they are used."""
    return _format(e, 0)


def _format(e: Expr, around: int) -> str:
    match e.value:
        case FieldDecl(name=name):
            return f"{name}({_format(e.args[0], 0)})"
        case ParamDecl(name=name):
            return name
        case Searched(field=decl, side=side):
            return f"{e.op.value}({decl.name}({side}), {_format(e.args[0], 0)}, {_format(e.args[1], 0)})"
    if e.op in (Op.CONST, Op.BOOL, Op.SYM):
        text = str(e.value)
        return f"({text})" if around >= _BINDING[Op.NEG] and text.startswith("-") else text
    if e.op in _CALLS:
        return f"{e.op.value}({', '.join(_format(a, 0) for a in _flat(e))})"
    binding = _BINDING[e.op]
    if e.op in _PREFIX:
        text = _PREFIX[e.op] + _format(e.args[0], binding)
    else:
        # A comparison does not chain, and the right argument of `-`, `//`, `%` does not regroup.
        left = binding + 1 if e.op in ex.COMPARISONS else binding
        text = f"{_format(e.args[0], left)} {e.op.value} {_format(e.args[1], binding + 1)}"
    return f"({text})" if binding < around else text


def _flat(e: Expr) -> list[Expr]:
    """The arguments of a call; min(min(a, b), c) is written min(a, b, c)."""
    if e.op in (Op.MIN, Op.MAX) and e.args[0].op is e.op:
        return [*_flat(e.args[0]), e.args[1]]
    return list(e.args)


def _declarations(*roots: Expr) -> list[str]:
    lines = [f"{f.name} = field({'sorted=True' if f.sorted else ''})" for f in fields_of(*roots)]
    for p in params_of(*roots):
        limits = {"low": (p.low, -PARAM_LIMIT), "high": (p.high, PARAM_LIMIT)}
        given = ", ".join(f"{name}={value}" for name, (value, default) in limits.items() if value != default)
        lines.append(f"{p.name} = param({given})")
    return lines


def format_predicate(e: Expr) -> str:
    """Declarations and predicate in one line."""
    return "; ".join([*_declarations(e), format_expr(e)])


def format_program(program: TileProgram) -> str:
    """One line per declaration, scalar and sweep."""
    rows, columns = program.rows.side, program.columns.side
    lines = _declarations(*program.expressions())
    lines.append(f"tiles of {program.tile[0]} {rows} by {program.tile[1]} {columns}")
    lines += [f"let {name} = {format_expr(value)}" for name, value in program.lets]
    for v in program.visits:
        span = f" in [{format_expr(v.start)}, {format_expr(v.stop)})" if isinstance(v, Sweep) else " listed"
        lines.append(f"sweep {columns} tiles{span} {v.status.value}")
    lines.append(f"where {format_expr(program.predicate)}")
    if program.reason:
        lines.append(f"because {program.reason}")
    return "\n".join(lines)


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
_FUNCTIONS: dict[str, tuple[int, Callable[..., Expr]]] = {
    "abs": (1, ex.absolute),
    "min": (2, ex.minimum),
    "max": (2, ex.maximum),
    "where": (3, ex.where),
    "rowmin": (1, lambda a: ex.build(Op.ROWMIN, (a,))),
    "rowmax": (1, lambda a: ex.build(Op.ROWMAX, (a,))),
}
_TABLES = {op.value: op for op in ex.TABLES}
_ONLY_IN_PROGRAMS = {"rowmin", "rowmax", *_TABLES}


class _Reader:
    """Reads one expression; `names` are the symbols and declarations in scope."""

    def __init__(self, text: str, names: Mapping[str, Expr | FieldDecl], patterns: Mapping[str, Callable[..., Expr]]):
        self.text, self.names, self.patterns = " ".join(text.split()), names, patterns

    def fail(self, where: ast.expr, problem: str) -> TextError:
        start, stop = (len(self.text.encode()[:at].decode()) for at in (where.col_offset, where.end_col_offset or 0))
        return self.point(start, stop, problem)

    def point(self, start: int, stop: int, problem: str) -> TextError:
        return TextError(f"{problem}\n  {self.text}\n  {' ' * start}{'^' * max(1, stop - start)}")

    def read(self) -> Expr:
        try:
            return self.expr(ast.parse(self.text, mode="eval").body)
        except SyntaxError as error:
            start = max(1, error.offset or 1) - 1
            raise self.point(start, start + 1, f"not an expression: {error.msg}") from None
        except (RecursionError, MemoryError):
            raise TextError(f"not an expression: nested too deeply: {self.text[:60]}...") from None
        except ValueError as error:
            if isinstance(error, TextError):
                raise
            raise TextError(f"not an expression: {self.text[:60]!r} ({error})") from None

    def expr(self, n: ast.expr) -> Expr:
        e = self._expr(n)
        if e.op is Op.CONST and abs(e.const) > CONSTANT_LIMIT:
            raise self.fail(n, "an integer this large is not taken")
        return e

    def _expr(self, n: ast.expr) -> Expr:
        match n:
            case ast.Constant(value=bool() | int() as value):
                return ex.wrap(value)
            case ast.Name(id=name):
                found = self.names.get(name)
                if isinstance(found, Expr):
                    return found
                if name in self.patterns and found is None:
                    return self.call(n, name, [])
                raise self.fail(n, f"unknown name `{name}`; known: {', '.join(sorted({*self.names, *self.patterns}))}")
            case ast.UnaryOp(op=ast.USub(), operand=a):
                return ex.neg(self.integer(a))
            case ast.UnaryOp(op=ast.Invert(), operand=a):
                return ex.not_(self.condition(a))
            case ast.BinOp(op=ast.FloorDiv() | ast.Mod() as op, left=a, right=b):
                return _BINARY[type(op)](self.integer(a), self.divisor(b))
            case ast.BinOp(op=op, left=a, right=b) if type(op) in _BINARY:
                kind = self.condition if isinstance(op, ast.BitAnd | ast.BitOr) else self.integer
                return _BINARY[type(op)](kind(a), kind(b))
            case ast.Compare(left=a, ops=[op], comparators=[b]) if type(op) in _COMPARE:
                return ex.compare(_COMPARE[type(op)], self.integer(a), self.integer(b))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                return self.call(n, name, args)
        raise self.fail(n, "not part of the language; it has + - * // % & | ~, comparisons, abs, min, max, where")

    def integer(self, n: ast.expr) -> Expr:
        e = self.expr(n)
        if e.is_bool:
            raise self.fail(n, f"an integer is needed here, not the condition `{e}`")
        return e

    def divisor(self, n: ast.expr) -> Expr:
        e = self.integer(n)
        if bounds(e).low <= 0 <= bounds(e).high:
            raise self.fail(n, f"the divisor `{e}` can be zero; give a parameter a range: w = param(low=1)")
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
        if name in self.patterns:
            return self.pattern(n, name, [self.integer(a) for a in args])
        if name in _TABLES and self.in_program:
            return self.bound(n, name, args)
        if name not in _FUNCTIONS or (name in _ONLY_IN_PROGRAMS and not self.in_program):
            raise self.fail(n, f"unknown name `{name}`; declare a field first: {name} = field(); ...")
        if name in ("min", "max") and len(args) > 2:
            return reduce(_FUNCTIONS[name][1], (self.integer(a) for a in args))
        count, make = _FUNCTIONS[name]
        if len(args) != count:
            raise self.fail(n, f"{name} takes {count} argument{'s' * (count > 1)}, {len(args)} given")
        if name == "where":
            return make(self.condition(args[0]), self.integer(args[1]), self.integer(args[2]))
        return make(*(self.integer(a) for a in args))

    def position(self, n: ast.expr) -> Expr | None:
        """The token, or the end of a tile, that a name says."""
        found = self.names.get(n.id) if isinstance(n, ast.Name) else None
        return found if isinstance(found, Expr) and found in ex.SIDES else None

    @property
    def in_program(self) -> bool:
        return "q_start" in self.names

    def pattern(self, n: ast.expr, name: str, args: list[Expr]) -> Expr:
        try:
            return self.patterns[name](*args)
        except TypeError:
            raise self.fail(n, f"{name} does not take {len(args)} argument{'s' * (len(args) != 1)}") from None
        except AttnirError as error:
            raise self.fail(n, str(error)) from None

    def bound(self, n: ast.expr, name: str, args: list[ast.expr]) -> Expr:
        match args:
            case [ast.Call(func=ast.Name(id=f), args=[ast.Name(id="q" | "k" as axis)], keywords=[]), value, at] if (
                isinstance(decl := self.names.get(f), FieldDecl) and decl.sorted
            ):
                row, side = self.position(at), ex.Side(axis)
                if row is not None and ex.side_of(row) is side.other:
                    return ex.row_table(_TABLES[name], Searched(decl, side), self.integer(value), row)
        raise self.fail(n, f"{name} takes a sorted field, a bound and a row: {name}(doc(k), doc(q), q0)")


def _read_declaration(text: str) -> tuple[str, Expr | FieldDecl] | None:
    """`doc = field(sorted=True)` or `w = param(low=1)`; None for anything else."""
    try:
        match ast.parse(text.strip()).body:
            case [
                ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id=kind), args=[], keywords=kw))
            ]:
                given = {str(word.arg): ast.literal_eval(word.value) for word in kw}
                return name, _declared(name, kind, given)
    except SyntaxError:
        return None
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        raise TextError(f"not a declaration: {text.strip()!r} ({error})") from None
    return None


def _declared(name: str, kind: str, given: dict[str, object]) -> Expr | FieldDecl:
    """What `name = kind(**given)` declares."""
    if problem := name_problem(name):
        raise ValueError(problem)
    match kind, given:
        case "field", _ if given.keys() <= {"sorted"} and isinstance(given.get("sorted", False), bool):
            return FieldDecl(name, **given)  # type: ignore[arg-type]  # checked in the line above
        case "param", _ if given.keys() <= {"low", "high"}:
            decl = ParamDecl(name, **given)  # type: ignore[arg-type]  # checked in the next line
            if problem := range_problem(name, decl.low, decl.high):
                raise ValueError(problem)
            return ex.param(decl)
    raise ValueError("expected field(), field(sorted=True) or param(), param(low=..., high=...)")


def read_predicate(text: str, patterns: Mapping[str, Callable[..., Expr]] | None = None) -> Expr:
    """The predicate that `text` says. `patterns` are names with a meaning of their own, such as `causal`."""
    *declarations, body = text.split(";")
    names: dict[str, Expr | FieldDecl] = dict(ex.TOKENS)
    for part in declarations:
        if not _declare(part, names):
            raise TextError(f"expected `name = field()` or `name = param()` before the last `;`, not {part.strip()!r}")
    e = _Reader(body, names, patterns or {}).read()
    if problem := predicate_problem(e):
        raise TextError(problem)
    if not e.is_bool:
        raise TextError(f"a mask is a condition; `{e}` is an integer")
    return e


def _declare(text: str, names: dict[str, Expr | FieldDecl]) -> bool:
    """Add a declaration to the names; False when the text is none."""
    found = _read_declaration(text)
    if found is None:
        return False
    name, declared = found
    if name in names:
        raise TextError(f"`{name}` is declared twice")
    names[name] = declared
    return True


def read_program(text: str) -> TileProgram:
    """The tile program that `format_program` printed."""
    names: dict[str, Expr | FieldDecl] = dict(ex.TOKENS | ex.SIZES)
    tile, rows, columns = (0, 0), QUERIES, KEYS
    lets: list[tuple[str, Expr]] = []
    visits: list[Sweep | Listed] = []
    predicate, reason = ex.TRUE, ""
    for line in text.splitlines():
        match line.split():
            case ["tiles", "of", m, "q" | "k" as row, "by", n, "q" | "k" as column] if row != column:
                tile = _whole(m, line), _whole(n, line)
                rows, columns = (QUERIES, KEYS) if row == "q" else (KEYS, QUERIES)
                names |= {str(e.value): e for e in (rows.first, rows.last)}
            case ["let", name, "=", *_] if name.isidentifier():
                lets.append((name, _Reader(line.split("=", 1)[1], names, {}).read()))
                names[name] = ex.sym(name)
            case ["sweep", "q" | "k", "tiles", "listed", "full" | "partial" as status]:
                visits.append(Listed(Status(status)))
            case ["sweep", "q" | "k", "tiles", "in", *_, "full" | "partial" as status] if line.count("["):
                start, stop = (_Reader(t, names, {}).read() for t in _split_pair(line))
                visits.append(Sweep(start, stop, Status(status)))
            case ["where", _, *_]:
                predicate = _Reader(line.split(None, 1)[1], names, {}).read()
            case ["because", _, *_]:
                reason = line.split(None, 1)[1]
            case _:
                if not _declare(line, names):
                    raise TextError(f"not a line of a tile program: {line!r}")
    program = TileProgram(rows, columns, tile, predicate, tuple(lets), tuple(visits), reason)
    program.verify()
    return program


def _whole(text: str, line: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise TextError(f"a tile has a whole number of tokens, not {text!r}: {line!r}")
    return int(text)


def _split_pair(line: str) -> tuple[str, str]:
    """The two expressions of `[a, b)` in a line; commas may stand inside their parentheses."""
    source = f"({line[line.index('[') + 1 : line.rfind(')')]})"
    try:
        match ast.parse(source, mode="eval").body:
            case ast.Tuple(elts=[first, second]):
                return ast.get_source_segment(source, first) or "", ast.get_source_segment(source, second) or ""
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    raise TextError(f"a sweep has a start and a stop, [a, b): {line!r}")
