"""What a kernel is compiled for, and how it is cut: GPUs by matrix instructions, configurations by their tiles."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import torch

from attnir.errors import ConfigError

KINDS = ("forward", "dq", "dkv", "delta")
# The kernels of statistics, and those of an attention that they take their configurations from: they hold less.
LIKE = {"rows": "dq", "columns": "dkv", "pulled_dq": "dq", "pulled_dk": "dkv"}


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
