"""Executors: what computes a case, the torch target or the Triton kernels, on a GPU or in the interpreter."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attnir.api import Attention, compile
from attnir.codegen.plan import CONFIGURED, Plan
from attnir.codegen.targets import Config, current_target
from attnir.codegen.torch.budget import budget_on, default_tile
from attnir.count import count_launches
from attnir.errors import BackendError
from attnir.graph.graph import Graph
from attnir.masks import Mask
from attnir.scores import Pattern, pattern
from attnir.testing.case import Case
from attnir.walk import tile_counts

MOST_TILES = 16  # of all samples and heads, that are visited and so interpreted
MOST_INSTANCES = 32  # of a kernel: a layout of many classes has more of them than there are tiles


@dataclass(frozen=True, slots=True)
class Executor:
    """A backend on a device.

    >>> Executor.of("torch").backend
    'torch'
    """

    backend: str
    device: str = "cpu"
    configs: tuple[tuple[str, Config], ...] = ()  # that a user fixed, by kernel; a case's own tiles come first

    @staticmethod
    def of(backend: str) -> Executor:
        """The executor of a backend on this machine: on the GPU, where there is one and the backend is Triton.

        Without a GPU Triton interprets, which it has to know before it is imported.
        """
        if backend == "triton" and find_spec("triton") is None:
            raise BackendError("Triton is not installed, so its kernels cannot be tried; take torch, or install triton")
        gpu = backend == "triton" and torch.cuda.is_available()
        if backend == "triton" and not gpu and "triton" not in sys.modules:
            os.environ.setdefault("TRITON_INTERPRET", "1")
        return Executor(backend, "cuda" if gpu else "cpu")

    def attention(self, case: Case, declared: Mask | Pattern | None = None) -> Callable[..., Any]:
        """The attention of a case's pattern, or of another one, with the case's tiles."""
        return self._compiled(case, declared)

    def graph(self, declared: Graph) -> Callable[..., Any]:
        """A compiled graph."""
        return compile(declared, backend=self.backend)

    def statistics(self, case: Case) -> Callable[..., dict[str, Tensor]]:
        """The statistics of a case's pattern, with the case's tiles."""
        return self._compiled(case).statistics

    def _compiled(self, case: Case, declared: Mask | Pattern | None = None) -> Attention:
        config = dict(self.configs)
        if self.backend == "triton" and case.tile is not None:
            config = dict.fromkeys(CONFIGURED, Config(*case.tile, 4, 1))
        chosen = case.pattern if declared is None else declared
        return compile(chosen, backend=self.backend, config=config, heads=case.maps)

    @property
    def walks(self) -> Sequence[str]:
        """The kernels whose walks over tiles differ; the torch target has one walk, for all of its results."""
        return CONFIGURED if self.backend == "triton" else CONFIGURED[:1]

    def tile(self, case: Case, kind: str) -> tuple[int, int]:
        """(row tokens, column tokens) of a tile of a kernel: "forward", "dq" or "dkv"."""
        from attnir.codegen.configure import configure, tile_of

        if self.backend != "triton":
            return default_tile(pattern(case.pattern), budget_on(torch.device(self.device)).tile)
        if case.tile is not None:
            return case.tile[::-1] if kind == "dkv" else case.tile
        chosen = configure(
            Plan(pattern(case.pattern), configs=self.configs),
            kind,
            current_target(),
            case.d,
            case.dv or case.d,
            case.dtype,
        )
        return tile_of(kind, chosen.config)

    def affords(self, case: Case) -> bool:
        """Whether a case is small enough: the interpreter takes some milliseconds for every tile of every kernel."""
        if self.backend != "triton" or self.device != "cpu":
            return True
        call, copies = case.call, case.batch * case.heads
        launches = Plan(pattern(case.pattern)).on(call).launches(self.tile(case, "forward"))
        if copies * sum(prod(tile_counts(programs[0].rows, call)) for programs in launches) > MOST_INSTANCES:
            return False
        visited = count_launches(launches, call)
        return visited.full + visited.partial <= MOST_TILES

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """The interpreter computes with NumPy, which warns of what hardware says nothing of."""
        with np.errstate(all="ignore"):
            yield

    def __str__(self) -> str:
        interpreted = self.backend == "triton" and self.device == "cpu"
        return f"{self.backend} on {self.device}" + (", interpreted" if interpreted else "")


@contextmanager
def unwritten_is_nan(device: str) -> Iterator[None]:
    """Within it torch fills what it allocates on the CPU with NaN, or the largest integer; elsewhere nothing changes.

    >>> with unwritten_is_nan("cpu"):
    ...     torch.empty(2)
    tensor([nan, nan])
    """
    if device != "cpu":  # there its mode warns of operations that are not deterministic
        yield
        return
    before, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warns)
