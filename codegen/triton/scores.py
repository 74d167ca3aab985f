"""Which pairs of a partial tile are live, as text."""

from __future__ import annotations

from attnir.codegen.triton.expressions import Printer, Shape
from attnir.codegen.triton.frame import Frame
from attnir.codegen.triton.tiles import column_coordinates, row_coordinates
from attnir.expr import FALSE, TRUE, Expr, H
from attnir.ops import Side
from attnir.traverse import contains


class Liveness:
    """The predicate of a kernel: its row part is computed before the loops, the rest in each partial tile."""

    def __init__(self, f: Frame) -> None:
        self.f = f
        self.before: list[tuple[str, str]] = []  # values of rows: (name, text)
        self.inside: list[tuple[str, str]] = []  # values of columns
        self.counts = {Shape.ROW: 0, Shape.COLUMN: 0}
        self.source = self._source()

    def _source(self) -> str:
        columns = self.f.columns
        inside = f"{columns.one}_in[None, :]"
        predicate = self.f.program.predicate
        if predicate is TRUE:
            return inside
        if predicate is FALSE:
            return f"({columns.index} < 0)[None, :]"
        return f"{Printer(self.f.leaf, self._name, self.f.ranges).tile(predicate).within(2)} & {inside}"

    def _name(self, e: Expr, source: str, shape: Shape) -> str:
        """What depends on rows alone is known before the loops, unless the head is not."""
        late = self.f.loops_over_heads and contains(e, H)
        name = f"{'row' if shape is Shape.ROW else 'column'}_{self.counts[shape]}"
        self.counts[shape] += 1
        (self.before if shape is Shape.ROW and not late else self.inside).append((name, source))
        return name

    def write_before(self) -> None:
        """Values of rows that partial tiles check, and the coordinates of rows and columns in layouts."""
        row_coordinates(self.f)
        column_coordinates(self.f)
        for name, source in self.before:
            self.f.w.let(name, source)

    def write(self) -> None:
        """Positions and fields of the columns, then `live`."""
        f, columns = self.f, self.f.columns
        if f.program.columns.is_sequence:
            position = f"q_start + {columns.index}" if columns.side is Side.QUERIES else columns.index
            f.w.let(columns.position, position)
        for name, side in f.reads.fields:
            if side is columns.side:
                where = f"field_{name}_{side}_at + {columns.index}"
                f.w.let(f"f_{name}_{side}", f"tl.load({where}, mask={columns.one}_in, other=0)")
        for name, source in self.inside:
            f.w.let(name, source)
        f.w.let("live", self.source)
