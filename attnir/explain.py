"""Explaining: how a pattern is computed at a length, with exact counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from attnir.arrange import Arrangement, Programs
from attnir.blocks import BlockList, list_blocks
from attnir.call import Call, check_sizes
from attnir.codegen.configure import Choice, configure, tile_of
from attnir.codegen.plan import Plan
from attnir.codegen.targets import Target, current_target
from attnir.count import TileCounts, count_launches
from attnir.errors import BackendError, ConfigError
from attnir.evaluate import row_table
from attnir.expr import K, Q, field
from attnir.inputs import check_dtype, check_widths
from attnir.labels import TOKEN, in_order
from attnir.live import live_pairs_of
from attnir.ops import FieldDecl, Side
from attnir.program import TileProgram
from attnir.traverse import nodes, reads, tensors_of

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
        copies = f", {c.batch} samples x {c.heads} heads" if c.batch * c.heads > 1 else ""
        pairs = c.batch * c.heads * c.q_len * c.k_len
        lines = [
            f"pattern       {self.attention.pattern}",
            f"at            {c.q_len:,} queries from position {c.q_start:,}, {c.k_len:,} keys{copies}{self._note()}",
            f"for           {self._executor()}" + (f", {self.choice.config}" if self.choice else ""),
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
        ]
        return "\n".join(lines)


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
        lines.append(f"  layout: {a.taken.name}, which visits least; {seen}")
    return lines


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "no pairs"


def _tiles(t: TileCounts) -> str:
    return f"{t.full:,} full, {t.partial:,} partial, {t.empty:,} empty"


def explain(
    attention: Attention,
    q_len: int,
    k_len: int | None = None,
    *,
    heads: int | None = None,
    batch: int = 1,
    tile: tuple[int, int] | None = None,
    d: int = 64,
    dv: int | None = None,
    dtype: torch.dtype = torch.bfloat16,
    target: str | None = None,
    backend: str | None = None,
    q_start: int | None = None,
    **bindings: object,
) -> Explanation:
    """How an attention is computed at a length.

    q_len, k_len    lengths; k_len = q_len when left out
    heads, batch    how many of them are counted; it matters where the pattern reads h or b. Left out, 1 is, or as many
                    heads as the pattern has masks for
    tile            (query rows, key columns) of a tile; the configuration's when left out
    d, dv, dtype    head widths and dtype, which the choice of a configuration depends on
    target          "sm_90", "gfx942", ...: the GPU at hand, sm_90 where there is none
    backend         "triton" or "torch": whose tiles are meant
    bindings        the pattern's fields and parameters, as in a call

    >>> import attnir as an
    >>> e = an.compile(an.causal()).explain(16384, tile=(128, 64))
    >>> e.live_pairs, e.metadata_bytes, round(e.over_compute, 3)
    (134225920, 0, 1.008)
    """
    dv = d if dv is None else dv
    check_widths(d, dv)
    check_dtype("dtype", dtype)
    backend = backend or ("torch" if attention.plan.backend == "torch" else "triton")
    if backend not in ("triton", "torch"):
        raise BackendError(f"tiles are those of triton or torch; {backend!r} has none")
    if not (tile is None or _is_pair(tile)):
        raise ConfigError(f"a tile is (query rows, key columns), two integers from 1, not {tile!r}")
    heads = heads if heads is not None else attention.pattern.heads or 1
    call = attention.signature.bind(
        bindings,
        batch=batch,
        heads=heads,
        q_len=q_len,
        k_len=q_len if k_len is None else k_len,
        q_start=q_start,
        device=_device_of(bindings),
    )
    check_sizes(call, *attention.pattern.roots)
    described = Target.parse(target) if target else current_target()
    plan = attention.plan.on(call)
    choice, forward_tile, key_tile = _tiling(plan, backend, described, d, dv, dtype)
    if tile is not None:
        choice, forward_tile, key_tile = None, tile, tile
    arrangement = plan.arrangement(forward_tile)
    transposed = plan.arrangement(key_tile, transposed=True)
    blocks = {p: list_blocks(p, call) for programs in arrangement.taken.launches for p in programs if p.listed}
    return Explanation(
        attention,
        call,
        str(described),
        backend,
        choice,
        arrangement,
        transposed,
        live_pairs_of(attention.pattern.predicate, plan.pattern.spaces, call),
        count_launches(arrangement.taken.launches, call, blocks),
        count_launches(transposed.taken.launches, call),
        forward_tile,
        sum(metadata_bytes(programs, call, blocks) for programs in arrangement.taken.launches),
        d,
        dv,
    )


def _is_pair(tile: object) -> bool:
    return isinstance(tile, tuple | list) and len(tile) == 2 and all(type(n) is int and n >= 1 for n in tile)


def _device_of(bindings: Mapping[str, object]) -> torch.device:
    """Where the fields are; the counting happens there."""
    given = [t for b in bindings.values() for t in (b if isinstance(b, tuple) else (b,)) if isinstance(t, torch.Tensor)]
    return given[0].device if given else torch.device("cpu")


def _tiling(
    plan: Plan, backend: str, target: Target, d: int, dv: int, dtype: torch.dtype
) -> tuple[Choice | None, tuple[int, int], tuple[int, int]]:
    """(how the forward's configuration was chosen, its tile, the transposed program's tile)."""
    if backend == "torch":
        from attnir.codegen.torch.target import default_tile

        tile = default_tile(d, dv, dtype)
        return None, tile, tile
    forward, dkv = (configure(plan, kind, target, d, dv, dtype) for kind in ("forward", "dkv"))
    return forward, tile_of("forward", forward.config), tile_of("dkv", dkv.config)


def metadata_bytes(programs: Programs, call: Call, blocks: Mapping[TileProgram, BlockList]) -> int:
    """What a kernel of these programs, with their block lists, reads besides q, k, v, do, o and lse."""
    expressions = [e for p in programs for e in p.expressions()]
    if programs[0].label is not None:
        call = in_order(call, programs[0].label)
        expressions += [field(TOKEN, token) for token in (Q, K)]
    tables = dict.fromkeys(t for p in programs for t in p.tables())
    total = sum(t.numel() * t.element_size() for t in (row_table(e, call) for e in tables))
    total += sum(blocks[p].nbytes for p in programs if p in blocks)
    total += sum(t.numel() * t.element_size() for t in (call.tensors[d.name] for d in tensors_of(*expressions)))
    for name in {n.value.name for n in nodes(*expressions) if isinstance(n.value, FieldDecl)}:
        queries, keys = (call.fields[name].on(side) for side in Side)
        total += sum(t.numel() * t.element_size() for t in ((keys,) if _inside(queries, keys) else (queries, keys)))
    return total


def _inside(part: Tensor, whole: Tensor) -> bool:
    """Whether one tensor lies in the memory of another."""
    return whole.data_ptr() <= part.data_ptr() and _end(part) <= _end(whole)


def _end(t: Tensor) -> int:
    """One past the last byte of a tensor."""
    last = sum((n - 1) * step for n, step in zip(t.shape, t.stride(), strict=True)) if t.numel() else -1
    return t.data_ptr() + (last + 1) * t.element_size()
