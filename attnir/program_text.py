"""Reading tile programs: the text that `TileProgram` prints, line by line."""

from __future__ import annotations

import ast
from typing import ClassVar

from attnir import expr as ex
from attnir.errors import TextError
from attnir.expr import Expr
from attnir.ops import TABLES, FieldDecl, Op, Searched, Side
from attnir.program import KEYS, QUERIES, Listed, Status, Sweep, TileProgram
from attnir.reading import FUNCTIONS, Functions, Names, Reader, declare

_TABLES = {op.value: op for op in TABLES}


class _ScalarReader(Reader):
    """Reads a scalar of a program, which may reduce over the rows of the tile and read row tables."""

    functions: ClassVar[Functions] = {
        **FUNCTIONS,
        "rowmin": (1, lambda a: ex.build(Op.ROWMIN, (a,))),
        "rowmax": (1, lambda a: ex.build(Op.ROWMAX, (a,))),
    }

    def call(self, n: ast.expr, name: str, args: list[ast.expr]) -> Expr:
        return self.bound(n, name, args) if name in _TABLES else super().call(n, name, args)

    def bound(self, n: ast.expr, name: str, args: list[ast.expr]) -> Expr:
        match args:
            case [ast.Call(func=ast.Name(id=f), args=[ast.Name(id="q" | "k" as axis)], keywords=[]), value, at] if (
                isinstance(decl := self.names.get(f), FieldDecl) and decl.sorted
            ):
                row, side = self.position(at), Side(axis)
                if row is not None and ex.side_of(row) is side.other:
                    return ex.row_table(_TABLES[name], Searched(decl, side), self.integer(value), row)
        raise self.fail(n, f"{name} takes a sorted field, a bound and a row: {name}(doc(k), doc(q), q0)")


def read_program(text: str) -> TileProgram:
    """The tile program that `str(program)` is the text of."""
    names: Names = dict(ex.TOKENS | ex.SIZES)
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
                lets.append((name, _ScalarReader(line.split("=", 1)[1], names).read()))
                names[name] = ex.sym(name)
            case ["sweep", "q" | "k", "tiles", "listed", "full" | "partial" as status]:
                visits.append(Listed(Status(status)))
            case ["sweep", "q" | "k", "tiles", "in", *_, "full" | "partial" as status] if line.count("["):
                start, stop = (_ScalarReader(t, names).read() for t in _split_pair(line))
                visits.append(Sweep(start, stop, Status(status)))
            case ["where", _, *_]:
                predicate = Reader(line.split(None, 1)[1], names).read()
            case ["because", _, *_]:
                reason = line.split(None, 1)[1]
            case _:
                if not declare(line, names):
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
