"""Reading tile programs: the text that `TileProgram` prints, line by line."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from typing import ClassVar

from attnir import expr as ex
from attnir import real
from attnir.axes import SEQUENCES, Axis, Layout, sequence
from attnir.declaring import Names, declare
from attnir.errors import TextError
from attnir.expr import Expr
from attnir.labels import FACTS
from attnir.linear import Linear, linear
from attnir.ops import TABLES, Coordinate, FieldDecl, Of, Op, ParamDecl, Searched, Side
from attnir.pattern_text import read_weights
from attnir.program import Listed, Status, Sweep, TileProgram
from attnir.reading import FUNCTIONS, Functions, Reader
from attnir.terms import LEAVES, Term

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
    return _Lines().read(text)


class _Lines:
    """What the lines of a program have said so far."""

    def __init__(self) -> None:
        self.names: Names = dict(ex.TOKENS | ex.SIZES)
        self.coordinates: dict[str, Expr] = {}
        self.sides = (Side.QUERIES, Side.KEYS)
        self.tile = (0, 0)
        self.laid: dict[Side, tuple[str, list[tuple[Coordinate, str, int]]]] = {}  # the position, and the axes
        self.lets: list[tuple[str, Expr]] = []
        self.visits: list[Sweep | Listed] = []
        self.predicate: Expr = ex.TRUE
        self.among: Expr = ex.TRUE
        self.score: Expr = real.SCORE
        self.weights: str | None = None
        self.factor: str | None = None
        self.label: Expr | None = None
        self.terms: list[Term] = []
        self.reason = ""

    def read(self, text: str) -> TileProgram:
        for line in text.splitlines():
            self.line(line)
        rows, columns = (self.layout(side, n) for side, n in zip(self.sides, self.tile, strict=True))
        rows = replace(rows, among=self.among)
        visits = tuple(self.visits)
        names: Names = {**self.names, "s": real.SCORE}
        weights = read_weights(self.weights, self.factor, names, coordinates=self.coordinates)
        program = TileProgram(
            rows,
            columns,
            self.predicate,
            tuple(self.lets),
            visits,
            self.reason,
            self.score,
            self.label,
            weights,
            tuple(self.terms),
        )
        program.verify()
        return program

    def line(self, line: str) -> None:
        match line.split():
            case [_, "=", *_]:  # first, as what is declared may be called `rows`
                self.declaration(line)
            case ["tiles", "of", m, "q" | "k" as row, "by", n, "q" | "k" as column] if row != column:
                self.tile, self.sides = (_whole(m, line), _whole(n, line)), (Side(row), Side(column))
                first = SEQUENCES[self.sides[0]]
                self.names |= {str(e.value): e for e in (first.first, first.last)}
            case ["order", "by", _, *_]:
                self.label = Reader(line.split(None, 2)[2], self.names).read()
                self.names |= {d.name: d for d in FACTS}
            case ["lay", "q" | "k" as side, "=", *_]:
                self.laid[Side(side)] = (line.split("=", 1)[1], [])
            case ["rows", _, *_]:
                self.among = Reader(line.split(None, 1)[1], self.names).read()
            case ["axis", token, *_, "by", n] if "[" in line and any(self.laid):
                self.axis(line, token, n)
            case ["let", name, "=", *_] if name.isidentifier():
                self.lets.append((name, self.scalar(line.split("=", 1)[1])))
                self.names[name] = ex.sym(name)
            case ["sweep", "q" | "k", "tiles", "listed", "full" | "partial" as status]:
                self.visits.append(Listed(Status(status)))
            case ["sweep", "q" | "k", "tiles", "in", *_, "full" | "partial" as status] if line.count("["):
                pairs = [tuple(map(self.scalar, _split_pair(part, line))) for part in _spans(line)]
                starts, stops = zip(*pairs, strict=True)
                self.visits.append(Sweep(starts, stops, Status(status)))
            case ["where", _, *_]:
                self.predicate = Reader(line.split(None, 1)[1], self.names, coordinates=self.coordinates).read()
            case ["score", _, *_]:
                self.score = self.real(line, {})
            case ["weights", _, *_]:
                self.weights = line.split(None, 1)[1]
            case ["factor", _, *_]:
                self.factor = line.split(None, 1)[1]
            case ["sum" | "count" as kind, _, *_]:
                self.terms.append(Term(real.of_integer(self.real(line, LEAVES)), kind == "count"))
            case ["because", _, *_]:
                self.reason = line.split(None, 1)[1]
            case _:
                self.declaration(line)

    def declaration(self, line: str) -> None:
        if not declare(line, self.names):
            raise TextError(f"not a line of a tile program: {line!r}")

    def scalar(self, text: str) -> Expr:
        return _ScalarReader(text, self.names, coordinates=self.coordinates).read()

    def real(self, line: str, leaves: dict[str, Expr]) -> Expr:
        """What a score or a term is."""
        names = {**self.names, "s": real.SCORE, **leaves}
        return Reader(line.split(None, 1)[1], names, coordinates=self.coordinates).read()

    def axis(self, line: str, token: str, extent: str) -> None:
        """`axis q.slot < 8 in [a, b) by 64`: its coordinates are known from here on."""
        found = re.fullmatch(r"axis (q|k)(0?)\.(\w+)(?: < (\w+))? in (\[.*\)) by \d+", line.strip())
        if found is None:
            raise TextError(f"not an axis: {line!r}; expected: axis q.slot in [0, 8) by 64")
        side, first, name, size, span = found.groups()
        bound = self.names.get(size or "")
        limit = int(size) if size and size.isdecimal() else bound.value if isinstance(bound, Expr) else None
        if size and not isinstance(limit, int | ParamDecl):
            raise TextError(f"`{size}` is no size of an axis: {line!r}")
        scalar = Coordinate(Side(side), name, Of.FIRST, limit if isinstance(limit, int | ParamDecl) else None)
        axis = scalar if first else replace(scalar, of=Of.TOKEN)
        for of in Of.TOKEN, Of.FIRST, Of.LAST:
            if not first or of is Of.FIRST:
                self.coordinates[str(replace(axis, of=of))] = ex.coordinate(replace(axis, of=of))
        if Side(side) not in self.laid:
            raise TextError(f"an axis of what is not laid out: {line!r}")
        self.laid[Side(side)][1].append((axis, span, _whole(extent, line)))

    def layout(self, side: Side, tile: int) -> Layout:
        if side not in self.laid:
            return sequence(side, tile)
        position, given = self.laid[side]
        form = linear(self.scalar(position))
        axes = []
        for coordinate, span, _ in given:
            token = ex.coordinate(coordinate)
            start, stop = map(self.scalar, _split_pair(span, span))
            step, form = _coefficient(form, token)
            first, last = (
                (token, token)
                if coordinate.of is Of.FIRST
                else (ex.coordinate(replace(coordinate, of=of)) for of in (Of.FIRST, Of.LAST))
            )
            axes.append(Axis(token, start, stop, first, last, step))
        return Layout(tuple(axes), tuple(n for *_, n in given), form.expr())


def _coefficient(form: Linear, token: Expr) -> tuple[Expr, Linear]:
    """(step, rest) of a form that holds step * token, for a constant step or one of parameters."""
    for atom, c in form.terms:
        if atom is token:
            return ex.const(c), form.without(atom)
        if atom.op is Op.MUL and atom.args[1] is token:
            return atom.args[0] * c, form.without(atom)
    raise TextError(f"the coordinate {token} does not stand in its position")


def _whole(text: str, line: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise TextError(f"a tile has a whole number of tokens, not {text!r}: {line!r}")
    return int(text)


def _spans(line: str) -> list[str]:
    """The texts `[a, b)` of a line, which ` x ` separates."""
    start, stop = line.find("["), line.rfind(")")
    if stop < start:
        raise TextError(f"a sweep has a start and a stop along each axis, [a, b): {line!r}")
    return line[start : stop + 1].split(" x ")


def _split_pair(span: str, line: str) -> tuple[str, str]:
    """The two expressions of `[a, b)`; commas may stand inside their parentheses."""
    source = f"({span.strip()[1:-1]})"
    try:
        match ast.parse(source, mode="eval").body:
            case ast.Tuple(elts=[first, second]):
                return ast.get_source_segment(source, first) or "", ast.get_source_segment(source, second) or ""
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    raise TextError(f"a sweep has a start and a stop, [a, b): {line!r}")
