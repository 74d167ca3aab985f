"""Layouts of a side: the slots of residue classes; the axes of a region, each of them whole or in residue classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from attnir import expr as ex
from attnir.axes import SEQUENCES, Axis, Layout
from attnir.digits import carried
from attnir.expr import ZERO, Expr, const
from attnir.ops import Coordinate, Of, ParamDecl, Side
from attnir.space import Region, Space


@dataclass(frozen=True, slots=True)
class Line:
    """Tokens along one direction of a side, before they are cut: coordinates [start, stop), `step` positions apart."""

    name: str  # empty: a whole side, whose coordinates are positions
    start: Expr
    stop: Expr
    step: Expr
    size: int | ParamDecl | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """The lines of a region (or of a whole side) and the position where they begin."""

    side: Side
    lines: tuple[Line, ...]
    origin: Expr = ZERO

    @property
    def is_whole(self) -> bool:
        return not self.lines[0].name

    def coordinate(self, line: Line) -> Expr:
        """A token's coordinate along a line that is not cut into classes."""
        return ex.coordinate(Coordinate(self.side, line.name or "at", size=line.size))


def shapes(side: Side, space: Space | None) -> tuple[Shape, ...]:
    """The regions of a side; all its positions where it has no space."""
    if space is None:
        axis = SEQUENCES[side]
        return (Shape(side, (Line("", axis.start, axis.stop, const(1)),)),)
    return tuple(_region(side, space, region) for region in space.regions)


def _region(side: Side, space: Space, region: Region) -> Shape:
    lines = []
    for i, axis in enumerate(region.axes):
        size = axis.size.value
        assert isinstance(size, int | ParamDecl)
        lines.append(Line(axis.name, ZERO, axis.size, region.stride(i), size))
    return Shape(side, tuple(lines), space.start(region))


@dataclass(frozen=True, slots=True)
class Classes:
    """The lines that are cut into residue classes: their moduli, and, for columns, the one class that is visited."""

    moduli: Mapping[str, int] = field(default_factory=dict)
    residues: Mapping[str, Expr] = field(default_factory=dict)

    def of(self, line: Line, slot: Expr) -> Expr:
        """The coordinate along a line of the token in a slot of its class."""
        return slot if line.name not in self.moduli else slot * self.moduli[line.name] + self.residues[line.name]


def lay_out(shape: Shape, box: Sequence[int], classes: Classes) -> Layout:
    """The layout of a shape, in boxes with an extent for each line; a class that is not given is an axis of its own."""
    scalars: list[Axis] = []
    axes: list[Axis] = []
    origin = shape.origin
    for line in shape.lines:
        modulus = classes.moduli.get(line.name, 1)
        if modulus == 1:
            axes.append(_axis(shape.side, line.name or "at", line.size, line.start, line.stop, line.step))
            continue
        residue = classes.residues.get(line.name)
        if residue is None:
            named = Coordinate(shape.side, _named(line, "residue"), Of.FIRST, modulus)
            residue = ex.coordinate(named)
            scalars.append(Axis(residue, ZERO, const(modulus), residue, residue, line.step))
        else:
            origin = origin + residue * line.step
        start, stop = (carried((e - residue + (modulus - 1)) // const(modulus)) for e in (line.start, line.stop))
        slots = -(-line.size // modulus) if isinstance(line.size, int) else None
        axes.append(_axis(shape.side, _named(line, "slot"), slots, start, stop, carried(line.step * modulus)))
    return Layout((*scalars, *axes), (*(1,) * len(scalars), *box), carried(origin))


def _named(line: Line, kind: str) -> str:
    return f"{line.name}_{kind}" if line.name else kind


def _axis(side: Side, name: str, size: int | ParamDecl | None, start: Expr, stop: Expr, step: Expr) -> Axis:
    token, first, last = (ex.coordinate(Coordinate(side, name, of, size)) for of in (Of.TOKEN, Of.FIRST, Of.LAST))
    return Axis(token, start, stop, first, last, step)
