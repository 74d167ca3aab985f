"""What is known of one attention at one length, and the text that says it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnir.arrange import Arrangement
from attnir.call import Call
from attnir.certificate import Certificate
from attnir.codegen.configure import Choice
from attnir.count import TileCounts
from attnir.expr import Expr
from attnir.notebook import folded, never_raises, table
from attnir.separate import described
from attnir.traverse import reads

if TYPE_CHECKING:
    from attnir.api import Attention


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the compiler knows about one attention at one length. Prints as text.

    live_pairs      pairs (query, key) that the pattern allows, over all samples and heads; exact
    visited_pairs   pairs inside the tiles that the forward kernel computes
    over_compute    visited_pairs / live_pairs; 0 where nothing is visited, infinite where nothing of it is live
    tiles           counts of the forward's tiles: full, partial, empty
    metadata_bytes  what the forward kernel reads besides q, k, v: fields, row tables, block lists
    arrangement     the layouts and tile programs of the forward, and what they were compared with; `transposed` are
                    those of dK and dV
    certificate     what was checked of it, if `Attention.certificate` was called
    by_chance       the selections that are not given: their lists are those of random scores
    """

    attention: Attention
    call: Call
    target: str
    backend: str
    choice: Choice | None  # None where the tile was given
    arrangement: Arrangement
    transposed: Arrangement
    live_pairs: int
    tiles: TileCounts
    transposed_tiles: TileCounts
    tile: tuple[int, int]
    metadata_bytes: int
    d: int
    dv: int
    certificate: Certificate | None
    by_chance: tuple[str, ...] = ()

    @property
    def visited_pairs(self) -> int:
        return (self.tiles.full + self.tiles.partial) * self.tile[0] * self.tile[1]

    @property
    def over_compute(self) -> float:
        if self.live_pairs:
            return self.visited_pairs / self.live_pairs
        return math.inf if self.visited_pairs else 0.0

    @property
    def flops(self) -> int:
        """Multiplications and additions of the forward's matrix products."""
        return 2 * (self.d + self.dv) * self.visited_pairs

    def _note(self) -> str:
        """What is left out, where the pattern differs from head to head or from sample to sample."""
        read = frozenset().union(*map(reads, self.attention.pattern.roots))
        alone = [
            f", {name} 0 alone: give {argument}=..."
            for letter, name, argument in (("h", "head", "heads"), ("b", "sample", "batch"))
            if letter in read and getattr(self.call, argument) == 1
        ]
        return "".join(alone)

    def _executor(self) -> str:
        """Who computes it, and whose tiles are shown."""
        tiles = "torch tiles" if self.backend == "torch" else f"triton on {self.target}"
        dense = self.attention.plan.backend == "reference" and "reference, which computes every pair; shown here: "
        return f"{dense or ''}{tiles}"

    def _visited(self) -> str:
        if not self.visited_pairs:
            return "nothing: the kernels write zeros"
        if not self.live_pairs:
            return f"{self.visited_pairs:,} pairs, none of them live"
        return f"{self.visited_pairs:,} pairs, over-compute {self.over_compute:.3f}"

    def __str__(self) -> str:
        c = self.call
        copies = f", {_counted(c.batch, 'sample')} x {_counted(c.heads, 'head')}" if c.batch * c.heads > 1 else ""
        pairs = c.batch * c.heads * c.q_len * c.k_len
        lines = [
            f"pattern       {self.attention.pattern}",
            *_bias(self.attention.pattern.score),
            f"at            {c.q_len:,} queries from position {c.q_start:,}, {c.k_len:,} keys{copies}{self._note()}",
            f"for           {self._executor()}" + (f", {self.choice.config}" if self.choice else ""),
            *([f"lists         {said_of_chance(self.by_chance)}"] if self.by_chance else []),
            "",
            *_tiles_compared(self.choice),
            "forward",
            *_programs(self.arrangement),
            "transposed, for dK and dV",
            *_programs(self.transposed),
            "",
            f"live pairs    {self.live_pairs:,} of {pairs:,} ({_percent(self.live_pairs, pairs)})",
            f"visited       {self._visited()}",
            f"tiles         {_tiles(self.tiles)}; transposed: {_tiles(self.transposed_tiles)}",
            f"metadata      {self.metadata_bytes:,} bytes read besides q, k, v",
            f"cost          {self.flops / 1e9:,.1f} GFLOP in the forward's products at D = {self.d}, Dv = {self.dv}",
            f"proof         {self.certificate.summary if self.certificate else 'none kept; certificate() makes one'}",
        ]
        return "\n".join(lines)

    @never_raises
    def _repr_html_(self) -> str:
        """The counts as a table, everything else as text below it; for notebooks."""
        call, t = self.call, self.tiles
        over = f"{self.over_compute:.3f}" if self.live_pairs else "none live"
        rows = {
            "queries x keys": f"{call.q_len:,} x {call.k_len:,}",
            "samples x heads": f"{call.batch} x {call.heads}{self._note()}",
            "tile": f"{self.tile[0]} x {self.tile[1]}",
            "live pairs": f"{self.live_pairs:,}",
            "visited pairs": f"{self.visited_pairs:,}",
            "over-compute": over,
            "tiles": _tiles(t),
            "metadata": f"{self.metadata_bytes:,} bytes",
        }
        return table(rows) + folded("tile programs, and everything else", str(self))


def said_of_chance(names: Sequence[str]) -> str:
    """That lists are typical, and no more: how many are chosen, and which, tokens say."""
    return f"{', '.join(names)} by random scores; give {names[0]}=... for those of a call"


def _bias(score: Expr) -> list[str]:
    """What is known of the rank of what a score adds, where that depends on both tokens."""
    said = described(score)
    return [] if said is None else [f"bias          {said}"]


def _tiles_compared(choice: Choice | None) -> list[str]:
    """The tiles that a configuration was chosen from, where there were several, and they differ in cost."""
    if choice is None or len(choice.compared) < 2:
        return []
    least = min(cost for *_, cost in choice.compared)
    if least == 0:  # nothing is visited in the nominal call
        return []
    seen = (f"{c.block_q} x {c.block_k} {cost / least:.2f}x" for c, _, cost in choice.compared)
    return [f"tiles by cost: {', '.join(seen)}", ""]


def _programs(a: Arrangement) -> list[str]:
    """The programs of every launch, and how the layout was chosen."""
    lines = []
    for i, programs in enumerate(a.taken.launches):
        if len(a.taken.launches) > 1:
            lines.append(f"  launch {i + 1} of {len(a.taken.launches)}, for some of the rows")
        for j, program in enumerate(programs):
            lines += ["  and, in the same softmax,"] * (j > 0)
            lines += [f"  {line}" for line in str(program).splitlines()]
    if a.others and a.taken.visited:
        seen = ", ".join(f"{c.name} {c.visited / a.taken.visited:.2f}x" for c in a.others)
        lines.append(f"  layout: {a.taken.name}, {_why(a)}; {seen}")
    return lines


def _why(a: Arrangement) -> str:
    """Why a layout was taken: others may visit less, where a list has to earn its memory or values decide."""
    less = [c for c in a.others if c.visited < a.taken.visited]
    if not less:
        return "which visits least"
    lists = not a.taken.listed and all(c.listed for c in less)
    return "as a list leaves out too little" if lists else "though others visit less in the nominal call"


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "no pairs"


def _tiles(t: TileCounts) -> str:
    return f"{t.full:,} full, {t.partial:,} partial, {t.empty:,} empty"
