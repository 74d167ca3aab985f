"""The resource model: which tile sizes, warps and stages fit a target, and which of them is best.

A kernel's needs are estimated from its tiles: 32-bit registers per thread for the fragments of the products, the
scores and the addresses of the copies in flight; bytes of shared memory for the operands and the pipeline's stages.
Candidates that do not fit are dropped, the rest are ranked, and there is always one that fits.

Calibrated against what Triton 3.9 compiles for full, causal, window and document patterns (`make inspect`):

- The estimate orders the kernels of one kind and one set of matrix instructions by whether they spill. What it leaves
  out (indices, lanes' constants, what the scheduler keeps in flight) takes 60 to 120 registers: see `BUDGETS`.
- Loops that are nested, or several loops in a row, keep each other's addresses alive: one flat loop for all full tiles
  and one for all partial ones save 40 to 90 registers (the emitter writes them so).
- sm_80 keeps q in registers, and its products read whole rows of the moving operand into registers.
- sm_90 needs 64 stationary rows for every 4 warps, or it falls back to the instructions of sm_80. Only dK and dV at
  D > 128 do: their two accumulators alone would take 256 registers.
- sm_100 keeps accumulators in tensor memory, except the forward's, which is rescaled in registers; its backward holds
  one stage more than it is asked for.
- gfx942 has 512 registers per thread with 4 warps. Operands pass through them on the way to shared memory and back,
  whole moving tiles at a time; pipelining the backward doubles that, so it is not pipelined.
- On sm_80 a head width of several chunks costs the backward about 60 registers more than its sum.
- float32 on NVIDIA is three products of tf32. Both halves of an operand's chunk are in registers at a time, so chunks
  are 64 wide at most, and all of one width. Warps stand below each other if a tile has as many rows as a chunk has
  columns; else they stand beside each other, and each holds all rows. sm_90 uses its own instructions in the forward up
  to D = 128 and in the backward up to 64. sm_100 does not: D = 64 spilled with all tiles tried (16 moves at best).
- float32 on NVIDIA with more than four chunks: the forward is free of spills. dQ has up to 60 instructions that move
  spilled registers and, at D = Dv = 256 on sm_90 and sm_100, dK and dV up to 70. Of the tiles of 16 to 64, chunks of 32
  and orders of the loads that were tried, none is free of them everywhere.
- Widths above 256: what was calibrated up to there says nothing of them, so their tiles are those of `BROAD`. They are
  free of spills at D = 576, Dv = 512 in bfloat16. Not so at D = Dv = 576: dQ has 33 on sm_80, dK and dV 87. Nor the
  backward in float32 at 576 and 512, where sm_80 has 857 and 1448, gfx942 1272 for dK and dV.
- Told nothing, ptxas may aim at 128 registers (once, at 32) for the sake of occupancy, and spill: `maxnreg` is 255.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import torch

from attnir.codegen.chunks import chunks, equal_chunk
from attnir.codegen.targets import KINDS, Config, Target
from attnir.errors import ConfigError
from attnir.ops import Op
from attnir.program import TileProgram
from attnir.traverse import nodes, reads

# Up to which estimate of registers per thread kernels were seen free of spills, by kind and matrix instructions.
BUDGETS = {
    "forward": {"mma": 170, "wgmma": 195, "tcgen05": 165, "mfma": 355},
    "dq": {"mma": 140, "wgmma": 195, "tcgen05": 150, "mfma": 340},
    "dkv": {"mma": 130, "wgmma": 181, "tcgen05": 150, "mfma": 350},
}
LEAST_WORTH = 64  # tokens of a tile along each side, below which no shape is worth its loads
LAID_OUT = 50  # registers that a walk takes where rows or columns are no runs, or where there are several walks
PER_AXIS = 20  # and each further axis of a column tile
OWN_FORWARD = 40  # all of it, in a forward with the instructions of sm_90 and sm_100, which read shared memory
ORDERED = 0.22  # more for each moving row, in a forward whose tokens stand in an order, and are looked up
# What changing a score takes for each pair of a tile, by matrix instructions: in the forward, and in the backward.
SCORED = {"mma": (0.2, 0.0), "wgmma": (0.75, 0.0), "tcgen05": (0.75, 1.5), "mfma": (0.0, 0.0)}
GATHERED = {"forward": 4, "dq": 6, "dkv": 12}  # and reading a real tensor for each pair, in dQ with its gradient
DRAWN = {"forward": 1.75, "dq": 2.0, "dkv": 2.5}  # and drawing a random number for each pair; with sm_80's
DRAWN_MMA = {"forward": 1.75, "dq": 5.0, "dkv": 5.0}
LANDMARKS = {"forward": 0.0, "dq": 0.5, "dkv": 1.0}  # and a landmark in every tile, for each pair; with sm_80's
LANDMARKS_MMA = {"forward": 0.0, "dq": 3.0, "dkv": 8.0}
SCORED_SPLIT = 24  # where products are three of tf32
SCORED_WIDE = 0.2  # and for each column of wide heads, in sm_100's backward: D + Dv above 256
MOST_CALIBRATED = 256  # the widest D and Dv that the budgets hold for
# The tiles of wider ones, (queries, keys), and their warps; the least tiles where a launch takes more than a plain one.
BROAD = {
    "cuda": (8, {"forward": (32, 32), "dq": (16, 16), "dkv": (16, 16)}),
    "hip": (4, {"forward": (32, 16), "dq": (32, 16), "dkv": (16, 16)}),
}
LEAST = Config(16, 16, 8, 1)  # the tiles that need least where products are three of tf32
SPLIT_BUDGETS = {
    "forward": {"mma": 255, "wgmma": 155},
    "dq": {"mma": 231, "wgmma": 155},
    "dkv": {"mma": 222, "wgmma": 150},
}


class Extra(NamedTuple):
    """What a launch takes besides what `Estimate` counts: registers of its walk, and what its tiles do more."""

    walk: int = 0
    ordered: bool = False
    scored: bool = False
    gathers: int = 0  # real tensors read for every pair
    draws: int = 0  # random numbers drawn for every pair
    block: int = 0  # keys that a tile must have; 0: any


NOTHING = Extra()


@dataclass(frozen=True, slots=True)
class Problem:
    """What a configuration is chosen for."""

    kind: str
    target: Target
    d: int
    dv: int
    itemsize: int

    @property
    def widths(self) -> tuple[int, int]:
        """D and Dv as the kernel computes them, padding included."""
        return sum(chunks(self.d, self.chunk)), sum(chunks(self.dv, self.chunk))

    @property
    def chunk(self) -> int | None:
        """The width of every chunk where products are three of tf32."""
        return equal_chunk(self.d, self.dv, self.itemsize, self.target.family)

    @property
    def splits(self) -> bool:
        """Whether products are three of tf32, of operands split into a large and a small half."""
        return self.chunk is not None

    @property
    def is_wide(self) -> bool:
        """Whether products of three have so many chunks that only the least tiles do."""
        return self.chunk is not None and sum(self.widths) > 4 * self.chunk

    @property
    def is_broad(self) -> bool:
        """Whether the budgets say nothing of it: other tiles are tried then."""
        return not self.splits and max(self.d, self.dv) > MOST_CALIBRATED

    @property
    def is_padded(self) -> bool:
        """Whether a chunk of equal width holds padding, which has to be masked in every tile."""
        return self.chunk is not None and any(w % self.chunk for w in (self.d, self.dv))

    @property
    def summed(self) -> int:
        """Columns of what is summed up."""
        d, dv = self.widths
        return {"forward": dv, "dq": d, "dkv": d + dv}[self.kind]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A configuration against a problem."""

    p: Problem
    c: Config
    extra: Extra = NOTHING

    @property
    def rows(self) -> int:
        """Rows of the tile that an instance keeps: keys for dK and dV, queries otherwise."""
        return self.c.block_k if self.p.kind == "dkv" else self.c.block_q

    @property
    def moving(self) -> int:
        """Rows of the tile that its loops bring in."""
        return self.c.block_q if self.p.kind == "dkv" else self.c.block_k

    @property
    def products(self) -> str:
        """The matrix instructions that the tile is compiled to."""
        return "mma" if self.p.target.products in ("wgmma", "tcgen05") and self.rows < 64 else self.p.target.products

    @property
    def native(self) -> bool:
        return self.products == self.p.target.products

    @property
    def registers(self) -> int:
        """Registers per thread for fragments and addresses."""
        p, (d, dv), itemsize = self.p, self.p.widths, self.p.itemsize
        if p.splits:
            return self._registers_of_split
        pairs, forward = self.c.block_q * self.c.block_k, self.p.kind == "forward"
        out = 0 if self.products == "tcgen05" and not forward else p.summed
        total = self.rows * out + pairs * (1 if forward else 2) + pairs * itemsize // 4
        total += 3 * self.moving * (d + dv) * itemsize // 16
        if self.products == "mma":
            across = min(self.c.num_warps, self.rows // 16)  # warps beside each other hold the same rows of q
            if forward:
                return total // self.threads + self.rows * d * itemsize // 4 // (across * p.target.warp)
            return total // self.threads + 60 * (len(chunks(p.d)) + len(chunks(p.dv)) > 2)
        if self.products == "mfma":  # every warp holds the moving operands, as often as they are used
            total += pairs + self.rows * (d if forward else d + dv) * itemsize // 4
            uses = {"forward": d + dv, "dq": 2 * d + dv, "dkv": 2 * (d + dv)}[p.kind]
            return total // self.threads + self.moving * uses * itemsize // 4 // p.target.warp
        return total // self.threads

    @property
    def _registers_of_split(self) -> int:
        """Registers per thread where products are three of tf32."""
        p, c, chunk = self.p, self.c, self.p.chunk
        assert chunk is not None
        pairs, brought, forward = c.block_q * c.block_k, self.moving * sum(p.widths), p.kind == "forward"
        if self.products != "mma":
            total = self.rows * p.summed + brought + pairs * (5 if forward else 8)
            return total // self.threads + 20 * (c.num_stages - 1)
        below, extra = self.rows >= chunk, 0  # warps stand below each other
        if below:
            rows, columns, sums = max(16, self.rows // c.num_warps), self.moving, p.summed
            extra = 60 if p.kind == "dkv" or self.rows < 16 * c.num_warps else 0
        else:
            rows, columns = self.rows, max(8, self.moving // c.num_warps)
            sums = p.summed // chunk * max(8, chunk // c.num_warps)
        halves = 2 * (rows * max(chunk, self.moving) + columns * chunk)
        fragments = (halves + rows * sums + rows * columns * (1 if forward else 2)) // 32
        in_flight = 2 if c.num_stages == 1 else 1
        extra += 14 * sum(p.widths) // chunk if c.num_stages > 1 else 72 if p.is_padded else 0
        return fragments + extra + in_flight * brought // self.threads

    @property
    def threads(self) -> int:
        return self.c.num_warps * self.p.target.warp

    @property
    def shared_bytes(self) -> int:
        """Bytes of shared memory: the stationary operands, and the moving ones once per stage."""
        (d, dv), c = self.p.widths, self.c
        held = self.rows * (d if self.p.kind == "forward" else d + dv)
        depth = max(1, c.num_stages) + (self.products == "tcgen05" and self.p.kind != "forward")
        brought = depth * self.moving * (d + dv)
        if self.p.splits:
            assert self.p.chunk is not None
            return 4 * (2 * held + 2 * self.p.chunk * self.moving + brought - self.moving * (d + dv)) + 1536
        if self.products == "mfma":  # the stationary operands only pass through, one after the other
            scratch = c.block_q * c.block_k if 16 in (*chunks(self.p.d), *chunks(self.p.dv)) else 0  # to change layouts
            return max(self.rows * max(d, dv), brought + scratch) * self.p.itemsize
        if self.p.is_broad and self.p.kind == "dkv":  # weights and their gradients pass through, for wide products
            held += self.rows * max(*chunks(self.p.d), *chunks(self.p.dv))
        return (held + brought) * self.p.itemsize + (2048 if self.products == "tcgen05" else 1536)

    @property
    def tensor_columns(self) -> int:
        """Columns of sm_100's tensor memory: accumulators and scores, 128 rows each."""
        scores = self.moving * (1 if self.p.kind == "forward" else 2)
        return (self.p.summed + scores) * self.rows // 128

    @property
    def fits(self) -> bool:
        if self.p.splits and not self._allowed_for_split:
            return False
        if self.p.is_broad:
            return self._is_of_broad and self.shared_bytes <= self.p.target.shared
        full = {"wgmma": 16 * self.c.num_warps, "tcgen05": 64}.get(self.products, 16)
        return (
            self.rows >= full
            and (self.registers <= self.budget or (self.p.splits and self.c == LEAST))
            and self.shared_bytes <= self.p.target.shared
            and (self.products != "tcgen05" or self.tensor_columns <= 512)
        )

    @property
    def _is_of_broad(self) -> bool:
        """Whether wide heads were seen free of spills in this shape, or it is the least."""
        warps, tiles = BROAD[self.p.target.family]
        shape = self.c.block_q, self.c.block_k
        plain = self.extra == NOTHING and shape == tiles[self.p.kind]
        return (plain or shape == (16, 16)) and (self.c.num_warps, self.c.num_stages) == (warps, 1)

    @property
    def budget(self) -> int:
        """Up to which estimate of registers it is free of spills."""
        budgets = SPLIT_BUDGETS if self.p.splits else BUDGETS
        budget, walk = budgets[self.p.kind][self.products], self.extra.walk
        forward = self.p.kind == "forward"
        if self.extra.scored:
            budget -= int(SCORED[self.products][not forward] * self.c.block_q * self.c.block_k) // self.threads
            budget -= SCORED_SPLIT * self.p.splits
            pairs = self.c.block_q * self.c.block_k // self.threads
            budget -= self.extra.gathers * GATHERED[self.p.kind] * pairs
            drawn = DRAWN_MMA if self.products == "mma" else DRAWN
            marked = LANDMARKS_MMA if self.products == "mma" else LANDMARKS
            budget -= int((self.extra.block > 0) * marked[self.p.kind] * pairs)
            budget -= int(self.extra.draws * drawn[self.p.kind] * pairs)
            if self.products == "tcgen05" and not forward and sum(self.p.widths) > 256:
                budget -= int(SCORED_WIDE * sum(self.p.widths))
        if forward:
            own = self.products in ("wgmma", "tcgen05")
            ordered = int(ORDERED * self.moving) if self.extra.ordered else 0
            return budget - (min(walk, OWN_FORWARD) if own else walk) - ordered
        # Rows that lie apart have addresses of their own.
        copies = 3 * self.moving * sum(self.p.widths) * self.p.itemsize // 16 // self.threads if walk else 0
        return budget - walk - copies

    @property
    def _allowed_for_split(self) -> bool:
        """Whether products of three are known to come out well in this shape, if the registers suffice."""
        if self.products == "tcgen05":
            return False
        if self.products == "mma" and self.p.is_wide:
            return self.c == LEAST
        return self.c.num_stages <= (1 if self.p.kind == "dkv" or self.p.is_padded else 2)

    @property
    def rank(self) -> tuple[int, ...]:
        """Larger is better: own instructions, pipelined, pairs of a tile, stationary rows, warps, stages."""
        c = self.c
        return self.native, c.num_stages > 1, c.block_q * c.block_k, self.rows, c.num_warps, c.num_stages


def candidates(kind: str, target: Target) -> Iterator[Config]:
    """Every configuration that is considered."""
    sizes = (16, 32, 64, 128)
    most = {"tcgen05": 3 if kind == "forward" else 2, "mfma": 2 if kind == "forward" else 1}.get(target.products, 3)
    warps = (4, 8) if target.family == "cuda" else (4,)
    for block_q, block_k, count, depth in product(sizes, sizes, warps, range(1, most + 1)):
        yield Config(block_q, block_k, count, depth)


def extra_of(programs: Sequence[TileProgram]) -> Extra:
    """What a launch of these programs takes besides."""
    ordered = any(p.label is not None for p in programs)
    gathers, draws = (max(_of_pairs(p, op) for p in programs) for op in (Op.READ, Op.RANDOM))
    walk = 0
    if len(programs) > 1 or not programs[0].of_runs or ordered:
        walk = LAID_OUT + PER_AXIS * (max(len(p.columns.axes) for p in programs) - 1)
    block = programs[0].weights.landmarks or 0
    return Extra(walk, ordered, any(p.of_pairs for p in programs), gathers, draws, block)


def _of_pairs(program: TileProgram, op: Op) -> int:
    """How often it reads a real tensor, or draws a number, for each pair: at integers of both tokens."""
    rows, columns = ({str(a.token) for a in x.axes} | {x.side.value} for x in (program.rows, program.columns))
    found = [frozenset().union(*map(reads, n.args)) for n in nodes(*program.computed) if n.op is op]
    return sum(bool(read & rows) and bool(read & columns) for read in found)


@lru_cache(maxsize=1024)
def shortlist(
    kind: str, target: Target, d: int, dv: int, dtype: torch.dtype, extra: Extra = NOTHING
) -> tuple[Config, ...]:
    """The best configuration for each shape of a tile of at least 64 queries and 64 keys that fits, best shapes first.

    Where none is as large, the best one of all.
    """
    best: dict[tuple[int, int], Estimate] = {}
    for e in _fitting(kind, target, d, dv, dtype, extra):
        shape = e.c.block_q, e.c.block_k
        if min(shape) >= LEAST_WORTH and (shape not in best or e.rank > best[shape].rank):
            best[shape] = e
    ordered = sorted(best.values(), key=lambda e: e.rank, reverse=True)
    return tuple(e.c for e in ordered) or (choose(kind, target, d, dv, dtype, extra),)


def _fitting(kind: str, target: Target, d: int, dv: int, dtype: torch.dtype, extra: Extra) -> Iterator[Estimate]:
    problem = Problem(kind, target, d, dv, dtype.itemsize)
    asked = (c for c in candidates(kind, target) if extra.block in (0, c.block_k))
    return (e for c in asked if (e := Estimate(problem, c, extra)).fits)


def least_on(target: Target, block: int = 0) -> Config:
    """What is taken where nothing fits, with so many keys if these are not 0."""
    least = LEAST if target.family == "cuda" else replace(LEAST, num_warps=4)
    return replace(least, block_k=block or least.block_k)


@lru_cache(maxsize=1024)
def choose(kind: str, target: Target, d: int, dv: int, dtype: torch.dtype, extra: Extra = NOTHING) -> Config:
    """The best configuration of a kernel that fits a target.

    kind is "forward", "dq", "dkv" or "delta"; d, dv the head widths; dtype that of q, k, v; extra
    what its launch takes besides.

    >>> choose("forward", Target.parse("sm_90"), 128, 128, torch.bfloat16)
    Config(block_q=128, block_k=64, num_warps=8, num_stages=3)
    """
    if kind not in KINDS:
        raise ConfigError(f"unknown kernel {kind!r}; expected one of {', '.join(KINDS)}")
    if kind == "delta":
        return Config(64, 16, 4, 1)
    least = Estimate(Problem(kind, target, d, dv, dtype.itemsize), least_on(target, extra.block))
    return max(_fitting(kind, target, d, dv, dtype, extra), key=lambda e: e.rank, default=least).c
