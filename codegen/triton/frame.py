"""What the loops of a kernel stand in: the instance's place, its row tile, the names of everything.

The rows of a tile are queries in the forward and in dQ, keys in dK and dV; the columns are the other side. `queries`
and `keys` are indices into the tensors, `q_pos` and `k_pos` the tokens' positions, which predicates speak of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from attnir.arrange import Programs
from attnir.codegen.triton.arguments import Reads, reads_of, table_reads_head, tile_count
from attnir.codegen.triton.expressions import Printer, Shape, Text
from attnir.codegen.triton.operations import ATOM
from attnir.codegen.triton.spec import Spec
from attnir.codegen.triton.writer import Writer
from attnir.expr import SYMBOLS, TRUE, ZERO, Expr, H, K, Q, side_of
from attnir.interval import Interval
from attnir.ops import Coordinate, FieldDecl, Of, ParamDecl, Searched, Side, TensorDecl
from attnir.program import Layout, TileProgram
from attnir.traverse import contains, nodes


@dataclass(frozen=True, slots=True)
class Names:
    """How the text names one side."""

    side: Side
    block: str  # "BLOCK_Q"
    index: str  # "queries"
    one: str  # "query"
    position: str  # "q_pos"
    length: str  # "q_len"


QUERY = Names(Side.QUERIES, "BLOCK_Q", "queries", "query", "q_pos", "q_len")
KEY = Names(Side.KEYS, "BLOCK_K", "keys", "key", "k_pos", "k_len")


@dataclass(slots=True)
class Frame:
    """One kernel while it is being written."""

    kind: str
    programs: Programs
    spec: Spec
    w: Writer = field(default_factory=Writer)
    program: TileProgram = field(init=False)  # the one that is being written
    reads: Reads = field(init=False)
    ranges: dict[str, Interval[int]] = field(default_factory=dict)
    named: int = 0

    def __post_init__(self) -> None:
        self.program = self.programs[0]
        self.reads = reads_of(self.programs)

    @property
    def rows(self) -> Names:
        return KEY if self.program.transposed else QUERY

    @property
    def columns(self) -> Names:
        return QUERY if self.program.transposed else KEY

    @property
    def loops_over_heads(self) -> bool:
        """Whether an instance visits several query heads."""
        return self.kind == "dkv" and self.spec.grouped

    @property
    def walks_by_head(self) -> bool:
        """Whether which tiles are visited differs from head to head."""
        if self.reads.lists:
            return contains(self.program.predicate, H)
        spans = [e for p in self.programs for e in list(p.expressions())[:-1]]
        return any(contains(e, H) for e in spans) or any(table_reads_head(t) for t in self.reads.tables)

    def printer(self) -> Printer:
        """Prints scalars of the row tile."""
        return Printer(self.leaf, self._no_name, self.ranges)

    def _no_name(self, e: Expr, source: str, shape: Shape) -> str:
        raise AssertionError(f"{e} is no scalar of a tile")

    def leaf(self, e: Expr) -> Text:
        """The text of a symbol, field, parameter or row table."""
        match e.value:
            case ParamDecl(name=name):
                return Text(f"param_{name}", ATOM, Shape.SCALAR)
            case TensorDecl(name=name, axes=axes):
                at = " + ".join(f"{a} * tensor_{name}_{a}" for a in axes)
                return Text(f"tl.load(tensor_{name} + {at})", ATOM, Shape.SCALAR)
            case FieldDecl(name=name):
                return self._field(name, e.args[0])
            case Searched():
                return self._table(e)
        shape = self._shape(e)
        if isinstance(e.value, Coordinate):
            return Text(coordinate(e), ATOM, shape)
        if shape is not Shape.SCALAR:
            return Text(f"{e.value}_pos", ATOM, shape)
        return Text(str(e.value) if e.value in SYMBOLS else f"tile_{e.value}", ATOM, shape)

    def _shape(self, symbol: Expr) -> Shape:
        """The shape of a symbol's value: tokens vary along their side of the tile."""
        is_token = symbol is Q or symbol is K or (isinstance(symbol.value, Coordinate) and symbol.value.of is Of.TOKEN)
        if not is_token:
            return Shape.SCALAR
        return Shape.ROW if side_of(symbol) is self.program.rows.side else Shape.COLUMN

    def _field(self, name: str, position: Expr) -> Text:
        side, shape = side_of(position), self._shape(position)
        if shape is not Shape.SCALAR:
            return Text(f"f_{name}_{side}", ATOM, shape)
        return Text(f"tl.load(field_{name}_{side}_at + {index_of(str(position), side)})", ATOM, shape)

    def _table(self, e: Expr) -> Text:
        bound, row = e.args
        numbers = [i for i, t in enumerate(self.reads.tables) if (t.op, t.value, t.args[0]) == (e.op, e.value, bound)]
        at = self.leaf(row)
        return Text(f"tl.load(table_{numbers[0]}_at + {index_of(at.source, side_of(row))})", ATOM, at.shape)

    def place(self) -> None:
        """Which tile, batch and head the instance has."""
        w, rows = self.w, self.rows
        w.line(f"# One instance: a tile of {rows.index}, of one {'' if rows is QUERY else 'key '}head of one sample.")
        if self.program.rows.is_sequence:
            w.let("tiles", f"tl.cdiv({rows.length}, {rows.block})")
        else:
            w.let("tiles", " * ".join(tile_count(a) for a in self.program.rows.axes))
        if rows is QUERY and self.program.rows.is_sequence:
            w.line("# The last queries often see the most keys: they begin first.")
            w.let("tile", "tiles - 1 - tl.program_id(0) % tiles")
        else:
            w.let("tile", "tl.program_id(0) % tiles")
        w.let("pair", "tl.program_id(0) // tiles")
        count = "heads"
        if self.kind == "dkv" and self.spec.grouped:
            count = "kv_heads"
            w.let("kv_heads", "heads // group")
        w.let("b", f"pair // {count}")
        w.let("b64", "b.to(tl.int64)")
        if self.kind == "dkv":
            w.let("kv_head", f"pair % {count}")
            w.let("kv64", "kv_head.to(tl.int64)")
            if not self.spec.grouped:
                self.head("kv_head")
        else:
            self.head(f"pair % {count}")
            w.let("kv64", "h64 // group" if self.spec.grouped else "h64")

    def head(self, value: str) -> None:
        """The query head, and its row of lse and delta."""
        self.w.let("h", value)
        self.w.let("h64", "h.to(tl.int64)")

    def row_tile(self) -> None:
        """The rows: their indices, which of them exist, their positions. Rows past the end repeat the last position."""
        w, rows = self.w, self.rows
        t, start = rows.side, "q_start + " if rows is QUERY else ""
        if not self.program.rows.is_sequence:
            self._row_box()
            return
        w.let(f"first_{rows.one}", f"tile * {rows.block}")
        w.let(rows.index, f"first_{rows.one} + tl.arange(0, {rows.block})")
        w.let(f"{rows.one}_in", f"{rows.index} < {rows.length}")
        w.let(f"{t}0", f"{start}first_{rows.one}")
        w.let(f"{t}1", f"tl.minimum({t}0 + {rows.block}, {start}{rows.length}) - 1")
        w.let(rows.position, f"tl.minimum({start}{rows.index}, {t}1)")
        self._among()

    def _row_box(self) -> None:
        """The rows of a box: coordinates of its ends and of each row, along every axis."""
        w, rows, layout = self.w, self.rows, self.program.rows
        show = self.printer()
        w.line()
        w.line(f"# A box of {' x '.join(map(str, layout.box))} {rows.index}.")
        w.let("rest", "tile")
        for axis in reversed(layout.axes):
            w.let(f"tile_of_{axis.name}", f"rest % {tile_count(axis)}")
            w.let("rest", f"rest // {tile_count(axis)}")
        w.let("lane", f"tl.arange(0, {rows.block})")
        exists, steps = [], [show.text(layout.origin).within(4)] * (layout.origin is not ZERO)
        for axis, extent, offset in zip(layout.axes, layout.box, offsets(layout, "lane"), strict=True):
            first, last = coordinate(axis.first), coordinate(axis.last)
            begin = show.text(axis.start)
            w.let(first, f"{'' if axis.start is ZERO else f'{begin.within(4)} + '}tile_of_{axis.name} * {extent}")
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
        self._among()

    def _among(self) -> None:
        """Leave out the rows of other launches."""
        among = self.program.rows.among
        if among is not TRUE:
            self.w.line(f"# Rows but {among} are another launch's.")
            self.w.let(f"{self.rows.one}_in", f"{self.rows.one}_in & ({self.printer()(among)})")

    def row_coordinates(self) -> None:
        """The coordinates of every row, which partial tiles check."""
        layout = self.program.rows
        if layout.is_sequence:
            return
        self.w.let("lane", f"tl.arange(0, {self.rows.block})")
        for axis, offset in zip(layout.axes, offsets(layout, "lane"), strict=True):
            if axis.first is not axis.token:
                first, last = coordinate(axis.first), coordinate(axis.last)
                self.w.let(coordinate(axis.token), f"tl.minimum({first} + {offset}, {last})")

    def column_tile(self) -> None:
        """The offsets of the tokens of a column tile from its first."""
        layout, columns = self.program.columns, self.columns
        if layout.is_sequence:
            self.w.let(f"{columns.index}_in_tile", f"tl.arange(0, {columns.block})")
            return
        show = self.printer()
        self.w.line(f"# A column tile is a box of {' x '.join(map(str, layout.box))} {columns.index}.")
        self.w.let("lane", f"tl.arange(0, {columns.block})")
        wide = [(a, o) for a, n, o in zip(layout.axes, layout.box, offsets(layout, "lane"), strict=True) if n > 1]
        self.w.let(f"{columns.index}_in_tile", " + ".join(_times(o, show.text(a.step)) for a, o in wide))

    def column_coordinates(self) -> None:
        """The offsets of the tokens of a column tile along every axis, which partial tiles check."""
        layout = self.program.columns
        if layout.is_sequence:
            return
        self.w.let("lane", f"tl.arange(0, {self.columns.block})")
        for axis, offset in zip(layout.axes, offsets(layout, "lane"), strict=True):
            self.w.let(f"{axis.name}_in_tile", offset)

    def first_column(self, tiles: Sequence[str]) -> None:
        """The coordinates and the index of a column tile's first token, from its index along every axis."""
        layout, columns = self.program.columns, self.columns
        first = f"first_{columns.one}"
        if layout.is_sequence:
            self.w.let(first, f"{tiles[0]} * {columns.block}")
            return
        show = self.printer()
        steps = [show.text(layout.origin).within(4)] * (layout.origin is not ZERO)
        for axis, extent, tile in zip(layout.axes, layout.box, tiles, strict=True):
            self.w.let(coordinate(axis.first), f"{show.text(axis.start).within(4)} + {tile} * {extent}")
            steps.append(_times(coordinate(axis.first), show.text(axis.step)))
        self.w.let(first, " + ".join(steps) + (" - q_start" if columns is QUERY else ""))

    def columns_inside(self) -> None:
        """Which columns of a tile exist, and their coordinates."""
        layout, columns = self.program.columns, self.columns
        self.w.let(columns.index, f"first_{columns.one} + {columns.index}_in_tile")
        if layout.is_sequence:
            self.w.let(f"{columns.one}_in", f"{columns.index} < {columns.length}")
            return
        show = self.printer()
        ends = []
        for axis in layout.axes:
            self.w.let(coordinate(axis.token), f"{coordinate(axis.first)} + {axis.name}_in_tile")
            ends.append(f"({coordinate(axis.token)} < {show(axis.stop)})")
        self.w.let(f"{columns.one}_in", " & ".join(ends))

    def metadata(self) -> None:
        """Where the instance's fields and row tables begin, and the fields of its rows."""
        if self.reads.fields or self.reads.tables:
            self.w.line()
            self.w.line("# What is known of the tokens of this sample.")
        for name, side in self.reads.fields:
            self.w.let(f"field_{name}_{side}_at", f"field_{name}_{side} + b64 * field_{name}_{side}_batch")
        for name, side in self.reads.fields:
            if side is self.rows.side:
                self.w.let(
                    f"f_{name}_{side}", f"tl.load(field_{name}_{side}_at + {index_of(self.rows.position, side)})"
                )
        for i, table in enumerate(self.reads.tables):
            if not table_reads_head(table):
                self.w.let(f"table_{i}_at", f"table_{i} + b64 * table_{i}_batch")

    def scalars(self) -> None:
        """The program's lets; inside the loop over heads where they differ from head to head."""
        for i, table in enumerate(self.reads.tables):
            if table_reads_head(table):
                self.w.let(f"table_{i}_at", f"table_{i} + b64 * table_{i}_batch + h64 * table_{i}_head")
        rows = {a.token for a in self.program.rows.moving}
        if any(n in rows for n in nodes(*(value for _, value in self.program.lets), definitions=False)):
            self.row_coordinates()  # which something is reduced over
        if self.program.lets:
            self.w.line()
            self.w.line(f"# Which tiles of {self.columns.index} this tile visits, by index.")
        show = self.printer()
        for name, value in self.program.lets:
            self.w.let(f"tile_{name}", show(value))
            self.ranges[name] = show.range(value)


def coordinate(e: Expr) -> str:
    """A coordinate in the text of a kernel: `q0_y`."""
    return str(e.value).replace(".", "_")


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


def index_of(position: str, side: Side) -> str:
    """The index in its tensor of a token at a position."""
    return f"({position} - q_start)" if side is Side.QUERIES else position
