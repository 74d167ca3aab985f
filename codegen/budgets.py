"""What was seen of registers: how many of them a kernel may be estimated to take, and what the estimate leaves out.

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

from collections.abc import Sequence
from typing import NamedTuple

from attnir.codegen.targets import Config
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
LANDMARKS_MMA = {"forward": 0.0, "dq": 0.5, "dkv": 12.0}
LANDMARKS_WIDE = 1.5  # and there for each key of a tile above 64, in dQ
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
