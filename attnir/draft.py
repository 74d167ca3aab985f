"""Programs before their boxes have extents, and the choice of these: the ones that visit least in a nominal call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import torch

from attnir import expr as ex
from attnir.axes import SEQUENCES, Layout
from attnir.boxes import Box, said, solve_boxes
from attnir.call import Call
from attnir.cover import MOST_SWEPT, cover_box
from attnir.expr import FALSE, Expr
from attnir.normalise import normalise
from attnir.program import TileProgram
from attnir.walk import sampled_scalars

SAMPLE = 128  # row tiles at most that extents are compared on


@dataclass(frozen=True, slots=True)
class Draft:
    """A box of columns, what of it is visited, and the layout of the columns without extents."""

    box: Box
    predicate: Expr
    columns: Layout
    reason: str

    @staticmethod
    def all_of(predicate: Expr, rows: Layout, columns: Layout, reason: str) -> list[Draft | TileProgram] | None:
        """The boxes of a predicate over coordinates; a pair that several allow belongs to the first. None: too many."""
        boxes = solve_boxes(predicate, columns, SEQUENCES[rows.side].token)
        if len(boxes) > MOST_SWEPT:
            return None
        if len(boxes) == 1:
            return [Draft(boxes[0], predicate, columns, reason)]
        token = SEQUENCES[rows.side].token
        apart = [_apart(box, boxes[:i], columns, token) for i, box in enumerate(boxes)]
        return [Draft(box, normalise(said(box, columns)), columns, reason) for box in apart]

    def program(self, rows: Layout, extents: Sequence[int]) -> TileProgram:
        """The program in boxes of these extents."""
        return cover_box(self.box, self.predicate, rows, replace(self.columns, box=tuple(extents)), self.reason)


def _apart(box: Box, before: Sequence[Box], columns: Layout, row: Expr) -> Box:
    """A box without those before it: a residual condition leaves out what overlaps, and then no tile is FULL."""
    shared = [said(b, columns) for b in before if solve_boxes(said(b, columns) & said(box, columns), columns, row)]
    if not shared:
        return box
    first = replace(box[0], residual=(*box[0].residual, *map(ex.not_, shared)))
    return (first, *box[1:])


def dead(rows: Layout, columns: Layout, tile: tuple[int, int]) -> TileProgram:
    """The program of rows that see nothing."""
    extents = (tile[1], *(1,) * (len(columns.axes) - 1))
    return TileProgram(rows, replace(columns, box=extents), FALSE, (), (), "no row sees a key")


def finished(
    drafts: Sequence[Draft | TileProgram], rows: Layout, tile: tuple[int, int], call: Call
) -> tuple[TileProgram, ...]:
    """The programs, with the extents of rows and columns that visit least; wider last axes where that is the same."""
    free = [a for a in rows.axes if a.token is not a.first]
    fixed = (1,) * (len(rows.axes) - len(free))
    options = [rows] if rows.is_sequence else [replace(rows, box=(*fixed, *b)) for b in boxes(tile[0], len(free))]
    trials = [d.program(rows, (1,) * len(d.columns.axes)) if isinstance(d, Draft) else d for d in drafts]
    best: tuple[int, Layout, list[tuple[int, ...]]] | None = None
    for option in options:
        cost, extents = 0, []
        for draft, trial in zip(drafts, trials, strict=True):
            paid, box = _cheapest(replace(trial, rows=option), tile[1], call) if isinstance(draft, Draft) else (0, ())
            cost += paid * option.size
            extents.append(box)
        if best is None or cost < best[0]:
            best = cost, option, extents
    assert best is not None
    _, chosen, extents = best
    return tuple(
        d.program(chosen, box) if isinstance(d, Draft) else replace(d, rows=chosen)
        for d, box in zip(drafts, extents, strict=True)
    )


def _cheapest(trial: TileProgram, size: int, call: Call) -> tuple[int, tuple[int, ...]]:
    """(columns visited over row tiles, extents) of the cheapest boxes of `size` columns."""
    evaluate, weight = sampled_scalars(trial, call, SAMPLE)
    tiles_of_rows = evaluate.tokens[str(trial.rows.axes[0].first)]
    lengths = ((evaluate(a.stop) - evaluate(a.start)).clamp(min=0) for a in trial.columns.axes)
    spans = torch.broadcast_tensors(*lengths, tiles_of_rows)[:-1]
    best: tuple[int, tuple[int, ...]] | None = None
    for box in boxes(size, len(spans)):
        tiles = [torch.div(span + (n - 1), n, rounding_mode="floor") for span, n in zip(spans, box, strict=True)]
        cost = int(reduce(torch.mul, tiles).sum()) * size * weight
        if best is None or cost < best[0]:
            best = cost, box
    assert best is not None
    return best


def boxes(size: int, axes: int) -> Iterator[tuple[int, ...]]:
    """All ways to cut a power of two into extents along some axes, the widest last axes first.

    >>> list(boxes(4, 2))
    [(1, 4), (2, 2), (4, 1)]
    """
    if axes == 1:
        yield (size,)
        return
    for last in (2**i for i in reversed(range(size.bit_length()))):
        for before in boxes(size // last, axes - 1):
            yield (*before, last)
