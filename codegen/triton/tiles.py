"""The tokens of a tile in a kernel's text: which they are, which of them exist, and where they stand.

In runs of tokens a tile is its first index and an arange. In other layouts it is a box: the lanes' offsets along every
axis are constants, so that the loop over column tiles only moves the coordinates of the first token.
"""

from __future__ import annotations

from collections.abc import Sequence

from attnir.axes import Layout
from attnir.codegen.triton.arguments import tile_count
from attnir.codegen.triton.expressions import Text
from attnir.codegen.triton.frame import QUERY, Frame, coordinate
from attnir.expr import TRUE, ZERO
from attnir.traverse import nodes


def row_tile(f: Frame) -> None:
    """The rows: their indices, which of them exist, their positions. Rows past the end repeat the last position."""
    w, rows = f.w, f.rows
    t, start = rows.side, "q_start + " if rows is QUERY else ""
    if not f.program.rows.is_sequence:
        _row_box(f)
        return
    w.let(f"first_{rows.one}", f"tile * {rows.block}")
    w.let(rows.index, f"first_{rows.one} + tl.arange(0, {rows.block})")
    w.let(f"{rows.one}_in", f"{rows.index} < {rows.length}")
    w.let(f"{t}0", f"{start}first_{rows.one}")
    w.let(f"{t}1", f"tl.minimum({t}0 + {rows.block}, {start}{rows.length}) - 1")
    w.let(rows.position, f"tl.minimum({start}{rows.index}, {t}1)")
    _leave_others_out(f)


def _row_box(f: Frame) -> None:
    """The rows of a box: coordinates of its ends and of each row, along every axis."""
    w, rows, layout = f.w, f.rows, f.program.rows
    show = f.printer()
    w.line()
    w.line(f"# A box of {' x '.join(map(str, layout.box))} {rows.index}.")
    w.let("rest", "tile")
    for axis in reversed(layout.axes):
        w.let(f"tile_of__{axis.name}", f"rest % {tile_count(axis)}")
        w.let("rest", f"rest // {tile_count(axis)}")
    w.let("lane", f"tl.arange(0, {rows.block})")
    exists, steps = [], [show.text(layout.origin).within(4)] * (layout.origin is not ZERO)
    for axis, extent, offset in zip(layout.axes, layout.box, offsets(layout, "lane"), strict=True):
        first, last = coordinate(axis.first), coordinate(axis.last)
        begin = show.text(axis.start)
        w.let(first, f"{'' if axis.start is ZERO else f'{begin.within(4)} + '}tile_of__{axis.name} * {extent}")
        place = first
        if axis.first is not axis.token:
            w.let(last, f"tl.minimum({first} + {extent}, {show(axis.stop)}) - 1")
            place = f"tl.minimum({first} + {offset}, {last})"
            exists.append(f"({first} + {offset} <= {last})")
        steps.append(_times(place, show.text(axis.step)))
    w.let(rows.position, " + ".join(steps))
    w.let(rows.index, f"{rows.position} - q_start" if rows is QUERY else rows.position)
    inside = [f"({rows.index} >= 0)"] * (rows is QUERY) + [f"({rows.index} < {rows.length})"]
    w.let(f"{rows.one}_in", " & ".join([*exists, *inside]))
    _leave_others_out(f)


def _leave_others_out(f: Frame) -> None:
    """Leave out the rows of other launches."""
    among = f.program.rows.among
    if among is not TRUE:
        f.w.line(f"# Rows but {among} are another launch's.")
        f.w.let(f"{f.rows.one}_in", f"{f.rows.one}_in & ({f.printer()(among)})")


def row_coordinates(f: Frame) -> None:
    """The coordinates of every row, which partial tiles check."""
    layout = f.program.rows
    if layout.is_sequence:
        return
    f.w.let("lane", f"tl.arange(0, {f.rows.block})")
    for axis, offset in zip(layout.axes, offsets(layout, "lane"), strict=True):
        if axis.first is not axis.token:
            first, last = coordinate(axis.first), coordinate(axis.last)
            f.w.let(coordinate(axis.token), f"tl.minimum({first} + {offset}, {last})")


