"""What the loops of a kernel stand in: the instance's place, its row tile, the names of everything.

The rows of a tile are queries in the forward and in dQ, keys in dK and dV; the columns are the other side. `queries`
and `keys` are indices into the tensors, `q_pos` and `k_pos` the tokens' positions, which predicates speak of.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from attnir.codegen.triton.arguments import table_reads_head, tile_count
from attnir.codegen.triton.expressions import Printer, Shape, Text
from attnir.codegen.triton.operations import ATOM
from attnir.codegen.triton.spec import Spec
from attnir.codegen.triton.writer import Writer
from attnir.expr import SYMBOLS, Expr, H, K, Q, side_of
from attnir.footprint import Reads, reads_of
from attnir.interval import Interval
from attnir.labels import TOKEN
from attnir.ops import Coordinate, FieldDecl, Of, Op, ParamDecl, Searched, Side, TensorDecl
from attnir.program import Programs, TileProgram
from attnir.real import SCORE
from attnir.traverse import contains


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
    def ordered(self) -> bool:
        """Whether tokens stand in the order of a label; their indices are looked up then."""
        return self.program.label is not None

    def indices(self, names: Names) -> str:
        """The indices of a side's tokens in its tensors."""
        return f"{names.one}_tokens" if self.ordered else names.index

    @property
    def loops_over_heads(self) -> bool:
        """Whether an instance visits several query heads."""
        return self.by_key_head and self.spec.grouped

    @property
    def by_key_head(self) -> bool:
        """Whether an instance has a key head; else it has a query head."""
        return self.kind in ("dkv", "pulled_dk") and not self.spec.mapped

    @property
    def walks_by_head(self) -> bool:
        """Whether which tiles are visited differs from head to head."""
        if self.reads.lists:
            return contains(self.program.predicate, H)
        spans = [e for p in self.programs for e in p.scalars()]
        return any(contains(e, H) for e in spans) or any(table_reads_head(t) for t in self.reads.tables)

    def printer(self) -> Printer:
        """Prints scalars of the row tile."""
        return Printer(self.leaf, self._no_name, self.ranges)

    def _no_name(self, e: Expr, source: str, shape: Shape) -> str:
        raise AssertionError(f"{e} is no scalar of a tile")

    def leaf(self, e: Expr) -> Text:
        """The text of a symbol, field, parameter or row table."""
        match e.value:
            case ParamDecl(name=name, real=True):
                return Text(f"number_{name}", ATOM, Shape.SCALAR)
            case ParamDecl(name=name):
                return Text(f"param_{name}", ATOM, Shape.SCALAR)
            case TensorDecl(name=name, axes=axes):
                at = " + ".join(f"{a} * tensor_{name}_{a}" for a in axes)
                return Text(f"tl.load(tensor_{name} + {at})", ATOM, Shape.SCALAR)
            case FieldDecl(name=name):
                return self._field(name, e.args[0])
            case Searched():
                return self._table(e)
        if e is SCORE:
            return Text("s", ATOM, Shape.TILE)
        if e.op is Op.SCORE:  # what terms read: p, log_p, dp
            return Text(str(e.value).removeprefix("_"), ATOM, Shape.TILE)
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
        w.line(
            f"# One instance: a tile of {rows.index}, of one {'key ' if self.by_key_head else ''}head of one sample."
        )
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
        if self.loops_over_heads:
            count = "kv_heads"
            w.let("kv_heads", "heads // group")
        w.let("b", f"pair // {count}")
        w.let("b64", "b.to(tl.int64)")
        if self.by_key_head:
            w.let("kv_head", f"pair % {count}")
            w.let("kv64", "kv_head.to(tl.int64)")
            if not self.spec.grouped:
                self.head("kv_head")
        else:
            self.head(f"pair % {count}")
            if self.spec.mapped:
                w.let("k64", "tl.load(key_head + h).to(tl.int64)")
                w.let("v64", "tl.load(value_head + h).to(tl.int64)")
                return
            w.let("kv64", "h64 // group" if self.spec.grouped else "h64")

    def head(self, value: str) -> None:
        """The query head."""
        self.w.let("h", value)
        self.w.let("h64", "h.to(tl.int64)")

    def metadata(self) -> None:
        """Where the instance's fields and row tables begin, and the fields of its rows."""
        if self.reads.fields or self.reads.tables:
            self.w.line()
            self.w.line("# What is known of the tokens of this sample.")
        for name, side in self.reads.fields:
            self.w.let(f"field_{name}_{side}_at", f"field_{name}_{side} + b64 * field_{name}_{side}_batch")
        for name, side in self.reads.fields:
            if side is self.rows.side:
                at, mask = index_of(self.rows.position, side), ""
                if not self.program.rows.is_sequence:  # a class that no token is of has a tile all the same
                    mask = f", mask=({self.rows.index} >= 0) & ({self.rows.index} < {self.rows.length}), other=0"
                self.w.let(f"f_{name}_{side}", f"tl.load(field_{name}_{side}_at + {at}{mask})")
        if self.ordered:
            self.w.let(self.indices(self.rows), self.token_index(self.rows))
        for i, table in enumerate(self.reads.tables):
            if not table_reads_head(table):
                self.w.let(f"table_{i}_at", f"table_{i} + b64 * table_{i}_batch")

    def token_index(self, names: Names) -> str:
        """The index of the token that stands at a place, from its position, which has been read."""
        return index_of(f"f_{TOKEN.name}_{names.side}", names.side)

    def scalars(self) -> None:
        """The program's lets; inside the loop over heads where they differ from head to head."""
        for i, table in enumerate(self.reads.tables):
            if table_reads_head(table):
                self.w.let(f"table_{i}_at", f"table_{i} + b64 * table_{i}_batch + h64 * table_{i}_head")
        if self.program.lets:
            self.w.line()
            self.w.line(f"# Which tiles of {self.columns.index} this tile visits, by index.")
        show = self.printer()
        for name, value in self.program.lets:
            self.w.let(f"tile_{name}", show(value))
            self.ranges[name] = show.range(value)


def coordinate(e: Expr) -> str:
    """A coordinate in the text of a kernel: `q0__y`. No other name is like that, whatever an axis is called."""
    return str(e.value).replace(".", "__")


def index_of(position: str, side: Side) -> str:
    """The index in its tensor of a token at a position."""
    return f"({position} - q_start)" if side is Side.QUERIES else position
