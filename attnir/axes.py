"""Axes and layouts: how the tokens of a side are cut into tiles, and where the token with given coordinates stands.

A tile is a run of tokens, or a box over the axes of a layout: a residue class with its slots, a grid. Tiles of an axis
start at its first coordinate, so a column tile has an index along each axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce

from attnir import expr as ex
from attnir.expr import K0, K1, K_LEN, Q0, Q1, Q_LEN, Q_START, TRUE, ZERO, Expr, K, Q, const, side_of
from attnir.ops import Coordinate, ParamDecl, Side

ONE = const(1)


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a layout: coordinates [start, stop), of which neighbours lie `step` positions apart.

    token        the coordinate of a token
    first, last  of the tile's first row, and of its last row that exists, where the layout is that of the rows
    """

    token: Expr
    start: Expr
    stop: Expr
    first: Expr
    last: Expr
    step: Expr = ONE

    @property
    def side(self) -> Side:
        return side_of(self.token)

    @property
    def name(self) -> str:
        """The name of the coordinate; the side's own where it is the position."""
        return self.token.value.axis if isinstance(self.token.value, Coordinate) else str(self.token)


QUERIES = Axis(Q, Q_START, Q_START + Q_LEN, Q0, Q1)
KEYS = Axis(K, ZERO, K_LEN, K0, K1)
SEQUENCES = {Side.QUERIES: QUERIES, Side.KEYS: KEYS}
TOKEN_OF = {side: axis.token for side, axis in SEQUENCES.items()}


@dataclass(frozen=True, slots=True)
class Layout:
    """How the tokens of a side are cut into tiles: boxes over some axes.

    A token with coordinates c stands at the position origin + sum(step * c). `box` is the extent of a tile along each
    axis. Where it is 1 the axis' `token`, `first` and `last` are one scalar. An axis' start and stop may read the
    scalars of axes before it; those of columns, and their origin, anything that is known of the row tile.
    """

    axes: tuple[Axis, ...]
    box: tuple[int, ...]
    origin: Expr = ZERO
    among: Expr = TRUE  # of rows: which of them are the launch's; the others belong to another launch

    @property
    def side(self) -> Side:
        return self.axes[0].side

    @property
    def size(self) -> int:
        """Tokens of a tile."""
        return math.prod(self.box)

    @property
    def is_sequence(self) -> bool:
        """Whether coordinates are positions."""
        return self.axes == (SEQUENCES[self.side],)

    @property
    def position(self) -> Expr:
        """The position of a token, from its coordinates."""
        return reduce(ex.add, (a.step * a.token for a in self.axes), self.origin)

    @property
    def moving(self) -> tuple[Axis, ...]:
        """The axes along which the rows of a tile differ."""
        return tuple(a for a, n in zip(self.axes, self.box, strict=True) if n > 1 or a.first is not a.token)

    @property
    def scalars(self) -> tuple[Expr, ...]:
        """What places the coordinates: the origin, and of each axis the start, the stop and the step."""
        return (self.origin, *(e for a in self.axes for e in (a.start, a.stop, a.step)))

    @property
    def sizes(self) -> tuple[Expr, ...]:
        """The parameters that coordinates lie below."""
        found = (a.token.value.size for a in self.axes if isinstance(a.token.value, Coordinate))
        return tuple(ex.param(size) for size in found if isinstance(size, ParamDecl))

    def lines(self) -> list[str]:
        """The layout as the text of a program says it; nothing for a sequence."""
        if self.is_sequence:
            return []
        lines = [f"lay {self.side} = {self.position}"]
        for a, n in zip(self.axes, self.box, strict=True):
            size = a.token.value.size if isinstance(a.token.value, Coordinate) else None
            below = "" if size is None else f" < {size.name if isinstance(size, ParamDecl) else size}"
            lines.append(f"axis {a.token}{below} in [{a.start}, {a.stop}) by {n}")
        return lines


def sequence(side: Side, tile: int) -> Layout:
    """The layout in which a tile is a run of tokens."""
    return Layout((SEQUENCES[side],), (tile,))
