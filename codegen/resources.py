"""The resource model: which tile sizes, warps and stages fit a target, and which of them is best.

A kernel's needs are estimated from its tiles: 32-bit registers per thread for the fragments of the products, the
scores and the addresses of the copies in flight; bytes of shared memory for the operands and the pipeline's stages.
Candidates that do not fit are dropped, the rest are ranked, and there is always one that fits. What kernels were seen
to need is in `budgets.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

import torch

from attnir.codegen.budgets import (
    BROAD,
    BUDGETS,
    DRAWN,
    DRAWN_MMA,
    GATHERED,
    LANDMARKS,
    LANDMARKS_MMA,
    LANDMARKS_WIDE,
    LEAST,
    LEAST_WORTH,
    MOST_CALIBRATED,
    NOTHING,
    ORDERED,
    OWN_FORWARD,
    SCORED,
    SCORED_SPLIT,
    SCORED_WIDE,
    SPLIT_BUDGETS,
    Extra,
)
from attnir.codegen.chunks import chunks, equal_chunk
from attnir.codegen.targets import KINDS, Config, Target
from attnir.errors import ConfigError


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
            if self.products == "mma" and self.p.kind == "dq":
                budget -= int(LANDMARKS_WIDE * max(0, self.extra.block - 64))
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
