"""What a generated kernel depends on besides its tile program: everything here is structure, nothing is a size."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from attnir.codegen.chunks import chunks, equal_chunk
from attnir.codegen.targets import Config

NAMES = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}  # as Triton writes argument types
TYPES = {torch.bfloat16: "tl.bfloat16", torch.float16: "tl.float16", torch.float32: "tl.float32"}


@dataclass(frozen=True, slots=True)
class Spec:
    """The structure of a kernel.

    dtype      of q, k, v, o and their gradients
    d, dv      head widths of q and k, and of v and o
    config     tile sizes, warps, stages
    family     "cuda" or "hip"
    grouped    whether several query heads share a key head
    mapped     key heads and value heads come from maps; gradients of k and v are then those of each query head, float32
    aligned    every pointer and stride of q, k, v, o and their gradients is a multiple of 16 bytes
    interpret  the kernel runs in Triton's interpreter, whose bfloat16 is not to be trusted
    signed     the scale is negative, so the largest product is not the largest score
    learned    the real tensors whose gradients are summed up, by `dq`
    measures   it finds the largest summands of these sums instead
    largest    the largest score of each row is searched for, by `rows`
    far        a real tensor is so large that offsets in it take 64 bits; they take many registers
    """

    dtype: torch.dtype
    d: int
    dv: int
    config: Config
    family: str = "cuda"
    grouped: bool = True
    aligned: bool = True
    interpret: bool = False
    signed: bool = False
    learned: tuple[str, ...] = ()
    measures: bool = False
    far: bool = False
    largest: bool = False
    mapped: bool = False

    @property
    def options(self) -> dict[str, int | bool]:
        """What the kernel is compiled with, by the names of Triton's launch options."""
        known: dict[str, int | bool] = {"num_warps": self.config.num_warps, "num_stages": self.config.num_stages}
        known["enable_fp_fusion"] = True  # s * scale - m in one operation
        if self.family == "cuda":
            known["maxnreg"] = 255  # else ptxas may aim at 128 (or 32!) for the sake of occupancy, and spill
        return known

    @property
    def vector(self) -> int:
        """Elements in 16 bytes."""
        return 16 // self.dtype.itemsize

    @property
    def type(self) -> str:
        """The dtype in Triton's language."""
        return TYPES[self.dtype]

    @property
    def splits(self) -> bool:
        """Whether products are three of tf32, of operands split into a large and a small half."""
        return self.dtype is torch.float32 and self.family == "cuda"

    def chunks(self, width: int) -> tuple[Chunk, ...]:
        """The chunks of d or dv."""
        return split(width, equal_chunk(self.d, self.dv, self.dtype.itemsize, self.family))

    @property
    def natural(self) -> bool:
        """Whether scores are kept in natural units: in powers of two they cost a product less, but round more."""
        return self.dtype is torch.float32

    @property
    def precision(self) -> str:
        """The argument of tl.dot that keeps float32 products in float32."""
        if self.dtype is not torch.float32:
            return ""
        return f', input_precision="{"tf32x3" if self.splits and not self.interpret else "ieee"}"'


@dataclass(frozen=True, slots=True)
class Chunk:
    """Columns `start` to `start + width - 1` of a head; those from `end` on are padding, if `end` is not None."""

    start: int
    width: int
    end: int | None


def split(width: int, equal: int | None = None) -> tuple[Chunk, ...]:
    """The chunks of a head width.

    >>> split(72)
    (Chunk(start=0, width=64, end=None), Chunk(start=64, width=16, end=72))
    """
    found, start = [], 0
    for size in chunks(width, equal):
        found.append(Chunk(start, size, width if start + size > width else None))
        start += size
    return tuple(found)