def column_tile(f: Frame) -> None:
    """The offsets of the tokens of a column tile from its first."""
    layout, columns = f.program.columns, f.columns
    if layout.is_sequence:
        f.w.let(f"{columns.index}_in_tile", f"tl.arange(0, {columns.block})")
        return
    show = f.printer()
    f.w.line(f"# A column tile is a box of {' x '.join(map(str, layout.box))} {columns.index}.")
    f.w.let("lane", f"tl.arange(0, {columns.block})")
    wide = [(a, o) for a, n, o in zip(layout.axes, layout.box, offsets(layout, "lane"), strict=True) if n > 1]
    f.w.let(f"{columns.index}_in_tile", " + ".join(_times(o, show.text(a.step)) for a, o in wide))


def column_coordinates(f: Frame) -> None:
    """The offsets of the tokens of a column tile along every axis, which partial tiles check."""
    layout = f.program.columns
    if layout.is_sequence:
        return
    f.w.let("lane", f"tl.arange(0, {f.columns.block})")
    for axis, offset in zip(layout.axes, offsets(layout, "lane"), strict=True):
        f.w.let(f"in_tile__{axis.name}", offset)


def first_column(f: Frame, tiles: Sequence[str]) -> None:
    """The coordinates and the index of a column tile's first token, from its index along every axis."""
    layout, columns = f.program.columns, f.columns
    first = f"first_{columns.one}"
    if layout.is_sequence:
        f.w.let(first, f"{tiles[0]} * {columns.block}")
        return
    show = f.printer()
    steps = [show.text(layout.origin).within(4)] * (layout.origin is not ZERO)
    for axis, extent, tile in zip(layout.axes, layout.box, tiles, strict=True):
        f.w.let(coordinate(axis.first), f"{show.text(axis.start).within(4)} + {tile} * {extent}")
        steps.append(_times(coordinate(axis.first), show.text(axis.step)))
    f.w.let(first, " + ".join(steps) + (" - q_start" if columns is QUERY else ""))


def columns_inside(f: Frame) -> None:
    """Which columns of a tile exist, and their coordinates."""
    layout, columns = f.program.columns, f.columns
    f.w.let(columns.index, f"first_{columns.one} + {columns.index}_in_tile")
    if layout.is_sequence:
        f.w.let(f"{columns.one}_in", f"{columns.index} < {columns.length}")
        return
    show = f.printer()
    ends = []
    for axis in layout.axes:
        f.w.let(coordinate(axis.token), f"{coordinate(axis.first)} + in_tile__{axis.name}")
        ends.append(f"({coordinate(axis.token)} < {show(axis.stop)})")
    f.w.let(f"{columns.one}_in", " & ".join(ends))


def row_coordinates_reduced(f: Frame) -> None:
    """The coordinates of rows, where a scalar of the program is reduced over them."""
    rows = {a.token for a in f.program.rows.moving}
    if any(n in rows for n in nodes(*(value for _, value in f.program.lets), definitions=False)):
        row_coordinates(f)


def offsets(layout: Layout, lane: str) -> list[str]:
    """The offset of the token in a lane along every axis of a tile, whose extents are powers of two."""
    found, inner = [], layout.size
    for i, extent in enumerate(layout.box):
        inner //= extent
        text = lane if inner == 1 else f"{lane} // {inner}"
        found.append(
            f"tl.zeros_like({lane})"
            if extent == 1
            else text
            if i == _first_wide(layout)
            else f"({text}) % {extent}"
            if inner > 1
            else f"{text} % {extent}"
        )
    return [f"({t})" if " " in t else t for t in found]


def _first_wide(layout: Layout) -> int:
    """The first axis along which a tile has more than one token."""
    return next((i for i, n in enumerate(layout.box) if n > 1), 0)


def _times(value: str, factor: Text) -> str:
    return value if factor.source == "1" else f"{value} * {factor.within(5)}"
