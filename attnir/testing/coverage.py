"""What random cases have covered: nodes of the language, axes of calls, ways to find the live tiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from attnir.codegen.plan import Plan
from attnir.expr import Expr
from attnir.ops import TABLES, Op
from attnir.program import TileProgram
from attnir.real import ONE, SCORE, tensors_read
from attnir.scores import pattern
from attnir.testing.case import Case
from attnir.traverse import nodes, reads

# What a pattern is made of; the others stand in programs alone.
LANGUAGE = tuple(op for op in Op if op not in TABLES and op not in (Op.ROWMIN, Op.ROWMAX))
AXES = (
    *("float32", "bfloat16", "float16", "bhsd", "bshd", "padded", "normal", "peaked", "offset"),
    *("Sq = Sk", "Sq < Sk", "Sq > Sk", "q_start", "several samples", "grouped heads", "Dv is not D", "split widths"),
    *("long", "dead rows", "scale", "score", "parameter", "sorted field", "unsorted field", "field by sample"),
    *("field of both sides", "tensor of samples", "tensor of heads", "grid", "regions", "part of a grid"),
    *(
        "head maps",
        "heads fixed",
        "compiler's tiles",
        "selection",
        "learned scalar",
        "learned by row",
        "learned by column",
        "learned by pair",
    ),
    *("sink", "landmarks", "undivided weights", "divided weights", "factor"),
)
WAYS = ("closed ranges", "row tables", "block lists", "layouts", "an order", "several programs", "several launches")


@dataclass
class Coverage:
    """How often each was met: nodes by operation, axes and ways by name."""

    nodes: Counter[str] = field(default_factory=Counter)
    axes: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)

    def add(self, case: Case, tile: tuple[int, int]) -> None:
        """Count a case, in tiles of so many queries and keys."""
        self.nodes.update({n.op.value for n in nodes(*pattern(case.pattern).roots)})
        self.axes.update(set(_axes(case)))
        self.ways.update(set(_ways(case, tile)))

    def missed(self) -> dict[str, list[str]]:
        """What was not met, by kind."""
        every = {"nodes": [op.value for op in LANGUAGE], "axes": list(AXES), "ways": list(WAYS)}
        return {kind: [n for n in names if not getattr(self, kind)[n]] for kind, names in every.items()}


def _axes(case: Case) -> Iterator[str]:
    call, p = case.call, pattern(case.pattern)
    yield from (str(case.dtype).removeprefix("torch."), case.layout, case.kind)
    yield "Sq = Sk" if call.q_len == call.k_len else "Sq < Sk" if call.q_len < call.k_len else "Sq > Sk"
    learned = [reads(n) for e in {case.score, *case.weights.roots} for _, n in tensors_read(e)]
    said = {
        "q_start": case.q_start is not None,
        "several samples": case.batch > 1,
        "grouped heads": case.heads > case.kv_heads,
        "head maps": case.maps is not None,
        "Dv is not D": case.dv not in (None, case.d),
        "split widths": bool(case.d & (case.d - 1)),
        "long": max(call.q_len, call.k_len) > 128,
        "dead rows": not bool(case.live.any(-1).all()),
        "scale": case.scale is not None,
        "score": case.score is not SCORE,
        "parameter": bool(p.params),
        "sorted field": any(f.sorted for f in p.fields),
        "unsorted field": any(not f.sorted for f in p.fields),
        "field by sample": any(v.keys.shape[0] > 1 for v in call.fields.values()),
        "field of both sides": any(isinstance(v, tuple) for v in case.bindings.values()),
        "tensor of samples": any("b" in t.axes for t in p.tensors),
        "tensor of heads": any("h" in t.axes for t in p.tensors),
        "selection": bool(p.selections),
        "learned scalar": any(not {"q", "k"} & axes for axes in learned),
        "learned by row": any({"q"} == {"q", "k"} & axes for axes in learned),
        "learned by column": any({"k"} == {"q", "k"} & axes for axes in learned),
        "learned by pair": any({"q", "k"} <= axes for axes in learned),
        "sink": case.weights.sink is not None,
        "landmarks": case.weights.landmarks is not None,
        "undivided weights": not case.weights.divided,
        "divided weights": case.weights.divided and not case.weights.is_softmax,
        "factor": case.weights.factor is not ONE,
        "grid": any(s is not None for s in p.spaces),
        "regions": any(s is not None and len(s.regions) > 1 for s in p.spaces),
        "part of a grid": any(p.spaces) and not any(Plan(p).on(call).pattern.spaces),
        "heads fixed": p.heads is not None,
        "compiler's tiles": case.tile is None,
    }
    yield from (name for name, holds in said.items() if holds)


def _ways(case: Case, tile: tuple[int, int]) -> Iterator[str]:
    launches = Plan(pattern(case.pattern)).on(case.call).launches(tile)
    yield from (_way(p) for programs in launches for p in programs)
    if len(launches) > 1:
        yield "several launches"
    if any(len(programs) > 1 for programs in launches):
        yield "several programs"


def _way(p: TileProgram) -> str:
    if p.label is not None:
        return "an order"
    if p.listed:
        return "block lists"
    if not (p.rows.is_sequence and p.columns.is_sequence):
        return "layouts"
    return "row tables" if any(_reads_tables(value) for _, value in p.lets) else "closed ranges"


def _reads_tables(value: Expr) -> bool:
    return any(n.op in TABLES for n in nodes(value))
