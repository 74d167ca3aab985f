"""Tiles whose tokens lie apart: the indices of their rows, and of the keys that each of them visits.

A tile's keys stand in two runs: those that every row sees, and those for which the predicate decides; a key that
several programs visit stands there once, so the whole predicate decides. Tiles that visit the same keys share them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attnir.call import Call
from attnir.codegen.torch.schedule import Span, Visit
from attnir.evaluate import Evaluator
from attnir.program import Programs, Status, TileProgram
from attnir.walk import Run, runs, scalars

Indices = NDArray[np.int64]
NO_KEYS: Indices = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _Box:
    """What a program visits in one tile: coordinates [start, stop) along each axis, in FULL and in all tiles."""

    origin: int
    steps: tuple[int, ...]
    parts: tuple[tuple[bool, tuple[tuple[int, int], ...]], ...]  # (full, ranges)

    def keys(self, full: bool) -> Indices:
        """The indices of the keys in FULL tiles, or in all the others."""
        found = [self._indices(ranges) for status, ranges in self.parts if status is full]
        return np.concatenate(found) if found else NO_KEYS

    def _indices(self, ranges: tuple[tuple[int, int], ...]) -> Indices:
        index = np.full((), self.origin, dtype=np.int64)
        for (start, stop), step in zip(ranges, self.steps, strict=True):
            index = index[..., None] + np.arange(start, stop, dtype=np.int64) * step
        return index.ravel()


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """The row tiles of a launch: shape is (B or 1, H or 1), rows the indices of each tile's rows."""

    shape: tuple[int, int]
    rows: list[Indices]
    boxes: list[list[list[list[_Box]]]]  # by sample, head, tile and program
    device: torch.device

    def visits(self, b: int, h: int) -> tuple[tuple[Visit, ...], Tensor, Tensor]:
        """(visits, indices of the rows, indices of the keys) of one sample and head."""
        known: dict[tuple[_Box, ...], tuple[Span, ...]] = {}
        keys: list[Indices] = []
        visits, first_row, first_key = [], 0, 0
        for rows, boxes in zip(self.rows, self.boxes[b][h], strict=True):
            at = tuple(boxes)
            if at not in known:
                spans = []
                for full, found in _parts(at):
                    if len(found):
                        keys.append(found)
                        spans.append(Span(first_key, first_key + len(found), full))
                        first_key += len(found)
                known[at] = tuple(spans)
            visits.append(Visit(first_row, first_row + len(rows), known[at]))
            first_row += len(rows)
        return tuple(visits), self._tensor(self.rows), self._tensor(keys)

    def _tensor(self, parts: list[Indices]) -> Tensor:
        return torch.from_numpy(np.concatenate(parts or [NO_KEYS])).to(self.device)


def _parts(boxes: tuple[_Box, ...]) -> Iterator[tuple[bool, Indices]]:
    """(True, keys that every row sees), (False, the others), each key once."""
    full, partial = (np.concatenate([b.keys(status) for b in boxes]) for status in (True, False))
    if len(boxes) > 1:
        partial = np.setdiff1d(partial, full)
    yield True, full
    yield False, np.sort(partial)


def gather(programs: Programs, call: Call) -> Gathered:
    """The rows and boxes of every tile of a launch."""
    evaluated = [(p, scalars(p, call)) for p in programs]
    found = [(p, e, runs(p, call, e)) for p, e in evaluated]
    rows = _rows(programs[0], call, evaluated[0][1])
    axes = [_axes(p, e, r, len(rows)) for p, e, r in found]
    shape = (max(a.shape[0] for a in axes), max(a.shape[1] for a in axes))
    boxes = [
        [
            [[_box(p, r, a, b, h, t) for (p, _, r), a in zip(found, axes, strict=True)] for t in range(len(rows))]
            for h in range(shape[1])
        ]
        for b in range(shape[0])
    ]
    return Gathered(shape, rows, boxes, call.device)


def _rows(program: TileProgram, call: Call, evaluate: Evaluator) -> list[Indices]:
    """The indices of the rows of each tile that exist."""
    side = program.rows.side
    index = (evaluate.tokens[side.value][0, 0] - call.start(side)).cpu().numpy()
    chosen = evaluate(program.rows.among).expand(1, 1, *index.shape)[0, 0].cpu().numpy()
    chosen &= (index >= 0) & (index < call.length(side))
    return [np.unique(tile[kept]) for tile, kept in zip(index, chosen, strict=True)]


@dataclass(frozen=True, slots=True, eq=False)
class _Axes:
    """Scalars of every tile: origin, then step, start and stop of each column axis; and the sweeps' bounds."""

    shape: tuple[int, int]
    values: NDArray[np.int64]  # [scalars, B or 1, H or 1, tiles]


def _axes(program: TileProgram, evaluate: Evaluator, found: list[Run], tiles: int) -> _Axes:
    columns = program.columns
    scalars = [evaluate(e) for e in (columns.origin, *(x for a in columns.axes for x in (a.step, a.start, a.stop)))]
    values = [s.expand(torch.broadcast_shapes(s.shape, (1, 1, tiles, 1)))[..., 0] for s in scalars]
    values += [t for r in found for ends in zip(r.start, r.stop, strict=True) for t in ends]
    stacked = torch.stack(torch.broadcast_tensors(*values)).cpu().numpy()
    return _Axes((stacked.shape[1], stacked.shape[2]), stacked)


def _box(program: TileProgram, found: list[Run], axes: _Axes, b: int, h: int, tile: int) -> _Box:
    columns, count = program.columns, len(program.columns.axes)
    at = axes.values[:, b if axes.shape[0] > 1 else 0, h if axes.shape[1] > 1 else 0, tile].tolist()
    origin, spans, sweeps = at[0], at[1 : 1 + 3 * count], at[1 + 3 * count :]
    steps, starts, stops = spans[::3], spans[1::3], spans[2::3]
    parts = []
    for i, run in enumerate(found):
        ends = sweeps[2 * count * i : 2 * count * (i + 1)]
        ranges = tuple(
            (start + first * n, min(start + last * n, stop))
            for start, stop, first, last, n in zip(starts, stops, ends[::2], ends[1::2], columns.box, strict=True)
        )
        if all(first < last for first, last in ranges):
            parts.append((run.status is Status.FULL, ranges))
    return _Box(origin, tuple(steps), tuple(parts))
