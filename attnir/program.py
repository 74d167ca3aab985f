"""Tile programs: where the live pairs are, as loops over tiles.

A program walks the score matrix by tiles. The *row* axis is cut into tiles, one kernel instance each; every instance
visits some tiles of the *column* axis. The forward has query rows and key columns; the transposed program, for dK
and dV, has key rows and query columns. Tiles of an axis start at its first token and are `tile` tokens long, so a
column tile has an index and a visit is an index.

Scalars that a program may read: `q0`, `q1` (first and last query position of the row tile; `k0`, `k1` when the rows are
keys), `q_start` (the first query's position), `q_len`, `k_len`, `b`, `h`, parameters, and what earlier `let`s defined.
Sweeps never overlap: every live pair is in exactly one visited tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from attnir.errors import InvalidProgram
from attnir.expr import (
    K0,
    K1,
    K_LEN,
    Q0,
    Q1,
    Q_LEN,
    Q_START,
    SIZES,
    SYMBOLS,
    TOKENS,
    ZERO,
    B,
    Expr,
    H,
    K,
    Q,
    row_table,
    side_of,
    sym,
)
from attnir.ops import TABLES, Op, Searched, Side
from attnir.printing import declarations
from attnir.traverse import nodes, reads


class Status(Enum):
    """What is known of a tile: every pair live, or some perhaps."""

    FULL = "full"
    PARTIAL = "partial"

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Axis:
    """One side of the score matrix: its token symbol, its first position, one past its last, its tile's ends."""

    token: Expr
    start: Expr
    stop: Expr
    first: Expr  # first position of the tile, when this axis is the rows
    last: Expr  # last position of the tile that exists

    @property
    def side(self) -> Side:
        return side_of(self.token)


QUERIES = Axis(Q, Q_START, Q_START + Q_LEN, Q0, Q1)
KEYS = Axis(K, ZERO, K_LEN, K0, K1)


@dataclass(frozen=True, slots=True)
class Sweep:
    """A run of column tiles `[start, stop)`, visited in order; empty when stop <= start.

    In a FULL sweep every pair of every tile is live and inside both axes' column end. In a PARTIAL sweep the program's
    predicate and the end of the column axis decide.
    """

    start: Expr  # index of the first column tile
    stop: Expr  # one past the last
    status: Status


@dataclass(frozen=True, slots=True)
class Listed:
    """The column tiles of one status that a block list names for this row tile, in ascending order."""

    status: Status


@dataclass(frozen=True, slots=True)
class TileProgram:
    """Which column tiles each row tile visits.

    rows, columns   the axes: (QUERIES, KEYS), or (KEYS, QUERIES) in the transposed program
    tile            (row tokens, column tokens) of a tile
    predicate       which pairs are live, over q, k, b, h, fields and parameters; what a PARTIAL tile checks
    lets            scalars of a row tile, in the order of their definition: (name, value)
    visits          the sweeps, or the block lists, in the order of visiting
    reason          why this way of finding the live tiles was taken, for `explain`
    """

    rows: Axis
    columns: Axis
    tile: tuple[int, int]
    predicate: Expr
    lets: tuple[tuple[str, Expr], ...]
    visits: tuple[Sweep | Listed, ...]
    reason: str = ""

    @property
    def transposed(self) -> bool:
        return self.rows is KEYS

    @property
    def listed(self) -> bool:
        """Whether the live tiles come from a block list made at run time, not from arithmetic in the kernel."""
        return any(isinstance(v, Listed) for v in self.visits)

    def expressions(self) -> Iterator[Expr]:
        """Every expression that the kernel evaluates, the predicate last."""
        yield from (value for _, value in self.lets)
        for v in self.visits:
            if isinstance(v, Sweep):
                yield from (v.start, v.stop)
        yield self.predicate

    def tables(self) -> tuple[Expr, ...]:
        """The row tables that the kernel reads, one position per row token, each as the node read at the row token."""
        row = self.rows.token
        tables = [(e, e.value) for e in nodes(*self.expressions()) if isinstance(e.value, Searched)]
        return tuple(dict.fromkeys(row_table(e.op, searched, e.args[0], row) for e, searched in tables))

    def verify(self) -> None:
        """Raise InvalidProgram unless the program is well formed."""
        known = {B, H, *SIZES.values(), self.rows.first, self.rows.last}
        for name, value in self.lets:
            if name in SYMBOLS or sym(name) in known:
                raise InvalidProgram(f"`{name}` is defined twice", str(self))
            _check_scalar(self, value, known)
            known = known | {sym(name)}
        for v in self.visits:
            if isinstance(v, Sweep):
                _check_scalar(self, v.start, known)
                _check_scalar(self, v.stop, known)
        if not self.predicate.is_bool:
            raise InvalidProgram(f"the predicate `{self.predicate}` is not Boolean")
        if unknown := reads(self.predicate) - TOKENS.keys():
            raise InvalidProgram(f"the predicate reads {', '.join(sorted(unknown))}; it may read q, k, b, h")
        if self.listed and any(isinstance(v, Sweep) for v in self.visits):
            raise InvalidProgram("sweeps and block lists do not mix; list every live tile, or none")
        if min(self.tile) < 1:
            raise InvalidProgram(f"tile {self.tile} is empty")

    def __str__(self) -> str:
        """One line per declaration, scalar and visit; `read_program` reads it back."""
        rows, columns = self.rows.side, self.columns.side
        lines = [*declarations(*self.expressions()), f"tiles of {self.tile[0]} {rows} by {self.tile[1]} {columns}"]
        lines += [f"let {name} = {value}" for name, value in self.lets]
        for v in self.visits:
            span = f" in [{v.start}, {v.stop})" if isinstance(v, Sweep) else " listed"
            lines.append(f"sweep {columns} tiles{span} {v.status.value}")
        lines.append(f"where {self.predicate}")
        if self.reason:
            lines.append(f"because {self.reason}")
        return "\n".join(lines)


def _check_scalar(program: TileProgram, e: Expr, known: set[Expr]) -> None:
    """A scalar of a tile reads its rows only under ROWMIN, ROWMAX and where a row table is defined, and no column."""
    seen: set[tuple[Expr, bool]] = set()
    stack = [(e, False)]  # a node, and whether its value is taken for every row of the tile
    while stack:
        n, each_row = at = stack.pop()
        if at in seen:
            continue
        seen.add(at)
        if n.op is Op.SYM and n not in known and not (each_row and n is program.rows.token):
            raise InvalidProgram(f"`{e}` reads `{n}`, which is not known there", str(program))
        inside = each_row or n.op in (Op.ROWMIN, Op.ROWMAX)
        stack += [(a, inside or (n.op in TABLES and i == 0)) for i, a in enumerate(n.args)]
