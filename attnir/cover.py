"""The cover pass: from a predicate to the tile program that visits its live tiles.

The predicate is solved for the column, which gives bands (`solve.py`). Over a tile of rows a band is a range of
column tiles (`ranges.py`), whose ends are scalars of the tile, so the kernel computes them and nothing is tabulated.
The ranges become disjoint sweeps (`sweeps.py`). Over several column axes it is a box of tiles (`boxes.py`).

What no band expresses in closed form is left to a block list, except a condition that repeats within less than a
tile: it leaves no tile empty, so a list could not skip anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from attnir.axes import SEQUENCES, Layout, sequence
from attnir.boxes import Box, box_sweeps
from attnir.digits import carried
from attnir.expr import Expr, sym
from attnir.listing import listing_of
from attnir.normalise import normalise
from attnir.ops import TABLES, Op, Side
from attnir.periods import moduli
from attnir.program import Listed, Status, Sweep, TileProgram
from attnir.ranges import Tiling
from attnir.solve import Band, solve
from attnir.sweeps import Lets, sweeps
from attnir.traverse import names_of, nodes, substitute

MOST_SWEPT = 4  # bands in one kernel; each one is up to three loops
MOST_UNLISTED = 8  # where there is to be no block list


def cover(predicate: Expr, tile: tuple[int, int], *, transposed: bool = False, lists: bool = True) -> TileProgram:
    """The program that visits the live tiles of `predicate`, runs of tokens; tile = (row tokens, column tokens).

    Forward, the rows are queries and the columns keys; `transposed`, the other way round, from the same predicate.
    lists: whether conditions that bound no column make a block list; else they are checked in all tiles of their band.

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
    side = Side.KEYS if transposed else Side.QUERIES
    rows, columns = sequence(side, tile[0]), sequence(side.other, tile[1])
    predicate = normalise(predicate)
    (row,), (column,) = rows.axes, columns.axes
    bands = solve(predicate, column.token, row.token)
    names = _names(predicate)
    reason = _needs_list(bands, rows.side, column.token, tile[1])
    if reason and (lists or len(bands) > MOST_UNLISTED):
        visits: tuple[Sweep | Listed, ...] = (Listed(Status.FULL), Listed(Status.PARTIAL))
        listing = listing_of(predicate)
        reason = (
            reason if listing is None else f"block lists: those of `{listing.selection.name}`, which has all live pairs"
        )
    else:
        visits = sweeps(bands, Tiling(rows, column, tile[1]), names)
        reason = _why(bands, rows.side, columns.side)
    program = TileProgram(rows, columns, predicate, tuple(names.lets), visits, reason)
    program.verify()
    return program


def cover_box(box: Box, predicate: Expr, rows: Layout, columns: Layout, reason: str) -> TileProgram:
    """The program that visits the live tiles of a box of columns.

    predicate: what the box says, over the coordinates of the layouts; it may leave out what another program visits.
    """
    names = _names(predicate)
    laid, visits = box_sweeps(box, rows, columns, names)
    program = TileProgram(rows, laid, predicate, tuple(names.lets), visits, reason)
    program.verify()
    return program


def in_layouts(predicate: Expr, *layouts: Layout) -> Expr:
    """The predicate over the coordinates of layouts. Fields stay as they are, facts about tokens."""
    moved = positions(*layouts)
    fields = {n: n for n in nodes(predicate) if n.op is Op.FIELD}
    return normalise(carried(substitute(predicate, moved | fields)))


def positions(*layouts: Layout) -> dict[Expr, Expr]:
    """The positions of tokens, said over the coordinates of layouts."""
    return {SEQUENCES[x.side].token: x.position for x in layouts if not x.is_sequence}


def renamed(program: TileProgram, taken: set[str]) -> TileProgram:
    """The program with other names for those of its scalars that are taken."""
    names = Lets(taken | {name for name, _ in program.lets} | names_of(program.predicate))
    new = {sym(name): sym(names.free(name)) for name, _ in program.lets if name in taken}
    if not new:
        return program

    def moved(e: Expr) -> Expr:
        return substitute(e, new)

    axes = tuple(replace(a, start=moved(a.start), stop=moved(a.stop)) for a in program.columns.axes)
    visits = (
        Sweep(tuple(map(moved, v.start)), tuple(map(moved, v.stop)), v.status) if isinstance(v, Sweep) else v
        for v in program.visits
    )
    return replace(
        program,
        columns=replace(program.columns, axes=axes, origin=moved(program.columns.origin)),
        lets=tuple((str(moved(sym(name)).value), moved(value)) for name, value in program.lets),
        visits=tuple(visits),
    )


def _names(predicate: Expr) -> Lets:
    """Lets for the scalars of a program, but those that the predicate has."""
    return Lets(names_of(predicate))


def _needs_list(bands: Sequence[Band], rows: Side, column: Expr, width: int) -> str:
    """Why the live tiles must be listed; empty when they need not. Column tiles are `width` tokens long."""
    if len(bands) > MOST_SWEPT:
        return f"block lists: the predicate falls into {len(bands)} ranges of {column}"
    for band in bands:
        for condition in band.residual:
            if not _repeats(condition, column, width):
                return f"block lists: `{condition}` bounds {column} by no expression of {rows}"
    return ""


def _why(bands: Sequence[Band], row: Side, column: Side) -> str:
    if any(n.op in TABLES for b in bands for n in nodes(*b.lower, *b.upper)):
        return f"row tables: sorted fields bound {column} for each {row}"
    if any(b.residual for b in bands):
        return f"closed ranges: what does not bound {column} is checked in each of their tiles"
    return f"closed ranges: every condition bounds {column} by an expression of {row}"


def _repeats(e: Expr, column: Expr, within: int) -> bool:
    """Whether the column enters only as a remainder by constants of at most `within`."""
    found = moduli(e, column)
    return found is not None and all(m <= within for m in found)
