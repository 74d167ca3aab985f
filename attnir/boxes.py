"""Boxes: what a predicate leaves of several column axes at once, and the sweeps over the tiles of such a box.

A conjunction whose comparisons each bound one axis is a product of bands: over a tile of rows every axis has its own
range, and the tiles inside all full ranges are FULL. Where a comparison bounds several axes together (a disc), what it
implies for each axis alone bounds the box, and the comparison stays as a residual condition.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce

from attnir import expr as ex
from attnir.axes import SEQUENCES, Axis, Layout
from attnir.bounds import bounds
from attnir.digits import carried
from attnir.expr import TRUE, ZERO, Expr, maximum, minimum
from attnir.linear import Linear, linear, simplify
from attnir.ops import POSITION_LIMIT, Op
from attnir.order import at_most
from attnir.program import Status, Sweep
from attnir.rows import highest, lowest
from attnir.solve import Band, solve
from attnir.sweeps import Lets
from attnir.traverse import contains

Box = tuple[Band, ...]  # one band for each column axis; together they say what the predicate says


def solve_boxes(predicate: Expr, columns: Layout, row: Expr) -> list[Box]:
    """The predicate as a union of boxes over the axes of `columns`."""
    tokens = [a.token for a in columns.axes]
    raw = SEQUENCES[columns.side].token
    return list(_boxes(_with_implied(predicate, tokens), tokens, raw, row))


def _boxes(predicate: Expr, tokens: Sequence[Expr], raw: Expr, row: Expr) -> Iterator[Box]:
    token, *rest = tokens
    for band in solve(predicate, token, row, frozenset({*rest, raw})):
        later = [g for g in band.guards if any(contains(g, t) for t in rest)]
        late = tuple(g for g in band.guards if g not in later and contains(g, raw))
        now = tuple(g for g in band.guards if g not in later and g not in late)
        first = Band(band.lower, band.upper, now, (*band.residual, *late))
        if not rest:
            yield (first,)
            continue
        for tail in _boxes(reduce(ex.and_, later, TRUE), rest, raw, row):
            yield (first, *tail)


def said(box: Box, columns: Layout) -> Expr:
    """The box as a predicate."""
    parts = [
        part
        for axis, band in zip(columns.axes, box, strict=True)
        for part in (
            *(low <= axis.token for low in band.lower),
            *(axis.token < high for high in band.upper),
            *band.guards,
            *band.residual,
        )
    ]
    return reduce(ex.and_, parts, TRUE)


def _with_implied(predicate: Expr, tokens: Sequence[Expr]) -> Expr:
    """The predicate, and what each of its comparisons over several axes implies for one of them."""
    match predicate.op:
        case Op.AND:
            return ex.and_(*(_with_implied(a, tokens) for a in predicate.args))
        case Op.OR:
            return ex.or_(*(_with_implied(a, tokens) for a in predicate.args))
        case Op.LE | Op.LT:
            form = linear(ex.sub(*predicate.args))
        case Op.GE | Op.GT:
            form = linear(ex.sub(*predicate.args)).times(-1)
        case _:
            return predicate
    if sum(contains(predicate, t) for t in tokens) < 2:
        return predicate
    strict = predicate.op in (Op.LT, Op.GT)
    for token in tokens:
        alone = _alone(form, token, tokens)
        if alone is not None:
            predicate = predicate & ex.compare(Op.LT if strict else Op.LE, alone.expr(), ZERO)
    return predicate


def _alone(form: Linear, token: Expr, tokens: Sequence[Expr]) -> Linear | None:
    """The form with what other axes add to it at its least; None where that has no bound."""
    terms, constant = [], form.constant
    for atom, c in form.terms:
        if not any(contains(atom, t) for t in tokens if t is not token):
            terms.append((atom, c))
            continue
        found = bounds(atom)
        if contains(atom, token) or (c > 0 and found.low < 0) or (c < 0 and found.high >= POSITION_LIMIT):
            return None
        constant += c * (found.low if c > 0 else found.high)
    return Linear(tuple(terms), constant)


def box_sweeps(box: Box, rows: Layout, columns: Layout, names: Lets) -> tuple[Layout, tuple[Sweep, ...]]:
    """(columns, sweeps): the columns begin and end where the box does, and the sweeps visit each tile of them once."""
    axes, counts, insides = [], [], []
    no_full = any(band.residual for band in box)
    for axis, extent, band in zip(columns.axes, columns.box, box, strict=True):
        lower, upper = band.span(axis.start, axis.stop)
        start = names.let(f"{axis.name}_start", _clamped(lowest(lower, rows), axis))
        stop = names.let(f"{axis.name}_stop", _clamped(highest(upper, rows), axis))
        count = names.let(f"{axis.name}_tiles", (maximum(stop - start, 0) + (extent - 1)) // extent)
        axes.append(Axis(axis.token, start, stop, axis.first, axis.last, axis.step))
        counts.append(count)
        if not no_full:
            begin, end = highest(lower, rows), lowest(upper, rows)
            first = (maximum(simplify(begin - start), 0) + (extent - 1)) // extent
            first = carried(first)
            first = first if first is ZERO else names.let(f"{axis.name}_full_start", minimum(first, count))
            last = maximum(simplify(minimum(end, stop) - start), 0) // extent
            insides.append((first, names.let(f"{axis.name}_full_stop", maximum(first, last))))
    return Layout(tuple(axes), columns.box, columns.origin), tuple(_slabs(counts, insides))


def _clamped(e: Expr, axis: Axis) -> Expr:
    found = carried(e)
    if not at_most(axis.start, found):
        found = maximum(found, axis.start)
    return found if at_most(found, axis.stop) else minimum(found, axis.stop)


def _slabs(counts: Sequence[Expr], insides: Sequence[tuple[Expr, Expr]]) -> Iterator[Sweep]:
    """The FULL tiles inside, and the others in slabs: for each axis those before and those behind the inner ones."""
    if not insides:
        yield Sweep((ZERO,) * len(counts), tuple(counts), Status.PARTIAL)
        return
    starts, stops = zip(*insides, strict=True)
    yield Sweep(starts, stops, Status.FULL)
    for i, (start, stop) in enumerate(insides):
        before, after = starts[:i], (ZERO,) * (len(counts) - i - 1)
        upto, behind = stops[:i], tuple(counts[i + 1 :])
        if start is not ZERO:
            yield Sweep((*before, ZERO, *after), (*upto, start, *behind), Status.PARTIAL)
        if stop is not counts[i]:
            yield Sweep((*before, stop, *after), (*upto, counts[i], *behind), Status.PARTIAL)
