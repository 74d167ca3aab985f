"""Tile programs: where the live pairs are, as loops over tiles.

A program walks the score matrix by tiles. The *rows* are cut into tiles, one kernel instance each; every instance
visits some tiles of the *columns*. The forward has query rows and key columns; the transposed program, for dK and dV,
has key rows and query columns. How each side is cut into tiles its layout says (`axes.py`).

Scalars that a program may read: `q0`, `q1` (first and last query position of the row tile; `k0`, `k1` when the rows are
keys; `q0.y`, `q1.y` in a layout), `q_start` (the first query's position), `q_len`, `k_len`, `b`, `h`, parameters, and
what earlier `let`s defined. Sweeps never overlap: every live pair is in exactly one visited tile.

A kernel runs one program or several, over the same tiles of rows: their predicates exclude each other, and what they
compute is added up, in one softmax.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from attnir.axes import SEQUENCES, Layout
from attnir.errors import InvalidProgram
from attnir.expr import SIZES, SYMBOLS, TOKENS, TRUE, B, Expr, H, row_table, sym
from attnir.ops import TABLES, Op, Searched, Side
from attnir.printing import declarations
from attnir.real import SCORE
from attnir.terms import Term
from attnir.traverse import nodes, reads
from attnir.weighing import SOFTMAX, Weights


class Status(Enum):
    """What is known of a tile: every pair live, or some perhaps."""

    FULL = "full"
    PARTIAL = "partial"

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Sweep:
    """A box of column tiles, `[start, stop)` along each axis, visited in order; empty where stop <= start.

    Tile 0 of an axis begins at its start. In a FULL sweep every pair of every tile is live and inside the column axes.
    In a PARTIAL sweep the program's predicate and the ends of the column axes decide.
    """

    start: tuple[Expr, ...]  # index of the first column tile along each axis
    stop: tuple[Expr, ...]  # one past the last
    status: Status


@dataclass(frozen=True, slots=True)
class Listed:
    """The column tiles of one status that a block list names for this row tile, in ascending order."""

    status: Status


@dataclass(frozen=True, slots=True)
class TileProgram:
    """Which column tiles each row tile visits.

    rows, columns   the layouts: of queries and keys, or of keys and queries in the transposed program
    predicate       which pairs are live, over the coordinates of the layouts (q and k in runs of tokens), b, h, fields,
                    tensors and parameters; what a PARTIAL tile checks
    lets            scalars of a row tile, in the order of their definition: (name, value)
    visits          the sweeps, or the block lists, in the order of visiting
    reason          why this way of finding the live tiles was taken, for `explain`
    score           what becomes of the score `s` of a live pair, in every tile; over the same as the predicate
    weights         what a pair's weight is, over the same
    label           tokens stand in the order of this label of theirs, and positions are places in it: see `labels.py`
    terms           what a kernel of statistics sums up of the live pairs of each row; over the same as the score
    """

    rows: Layout
    columns: Layout
    predicate: Expr
    lets: tuple[tuple[str, Expr], ...]
    visits: tuple[Sweep | Listed, ...]
    reason: str = ""
    score: Expr = SCORE
    label: Expr | None = None
    weights: Weights = SOFTMAX
    terms: tuple[Term, ...] = ()

    @property
    def tile(self) -> tuple[int, int]:
        """(row tokens, column tokens) of a tile."""
        return self.rows.size, self.columns.size

    @property
    def of_runs(self) -> bool:
        """Whether tiles are runs of tokens (or of places in an order), and all rows are the launch's."""
        return self.rows.is_sequence and self.columns.is_sequence and self.rows.among is TRUE

    @property
    def transposed(self) -> bool:
        return self.rows.side is Side.KEYS

    @property
    def listed(self) -> bool:
        """Whether the live tiles come from a block list made at run time, not from arithmetic in the kernel."""
        return any(isinstance(v, Listed) for v in self.visits)

    @property
    def of_pairs(self) -> bool:
        """Whether something is computed of every pair: its score is changed, or its weight is not softmax's alone."""
        return self.score is not SCORE or self.weights.of_pairs

    @property
    def weighed(self) -> Expr:
        """What a pair's weight follows from: see `Weights.of`."""
        return self.weights.of(self.score)

    @property
    def computed(self) -> tuple[Expr, ...]:
        """What is computed of pairs and rows besides which are live."""
        return self.score, *self.weights.roots

    @property
    def reads_pairs(self) -> bool:
        """Whether something is computed of the tokens of every pair, in full tiles as well."""
        return self.of_pairs or any(t.reads_tokens for t in self.terms)

    def expressions(self) -> Iterator[Expr]:
        """Every expression that the kernel evaluates."""
        yield from self.scalars()
        yield from self.computed
        yield from (t.value for t in self.terms)
        yield self.predicate

    def scalars(self) -> Iterator[Expr]:
        """Every expression that finds the tiles."""
        for layout in (self.rows, self.columns):
            if not layout.is_sequence:
                yield from layout.scalars
        if self.rows.among is not TRUE:
            yield self.rows.among
        yield from (value for _, value in self.lets)
        for v in self.visits:
            if isinstance(v, Sweep):
                yield from (*v.start, *v.stop)

    def tables(self) -> tuple[Expr, ...]:
        """The row tables that the kernel reads, one position per row token, each as the node read at the row token."""
        row = SEQUENCES[self.rows.side].token
        tables = [(e, e.value) for e in nodes(*self.expressions()) if isinstance(e.value, Searched)]
        return tuple(dict.fromkeys(row_table(e.op, searched, e.args[0], row) for e, searched in tables))

    def known(self) -> set[Expr]:
        """What is known of a row tile before its lets."""
        return {B, H, *SIZES.values(), *(e for a in self.rows.axes for e in (a.first, a.last))}

    def verify(self) -> None:
        """Raise InvalidProgram unless the program is well formed."""
        self._verify_rows()
        known = self.known()
        for name, value in self.lets:
            if name in SYMBOLS or sym(name) in known:
                raise InvalidProgram(f"`{name}` is defined twice", str(self))
            _check_scalar(self, value, known)
            known = known | {sym(name)}
        for v in self.visits:
            if isinstance(v, Sweep):
                if not len(v.start) == len(v.stop) == len(self.columns.axes):
                    raise InvalidProgram("a sweep has a start and a stop for each column axis", str(self))
                for e in (*v.start, *v.stop):
                    _check_scalar(self, e, known)
        if not self.columns.is_sequence:
            for e in self.columns.scalars:
                _check_scalar(self, e, known)
        if not self.rows.among.is_bool or reads(self.rows.among) - {self.rows.side.value}:
            raise InvalidProgram(f"`{self.rows.among}` is no condition on {self.rows.side} alone")
        if not self.predicate.is_bool:
            raise InvalidProgram(f"the predicate `{self.predicate}` is not Boolean")
        layouts = [x for x in (self.rows, self.columns) if not x.is_sequence]
        allowed = TOKENS.keys() | {str(a.token) for x in layouts for a in x.axes}
        if self.score.is_bool:
            raise InvalidProgram(f"the score `{self.score}` is no number")
        if problem := self.weights.problem():
            raise InvalidProgram(problem, str(self))
        computed = [("score", e) for e in self.computed] + [("term", t.value) for t in self.terms]
        for what, e in (("predicate", self.predicate), *computed):
            if unknown := reads(e) - allowed:
                raise InvalidProgram(f"the {what} reads {', '.join(sorted(unknown))}; it may read {', '.join(allowed)}")
        if self.listed and any(isinstance(v, Sweep) for v in self.visits):
            raise InvalidProgram("sweeps and block lists do not mix; list every live tile, or none")
        if self.listed and not (self.rows.is_sequence and self.columns.is_sequence):
            raise InvalidProgram("block lists name tiles of runs of tokens")
        if min(*self.rows.box, *self.columns.box) < 1:
            raise InvalidProgram(f"tile {self.tile} is empty")

    def _verify_rows(self) -> None:
        """The rows are placed by what an instance knows, and by the axes before."""
        known = {B, H, *SIZES.values()}
        for layout in (self.rows, self.columns):
            if len(layout.axes) != len(layout.box):
                raise InvalidProgram(f"{len(layout.axes)} axes have {len(layout.box)} extents", str(self))
        for a in self.rows.axes:
            for e in (a.start, a.stop, a.step):
                if found := {n for n in nodes(e) if n.op is Op.SYM} - known:
                    raise InvalidProgram(f"`{e}` reads `{found.pop()}`, which is not known there", str(self))
            known |= {a.first} if a.first is a.token else set()

    def __str__(self) -> str:
        """One line per declaration, scalar and visit; `read_program` reads it back."""
        rows, columns = self.rows.side, self.columns.side
        label = () if self.label is None else (self.label,)
        read = (*self.expressions(), *label, *self.rows.sizes, *self.columns.sizes)
        lines = [d for d in declarations(*read) if not d.startswith("_")]
        lines += [f"order by {e}" for e in label]
        lines.append(f"tiles of {self.tile[0]} {rows} by {self.tile[1]} {columns}")
        lines += self.rows.lines()
        if self.rows.among is not TRUE:
            lines.append(f"rows {self.rows.among}")
        lines += [f"let {name} = {value}" for name, value in self.lets]
        lines += self.columns.lines()
        for v in self.visits:
            spans = ""
            if isinstance(v, Sweep):
                spans = " in " + " x ".join(f"[{a}, {b})" for a, b in zip(v.start, v.stop, strict=True))
            lines.append(f"sweep {columns} tiles{spans or ' listed'} {v.status.value}")
        lines.append(f"where {self.predicate}")
        if self.score is not SCORE:
            lines.append(f"score {self.score}")
        lines += [line.replace(" =", "", 1) for line in self.weights.lines()]
        lines += [str(t) for t in self.terms]
        if self.reason:
            lines.append(f"because {self.reason}")
        return "\n".join(lines)


Programs = tuple[TileProgram, ...]  # of one launch: the same rows, predicates that exclude each other
Launches = tuple[Programs, ...]  # together they have every row once


def _check_scalar(program: TileProgram, e: Expr, known: set[Expr]) -> None:
    """A scalar of a tile reads its rows only under ROWMIN, ROWMAX and where a row table is defined, and no column."""
    rows = {SEQUENCES[program.rows.side].token, *(a.token for a in program.rows.axes)}
    seen: set[tuple[Expr, bool]] = set()
    stack = [(e, False)]  # a node, and whether its value is taken for every row of the tile
    while stack:
        n, each_row = at = stack.pop()
        if at in seen:
            continue
        seen.add(at)
        if n.op is Op.SYM and n not in known and not (each_row and n in rows):
            raise InvalidProgram(f"`{e}` reads `{n}`, which is not known there", str(program))
        inside = each_row or n.op in (Op.ROWMIN, Op.ROWMAX)
        stack += [(a, inside or (n.op in TABLES and i == 0)) for i, a in enumerate(n.args)]
