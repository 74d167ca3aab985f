"""The resource model: which tile sizes, warps and stages fit a target, and which of them is best.

A kernel's needs are estimated from its tiles: 32-bit registers per thread for the fragments of the products, the
scores and the addresses of the copies in flight; bytes of shared memory for the operands and the pipeline's stages.
Candidates that do not fit are dropped, the rest are ranked, and there is always one that fits.

Calibrated against what Triton 3.9 compiles for full, causal, window and document patterns (`make inspect`):

- The estimate orders the kernels of one kind and target by whether they spill. What it leaves out (indices, lanes'
  constants, what the scheduler keeps in flight) takes 60 to 90 registers, so a budget of 255 becomes `Target.budget`.
- Loops that are nested, or several loops in a row, keep each other's addresses alive: one flat loop for all full tiles
  and one for all partial ones save 40 to 90 registers (the emitter writes them so).
- sm_80 keeps q in registers, and its products read whole rows of the moving operand into registers.
- sm_90 needs 64 stationary rows for every 4 warps, or it falls back to the instructions of sm_80. Only dK and dV at
  D > 128 do: their two accumulators alone would take 256 registers.
- sm_100 keeps accumulators in tensor memory, except the forward's, which is rescaled in registers.
- gfx942 has 512 registers per thread at one wave and no asynchronous copies; its shared memory is the limit.
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

    def __str__(self) -> str:
        return f"{self.block_q} x {self.block_k} tiles, {self.num_warps} warps, {self.num_stages} stages"


@dataclass(frozen=True, slots=True)
class Target:
    """A GPU that kernels are compiled for.

    name      "sm_90", "gfx942"
    family    "cuda" or "hip"
    products  the matrix instructions: "mma", "wgmma", "tcgen05" or "mfma"
    shared    bytes of shared memory that one instance can have
    budget    registers per thread that the estimate may reach
    """

    name: str
    family: str
    products: str
    shared: int
    budget: int

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
            return Target(name, "hip", "mfma", 64 * 1024, 420)
        if found := re.fullmatch(r"sm_(\d+)a?", name):
            capability = int(found[1])
            if capability >= 80:
                return _nvidia(capability)
        raise ConfigError(f"unknown target {name!r}; expected sm_80 or newer, or gfx942, for example")


def _nvidia(capability: int) -> Target:
    name = f"sm_{capability}"
    match capability // 10:
        case 9:
            return Target(name, "cuda", "wgmma", 227 * 1024, 195)
        case 10 | 11:
            return Target(name, "cuda", "tcgen05", 227 * 1024, 175)
    return Target(name, "cuda", "mma", (163 if capability in (80, 87) else 99) * 1024, 170)


def current_target() -> Target:
    """The GPU at hand; sm_90 where there is none."""
    if not torch.cuda.is_available():
        return Target.parse("sm_90")
    if torch.version.hip:
        return Target.parse(torch.cuda.get_device_properties().gcnArchName.split(":")[0])
    return Target.parse("sm_{}{}".format(*torch.cuda.get_device_capability()))


def chunks(width: int) -> tuple[int, ...]:
    """The powers of two, at least 16 and falling, that a head width is split into; the last may hold padding.

    >>> chunks(192), chunks(80), chunks(72), chunks(5)
    ((128, 64), (64, 16), (64, 16), (16,))
    """
    rest, found = -(-width // 16) * 16, []
    while rest:
        found.append(1 << (rest.bit_length() - 1))
        rest -= found[-1]
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Problem:
    """What a configuration is chosen for."""

    kind: str
    target: Target
    d: int
    dv: int
    itemsize: int

    @property
    def width(self) -> int:
        """D + Dv as the kernel computes them."""
        return sum(chunks(self.d)) + sum(chunks(self.dv))


def stationary(kind: str, c: Config) -> int:
    """The rows of the tile that an instance keeps: keys for dK and dV, queries otherwise."""
    return c.block_k if kind == "dkv" else c.block_q


def moving(kind: str, c: Config) -> int:
    """The rows of the tile that its loops bring in."""
    return c.block_q if kind == "dkv" else c.block_k


def registers(p: Problem, c: Config) -> int:
    """Estimated registers per thread for fragments and addresses."""
    threads = c.num_warps * p.target.warp
    rows, pairs = stationary(p.kind, c), c.block_q * c.block_k
    width_out = {"forward": sum(chunks(p.dv)), "dq": sum(chunks(p.d)), "dkv": p.width}[p.kind]
    scores = 1 if p.kind == "forward" else 2
    total = rows * width_out + scores * pairs + pairs * p.itemsize // 4
    if p.target.products == "mma" and p.kind == "forward":
        total += rows * sum(chunks(p.d)) * p.itemsize // 4
    total += 3 * moving(p.kind, c) * p.width * p.itemsize // 16
    return total // threads


def shared_bytes(p: Problem, c: Config) -> int:
    """Estimated bytes of shared memory: the stationary operands, and the moving ones once per stage."""
    held = stationary(p.kind, c) * (sum(chunks(p.d)) if p.kind == "forward" else p.width)
    return (held + max(1, c.num_stages) * moving(p.kind, c) * p.width) * p.itemsize


def fits(p: Problem, c: Config) -> bool:
    """Whether the estimates stay within the target."""
    return registers(p, c) <= p.target.budget and shared_bytes(p, c) <= p.target.shared


def _native(p: Problem, c: Config) -> bool:
    """Whether the tile fills the target's own matrix instructions."""
    rows = stationary(p.kind, c)
    if p.target.products in ("wgmma", "tcgen05"):
        return rows >= 16 * c.num_warps
    return rows >= 16


def candidates(target: Target) -> Iterator[Config]:
    """Every configuration that is considered."""
    sizes, stages = (16, 32, 64, 128), (1, 2) if target.family == "hip" else (1, 2, 3)
    for block_q, block_k, warps, depth in product(sizes, sizes, (4, 8), stages):
        yield Config(block_q, block_k, warps, depth)


def _rank(p: Problem, c: Config) -> tuple[object, ...]:
    """Larger is better: the own instructions, then the pairs of a tile, then its stationary rows, then the pipeline."""
    return _native(p, c), c.block_q * c.block_k, stationary(p.kind, c), c.num_stages > 1, c.num_warps, c.num_stages


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
    fitting = [c for c in candidates(target) if fits(problem, c)]
    if not fitting:
        return Config(16, 16, 4, 1)
    return max(fitting, key=lambda c: _rank(problem, c))
