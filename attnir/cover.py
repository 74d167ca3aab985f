"""The cover pass: from a predicate to the tile program that visits its live tiles.

The predicate is solved for the column, which gives bands (`solve.py`). Over a tile of rows a band is a range of
column tiles (`ranges.py`), whose ends are scalars of the tile, so the kernel computes them and nothing is tabulated.
The ranges become disjoint sweeps (`sweeps.py`).

What no band expresses in closed form is left to a block list, except a condition that repeats within less than a
tile: it leaves no tile empty, so a list could not skip anything.
"""

from __future__ import annotations

from collections.abc import Sequence

from attnir.expr import Expr
from attnir.normalise import normalise
from attnir.ops import TABLES
from attnir.periods import moduli
from attnir.program import KEYS, QUERIES, Axis, Listed, Status, Sweep, TileProgram
from attnir.ranges import Tiling
from attnir.solve import Band, solve
from attnir.sweeps import Lets, sweeps
from attnir.traverse import fields_of, nodes, params_of

MOST_SWEPT = 4  # bands in one kernel; each one is up to three loops


def cover(predicate: Expr, tile: tuple[int, int], *, transposed: bool = False) -> TileProgram:
    """The program that visits the live tiles of `predicate`; tile = (row tokens, column tokens).

    Forward, the rows are queries and the columns keys; `transposed`, the other way round, from the same predicate.

    >>> from attnir.expr import K, Q
    >>> print(cover(K <= Q, (128, 64)))
    tiles of 128 q by 64 k
    let stop = (min(q1 + 1, k_len) + 63) // 64
    let full_stop = min(q0 + 1, k_len) // 64
    sweep k tiles in [0, full_stop) full
    sweep k tiles in [full_stop, stop) partial
    where k <= q
    because closed ranges: every condition bounds k by an expression of q
    """
    rows, columns = (KEYS, QUERIES) if transposed else (QUERIES, KEYS)
    predicate = normalise(predicate)
    bands = solve(predicate, columns.token, rows.token)
    if reason := _needs_list(bands, rows, columns, tile[1]):
        lets: Lets = ()
        visits: tuple[Sweep | Listed, ...] = (Listed(Status.FULL), Listed(Status.PARTIAL))
    else:
        taken = {f.name for f in fields_of(predicate)} | {p.name for p in params_of(predicate)}
        lets, visits = sweeps(bands, Tiling(rows, columns, tile), taken)
        reason = _why(bands, rows, columns)
    program = TileProgram(rows, columns, tile, predicate, lets, visits, reason)
    program.verify()
    return program


def _needs_list(bands: Sequence[Band], rows: Axis, columns: Axis, width: int) -> str:
    """Why the live tiles must be listed; empty when they need not. Column tiles are `width` tokens long."""
    if len(bands) > MOST_SWEPT:
        return f"block lists: the predicate falls into {len(bands)} ranges of {columns.side}"
    for band in bands:
        for condition in band.residual:
            if not _repeats(condition, columns.token, width):
                return f"block lists: `{condition}` bounds {columns.side} by no expression of {rows.side}"
    return ""


def _why(bands: Sequence[Band], rows: Axis, columns: Axis) -> str:
    column, row = columns.side, rows.side
    if any(n.op in TABLES for b in bands for n in nodes(*b.lower, *b.upper)):
        return f"row tables: sorted fields bound {column} for each {row}"
    if any(b.residual for b in bands):
        return f"closed ranges: what does not bound {column} repeats within a tile"
    return f"closed ranges: every condition bounds {column} by an expression of {row}"


def _repeats(e: Expr, column: Expr, within: int) -> bool:
    """Whether the column enters only as a remainder by constants of at most `within`."""
    found = moduli(e, column)
    return found is not None and all(m <= within for m in found)
