"""The walk of one head, tile by tile: which rows a row tile has, and which columns it visits, in the order of the walk.

This is what pictures show. The order is that of the tile program; the Triton kernels take the FULL tiles of a program
before its PARTIAL ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from attnir.call import Call
from attnir.labels import TOKEN, in_order
from attnir.ops import Side
from attnir.program import Launches, Status, TileProgram
from attnir.walk import row_tiles, scalars, steps

Runs = tuple[tuple[int, int], ...]  # indices [start, stop), ascending, none next to another


@dataclass(frozen=True, slots=True)
class Visit:
    """A column tile that a row tile visits, and the columns of it that exist."""

    status: Status
    columns: Runs


@dataclass(frozen=True, slots=True)
class RowTile:
    """Some rows, the launch that has them, and what they visit, in order; a launch's programs one after another."""

    launch: int
    rows: Runs
    visits: tuple[Visit, ...]


def runs_of(indices: Iterable[int]) -> Runs:
    """Indices as runs.

    >>> runs_of([7, 3, 4, 5])
    ((3, 6), (7, 8))
    """
    runs: list[tuple[int, int]] = []
    for i in sorted(indices):
        if runs and runs[-1][1] == i:
            runs[-1] = runs[-1][0], i + 1
        else:
            runs.append((i, i + 1))
    return tuple(runs)


def walked(launches: Launches, call: Call, sample: int = 0, head: int = 0) -> tuple[RowTile, ...]:
    """Every row tile of one head of one sample, launch by launch, with its visits in order."""
    found = []
    for launch, programs in enumerate(launches):
        rows = _rows(programs[0], call, sample)
        visits: list[list[Visit]] = [[] for _ in rows]
        for program in programs:
            for into, more in zip(visits, _visits(program, call, sample, head, len(rows)), strict=True):
                into += more
        found += [RowTile(launch, r, tuple(v)) for r, v in zip(rows, visits, strict=True)]
    return tuple(found)


def _rows(program: TileProgram, call: Call, sample: int) -> list[Runs]:
    placed = in_order(call, program.label)
    index, inside = row_tiles(program, placed, scalars(program, placed))
    token = _tokens(program, placed, program.rows.side, sample)
    index, inside = (t.expand(1, 1, *inside.shape[2:])[0, 0] for t in (index, inside))
    return [_existing(i, e, token) for i, e in zip(index.tolist(), inside.tolist(), strict=True)]


def _visits(program: TileProgram, call: Call, sample: int, head: int, tiles: int) -> list[list[Visit]]:
    """What every row tile visits in one program."""
    placed = in_order(call, program.label)
    token = _tokens(program, placed, program.columns.side, sample)
    visits: list[list[Visit]] = [[] for _ in range(tiles)]
    for step in steps(program, placed):
        chosen, columns, inside = (
            _of(t, sample, head).expand(tiles, -1).tolist() for t in (step.chosen, step.columns, step.column_in)
        )
        for into, (here,), index, exists in zip(visits, chosen, columns, inside, strict=True):
            if here:
                into.append(Visit(step.status, _existing(index, exists, token)))
    return visits


def _of(t: Tensor, sample: int, head: int) -> Tensor:
    """One head of one sample, where they differ."""
    return t[min(sample, t.shape[0] - 1), min(head, t.shape[1] - 1)]


def _tokens(program: TileProgram, placed: Call, side: Side, sample: int) -> list[int] | None:
    """The index of the token at every place, where the program is over places."""
    if program.label is None:
        return None
    positions = placed.fields[TOKEN.name].on(side)
    return [p - placed.start(side) for p in positions[min(sample, len(positions) - 1)].tolist()]


def _existing(indices: list[int], exists: list[bool], token: list[int] | None) -> Runs:
    return runs_of(i if token is None else token[i] for i, here in zip(indices, exists, strict=True) if here)
