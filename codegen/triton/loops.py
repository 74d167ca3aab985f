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
from attnir.program import Status, Sweep

Body = Callable[[Status], None]  # writes what is done with one column tile


@dataclass(frozen=True, slots=True)
class Run:
    """Some of the steps of a loop, up to `end`, and the column tile (listed: where its index stands) of the first."""

    start: str
    end: str


COMMENT = {
    Status.FULL: "Full tiles: every pair is live, so nothing is checked.",
    Status.PARTIAL: "Partial tiles: the predicate decides for each pair, and the end of the {axis} is checked.",
}


def write_loops(f: Frame, body: Body) -> None:
    """Write the loops. `body` finds the column tile's first token in `first_key` (`first_query` for dK and dV)."""
    if f.loops_over_heads and f.walks_by_head:
        with f.w.block("for member in tl.range(0, group):"):
            f.head("kv_head * group + member")
            f.scalars()
            _loops(f, body, over_heads=False)
    else:
        f.scalars()
        _loops(f, body, over_heads=f.loops_over_heads)


def _loops(f: Frame, body: Body, *, over_heads: bool) -> None:
    for status in Status:
        if any(v.status is status for v in f.program.visits):
            f.w.line()
            f.w.line("# " + COMMENT[status].format(axis=f.columns.index))
            with _loop(f, status, over_heads):
                body(status)


@contextmanager
def _loop(f: Frame, status: Status, over_heads: bool) -> Iterator[None]:
    runs = list(_runs(f, status, over_heads))
    first, block = f"first_{f.columns.one}", f.columns.block
    if len(runs) == 1 and not over_heads and not f.program.listed:
        sweep = next(v for v in f.program.visits if isinstance(v, Sweep) and v.status is status)
        show = f.printer()
        with f.w.block(f"for {f.columns.side}_tile in tl.range({show(sweep.start)}, {show(sweep.stop)}):"):
            f.w.let(first, f"{f.columns.side}_tile * {block}")
            yield
        return
    with _steps(f, runs[-1].end, over_heads):
        f.w.let(first, f"{_write_tile(f, status, runs)} * {block}")
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
        yield Run(f"{name}_start", f"{name}_count")
        return
    show = f.printer()
    sweeps = [v for v in f.program.visits if isinstance(v, Sweep) and v.status is status]
    if len(sweeps) == 1 and not over_heads:
        yield Run("", "")
        return
    before = ""
    for i, sweep in enumerate(sweeps):
        start, stop = show.text(sweep.start), show.text(sweep.stop)
        end = f"{status.value}_{i}"
        f.w.line(f"# [{sweep.start}, {sweep.stop})")
        f.w.let(end, f"{before and f'{before} + '}tl.maximum({stop.source} - {start.within(5)}, 0)")
        yield Run(start.within(4), end)
        before = end


def _write_tile(f: Frame, status: Status, runs: list[Run]) -> str:
    """Find the column tile of step `at`; its name."""
    name = f"{f.columns.side}_tile"
    if f.program.listed:
        f.w.let(name, f"tl.load({status.value}_indices + {runs[0].start} + at)")
        return name
    skipped = ["", *(f" - {r.end}" for r in runs)]
    f.w.let(name, f"{runs[-1].start} + at{skipped[len(runs) - 1]}")
    for i in reversed(range(len(runs) - 1)):
        f.w.let(name, f"tl.where(at < {runs[i].end}, {runs[i].start} + at{skipped[i]}, {name})")
    return name
