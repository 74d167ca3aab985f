"""The loops of a kernel: one over all full tiles, one over all partial ones, whatever the number of sweeps.

Loops in a row, and nested loops, keep each other's addresses in registers, so sweeps of one status share a loop, and in
dK and dV the same loop runs over the query heads of the key head as well. Only where the tiles differ from head to
head does a loop over heads stand outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from attnir.codegen.triton.frame import Frame
from attnir.codegen.triton.tiles import first_column, row_coordinates_reduced
from attnir.program import Status, Sweep


@dataclass(frozen=True, slots=True)
class Body:
    """What is done with the column tiles of a program: what partial ones need beforehand, then one tile.

    What only partial tiles need stands behind the loop over full ones, where it takes no registers.
    """

    before_partial: Callable[[], None]
    tile: Callable[[Status], None]


@dataclass(frozen=True, slots=True)
class Run:
    """Some of the steps of a loop, up to `end`, and the column tile (listed: where its index stands) of the first.

    starts: its index along every axis; counts: how many tiles there are along each axis.
    """

    starts: tuple[str, ...]
    end: str
    counts: tuple[str, ...] = ()


COMMENT = {
    Status.FULL: "Full tiles: every pair is live, so nothing is checked.",
    Status.PARTIAL: "Partial tiles: the predicate decides for each pair, and the end of the {axis} is checked.",
}


def write_loops(f: Frame, before: Callable[[], Body]) -> None:
    """Write the loops of every program.

    `before` writes what a program's tiles have in common, and returns what writes one: it finds the first token of the
    column tile in `first_key` (`first_query` for dK and dV).
    """
    if f.loops_over_heads and f.walks_by_head:
        with f.w.block("for member in tl.range(0, group):"):
            f.head("kv_head * group + member")
            _programs(f, before, over_heads=False)
    else:
        _programs(f, before, over_heads=f.loops_over_heads)


def _programs(f: Frame, before: Callable[[], Body], *, over_heads: bool) -> None:
    for program in f.programs:
        f.program = program
        row_coordinates_reduced(f)
        f.scalars()
        _loops(f, before(), over_heads=over_heads)


def _loops(f: Frame, body: Body, *, over_heads: bool) -> None:
    for status in Status:
        if any(v.status is status for v in f.program.visits):
            f.w.line()
            if status is Status.PARTIAL:
                body.before_partial()
            f.w.line("# " + COMMENT[status].format(axis=f.columns.index))
            with _loop(f, status, over_heads):
                body.tile(status)


@contextmanager
def _loop(f: Frame, status: Status, over_heads: bool) -> Iterator[None]:
    runs = list(_runs(f, status, over_heads))
    if len(runs) == 1 and not over_heads and not f.program.listed and len(f.program.columns.axes) == 1:
        sweep = next(v for v in f.program.visits if isinstance(v, Sweep) and v.status is status)
        show = f.printer()
        with f.w.block(f"for {f.columns.side}_tile in tl.range({show(sweep.start[0])}, {show(sweep.stop[0])}):"):
            first_column(f, [f"{f.columns.side}_tile"])
            yield
        return
    with _steps(f, runs[-1].end, over_heads):
        first_column(f, _write_tile(f, status, runs))
        yield


@contextmanager
def _steps(f: Frame, span: str, over_heads: bool) -> Iterator[None]:
    """A loop in which `at` counts the tiles of a head."""
    if not over_heads:
        with f.w.block(f"for at in tl.range(0, {span}):"):
            yield
        return
    with f.w.block(f"for step in tl.range(0, {span} * group):"):
        f.w.let("member", f"step // tl.maximum({span}, 1)")
        f.w.let("at", f"step - member * {span}")
        f.head("kv_head * group + member")
        yield


def _runs(f: Frame, status: Status, over_heads: bool) -> Iterator[Run]:
    """The runs of one status; writes their lengths."""
    if f.program.listed:
        name = status.value
        head = "" if f.loops_over_heads and not f.walks_by_head else " + h * list_head"
        f.w.let(f"{name}_row", f"b * list_batch{head} + tile")
        f.w.let(f"{name}_start", f"tl.load({name}_offsets + {name}_row)")
        f.w.let(f"{name}_count", f"tl.load({name}_offsets + {name}_row + 1) - {name}_start")
        yield Run((f"{name}_start",), f"{name}_count")
        return
    show = f.printer()
    sweeps = [v for v in f.program.visits if isinstance(v, Sweep) and v.status is status]
    if len(sweeps) == 1 and not over_heads and len(f.program.columns.axes) == 1:
        yield Run(("",), "")
        return
    before = ""
    for i, sweep in enumerate(sweeps):
        end = f"{status.value}_{i}"
        f.w.line("# " + " x ".join(f"[{a}, {b})" for a, b in zip(sweep.start, sweep.stop, strict=True)))
        starts, counts = [], []
        for a, b in zip(sweep.start, sweep.stop, strict=True):
            start, stop = show.text(a), show.text(b)
            counts.append(f"tl.maximum({stop.source} - {start.within(5)}, 0)")
            starts.append(start.within(4))
        if len(counts) > 1:
            for axis, count in zip(f.program.columns.axes, counts, strict=True):
                f.w.let(f"{end}__{axis.name}", count)
            counts = [f"{end}__{axis.name}" for axis in f.program.columns.axes]
        f.w.let(end, f"{before and f'{before} + '}{' * '.join(counts)}")
        yield Run(tuple(starts), end, tuple(counts))
        before = end


def _write_tile(f: Frame, status: Status, runs: list[Run]) -> list[str]:
    """Find the column tile of step `at`; the names of its index along every axis."""
    name = f"{f.columns.side}_tile"
    if f.program.listed:
        f.w.let(name, f"tl.load({status.value}_indices + {runs[0].starts[0]} + at)")
        return [name]
    axes = f.program.columns.axes
    if len(axes) == 1:
        skipped = ["", *(f" - {r.end}" for r in runs)]
        f.w.let(name, f"{runs[-1].starts[0]} + at{skipped[len(runs) - 1]}")
        for i in reversed(range(len(runs) - 1)):
            f.w.let(name, f"tl.where(at < {runs[i].end}, {runs[i].starts[0]} + at{skipped[i]}, {name})")
        return [name]
    return _write_box(f, runs, [a.name for a in axes])


def _write_box(f: Frame, runs: list[Run], axes: list[str]) -> list[str]:
    """The tile of step `at` in the slab that it falls into: the step is a number with a digit for each axis."""

    def pick(values: list[str]) -> str:
        text = values[-1]
        for run, value in zip(reversed(runs[:-1]), reversed(values[:-1]), strict=True):
            text = value if value == text else f"tl.where(at < {run.end}, {value}, {text})"
        return text

    f.w.let("digits", pick(["at", *(f"at - {r.end}" for r in runs[:-1])]))
    names = [f"tile__{axis}" for axis in axes]
    for i in reversed(range(len(axes))):
        start = pick([r.starts[i] for r in runs])
        begin = "" if start == "0" else f"{start} + "
        if i == 0:
            f.w.let(names[0], f"{begin}digits")
            break
        f.w.let(f"count__{axes[i]}", f"tl.maximum({pick([r.counts[i] for r in runs])}, 1)")
        f.w.let(names[i], f"{begin}digits % count__{axes[i]}")
        f.w.let("digits", f"digits // count__{axes[i]}")
    return names
