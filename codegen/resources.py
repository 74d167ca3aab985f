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
- Told nothing, ptxas may aim at 128 registers (once, at 32) for the sake of occupancy, and spill: `maxnreg` is 255.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import torch

from attnir.errors import ConfigError

KINDS = ("forward", "dq", "dkv", "delta")


@dataclass(frozen=True, slots=True)
class Config:
    """How a kernel is cut: queries and keys of a tile, warps of an instance, stages of its software pipeline."""

    block_q: int
    block_k: int
    num_warps: int
    num_stages: int

    def __post_init__(self) -> None:
        for name in ("block_q", "block_k", "num_warps", "num_stages"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= 1024:
                raise ConfigError(f"{name} is an integer from 1 to 1024, not {value!r}")
        for name, least in (("block_q", 16), ("block_k", 16), ("num_warps", 1)):
            value = getattr(self, name)
            if value < least or value & (value - 1):
                raise ConfigError(f"{name} = {value} is no power of two, at least {least}")

    def __str__(self) -> str:
        return f"{self.block_q} x {self.block_k} tiles, {self.num_warps} warps, {self.num_stages} stages"


@dataclass(frozen=True, slots=True)
class Target:
    """A GPU that kernels are compiled for.

    name      "sm_90", "gfx942"
    family    "cuda" or "hip"
    products  the matrix instructions: "mma", "wgmma", "tcgen05" or "mfma"
    shared    bytes of shared memory that one instance can have
    """

    name: str
    family: str
    products: str
    shared: int

    @property
    def warp(self) -> int:
        """Threads of a warp."""
        return 64 if self.family == "hip" else 32

    def __str__(self) -> str:
        return self.name

    @staticmethod
    def parse(name: str) -> Target:
        """The target that a name means.

        >>> Target.parse("sm_90").products
        'wgmma'
        """
        if re.fullmatch(r"gfx9[0-9a-f]+", name):
            return Target(name, "hip", "mfma", 64 * 1024)
        found = re.fullmatch(r"sm_(\d+)a?", name)
        if found is None or int(found[1]) < 80:
            raise ConfigError(f"unknown target {name!r}; expected sm_80 or newer, or gfx942, for example")
        capability = int(found[1])
        products = {9: "wgmma", 10: "tcgen05", 11: "tcgen05"}.get(capability // 10, "mma")
        large = 227 if products != "mma" else 163 if capability in (80, 87) else 99
        return Target(f"sm_{capability}", "cuda", products, large * 1024)


@lru_cache(maxsize=64)
def current_target(device: torch.device | None = None) -> Target:
    """The GPU at hand, or the one that is named; sm_90 where there is none."""
    if not torch.cuda.is_available() or (device is not None and device.type != "cuda"):
        return Target.parse("sm_90")
    if torch.version.hip:
        return Target.parse(torch.cuda.get_device_properties(device).gcnArchName.split(":")[0])
    return Target.parse("sm_{}{}".format(*torch.cuda.get_device_capability(device)))


def chunks(width: int, equal: int | None = None) -> tuple[int, ...]:
    """The powers of two, at least 16 and falling, that a head width is split into; the last may hold padding.

    equal is the width of all chunks, if they have to be alike.

    >>> chunks(192), chunks(80), chunks(72), chunks(5)
    ((128, 64), (64, 16), (64, 16), (16,))
    >>> chunks(80, 64)
    (64, 64)
    """
    if equal is not None:
        return (equal,) * -(-width // equal)
    rest, found = -(-width // 16) * 16, []
    while rest:
        found.append(1 << (rest.bit_length() - 1))
        rest -= found[-1]
    return tuple(found)


def equal_chunk(d: int, dv: int, itemsize: int, family: str) -> int | None:
    """The width that all chunks have where products are three of tf32: 16, 32 or 64. Other products need no such.

    How warps share a tile follows from one of its products. Chunks of several widths would find it following from the
    least fitting one.
    """
    if itemsize != 4 or family != "cuda":
        return None
    return min(64, max(16, 1 << (max(d, dv) - 1).bit_length()))


# Up to which estimate of registers per thread kernels were seen free of spills, by kind and matrix instructions.
BUDGETS = {
    "forward": {"mma": 170, "wgmma": 195, "tcgen05": 165, "mfma": 355},
    "dq": {"mma": 140, "wgmma": 195, "tcgen05": 150, "mfma": 340},
    "dkv": {"mma": 130, "wgmma": 181, "tcgen05": 150, "mfma": 350},
}
LEAST = Config(16, 16, 8, 1)  # the tiles that need least where products are three of tf32
SPLIT_BUDGETS = {
    "forward": {"mma": 255, "wgmma": 155},
    "dq": {"mma": 231, "wgmma": 155},
    "dkv": {"mma": 222, "wgmma": 150},
}


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
        full = {"wgmma": 16 * self.c.num_warps, "tcgen05": 64}.get(self.products, 16)
        budgets = SPLIT_BUDGETS if self.p.splits else BUDGETS
        return (
            self.rows >= full
            and (self.registers <= budgets[self.p.kind][self.products] or (self.p.splits and self.c == LEAST))
            and self.shared_bytes <= self.p.target.shared
            and (self.products != "tcgen05" or self.tensor_columns <= 512)
        )

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


@lru_cache(maxsize=1024)
def choose(kind: str, target: Target, d: int, dv: int, dtype: torch.dtype) -> Config:
    """The best configuration of a kernel that fits a target.

    kind is "forward", "dq", "dkv" or "delta"; d, dv the head widths; dtype that of q, k, v.

    >>> choose("forward", Target.parse("sm_90"), 128, 128, torch.bfloat16)
    Config(block_q=128, block_k=64, num_warps=8, num_stages=3)
    """
    if kind not in KINDS:
        raise ConfigError(f"unknown kernel {kind!r}; expected one of {', '.join(KINDS)}")
    if kind == "delta":
        return Config(64, 16, 4, 1)
    problem = Problem(kind, target, d, dv, dtype.itemsize)
    fitting = [e for c in candidates(kind, target) if (e := Estimate(problem, c)).fits]
    return max(fitting, key=lambda e: e.rank).c if fitting else LEAST
