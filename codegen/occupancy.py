"""How many instances of a kernel one processor of a GPU holds at a time, and what stops it from holding more.

NVIDIA: a multiprocessor has four parts with 16,384 registers each, given to warps 256 at a time; every instance takes
1 KiB of shared memory besides its own (CUDA C++ Programming Guide, compute capabilities). AMD: a compute unit has four
SIMDs with 512 vector registers for each lane, given to wavefronts eight at a time (Instinct MI300 ISA).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from attnir.codegen.targets import Target

PARTS = 4  # of a multiprocessor, or SIMDs of a compute unit: each runs the warps that it holds
KIB = 1024


class Processor(NamedTuple):
    """What one multiprocessor or compute unit has: warps and instances it can hold, bytes of shared memory."""

    warps: int
    instances: int
    shared: int


@dataclass(frozen=True, slots=True)
class Occupancy:
    """How many instances fit, their warps, how many warps there could be, and what the first limit is."""

    instances: int
    warps: int
    most: int
    limit: str

    def __str__(self) -> str:
        return f"{self.instances}, {self.warps} of {self.most} warps, by {self.limit}"


# By compute capability; one that is not named is taken for the last one of its generation.
_NVIDIA = {
    80: Processor(64, 32, 164 * KIB),
    86: Processor(48, 16, 100 * KIB),
    87: Processor(48, 16, 164 * KIB),
    89: Processor(48, 24, 100 * KIB),
    90: Processor(64, 32, 228 * KIB),
    100: Processor(64, 32, 228 * KIB),
    110: Processor(48, 24, 228 * KIB),
    120: Processor(48, 24, 100 * KIB),
}
_AMD = Processor(32, 32, 64 * KIB)
_COLUMNS = 512  # of tensor memory on sm_100


def processor(target: Target) -> Processor:
    """What one processor of a target has."""
    if target.family == "hip":
        return _AMD
    capability = int(target.name.removeprefix("sm_"))
    return _NVIDIA[max(known for known in _NVIDIA if known <= capability)]


def occupancy(target: Target, num_warps: int, registers: int, shared: int, columns: int = 0) -> Occupancy:
    """How many instances of a kernel one processor of the target holds.

    num_warps   of an instance
    registers   per thread
    shared      bytes of shared memory of an instance
    columns     of tensor memory, where the target has it

    >>> occupancy(Target.parse("sm_90"), num_warps=8, registers=168, shared=66_000)
    Occupancy(instances=1, warps=8, most=64, limit='registers')
    """
    has = processor(target)
    # Warps of an instance are dealt out to the parts in turn.
    each = -(-num_warps // PARTS)
    limits = {
        "registers": _warps_of_part(target, registers) // each,
        "shared memory": has.shared // _taken(target, shared) if _taken(target, shared) else has.instances,
        "warps": has.warps // PARTS // each,
        "instances": has.instances,
    }
    if columns:
        limits["tensor memory"] = _COLUMNS // columns
    limit = min(limits, key=lambda name: limits[name])
    return Occupancy(limits[limit], limits[limit] * num_warps, has.warps, limit)


def _warps_of_part(target: Target, registers: int) -> int:
    """For how many warps a quarter of a processor has registers."""
    if target.family == "hip":
        return 512 // (-(-max(1, registers) // 8) * 8)
    return 16384 // (-(-max(1, registers) * target.warp // 256) * 256)


def _taken(target: Target, shared: int) -> int:
    """Bytes of shared memory that an instance takes."""
    if target.family == "hip":
        return -(-shared // 512) * 512
    return -(-shared // 128) * 128 + KIB
