"""Which query is meant: by its position, or by its coordinates."""

from __future__ import annotations

import math

from attnir.call import Call
from attnir.errors import ShapeError
from attnir.grids import grids_of
from attnir.space import Space

Query = int | tuple[int, ...]  # a position, or the coordinates of a token


def index_of(query: object, space: Space | None, call: Call) -> int:
    """The index of the query that is meant: by its position, or by coordinates in a region of its space.

    Raises ShapeError where no query stands there.
    """
    position = query if isinstance(query, int) and not isinstance(query, bool) else _position(query, space, call)
    if not 0 <= position - call.q_start < call.q_len:
        last = call.q_start + call.q_len - 1
        raise ShapeError(f"no query stands at position {position}; queries stand at positions {call.q_start} to {last}")
    return position - call.q_start


def _position(query: object, space: Space | None, call: Call) -> int:
    grids = grids_of(space, call.params, call.q_len) if space else ()
    if not (isinstance(query, tuple | list) and query and all(type(c) is int for c in query)):
        raise ShapeError(f"a query is a position, or the coordinates of a token: 200, or (3, 10, 12); not {query!r}")
    fitting = [g for g in grids if len(g.axes) == len(query)]
    if len(fitting) != 1:
        arranged = f"with {space}, {len(fitting)} regions have" if space else "where queries have no space, none has"
        raise ShapeError(f"{tuple(query)} are coordinates along {len(query)} axes; {arranged} as many: give a position")
    (grid,) = fitting
    if not all(0 <= c < n for c, n in zip(query, grid.sizes, strict=True)):
        sizes = ", ".join(f"{a} below {n}" for a, n in zip(grid.axes, grid.sizes, strict=True))
        raise ShapeError(f"{tuple(query)} lies outside {space}: coordinates are integers from 0, {sizes}")
    strides = [math.prod(grid.sizes[i + 1 :]) for i in range(len(grid.sizes))]
    inside: int = sum(c * s for c, s in zip(query, strides, strict=True))
    return grid.start + inside
