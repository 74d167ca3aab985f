"""Summaries: fewer tokens that stand for many, pooled in blocks or mixed by a matrix. Differentiable."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attnir.errors import GraphError, ShapeError
from attnir.graph.edges import Given, Kind, Part, Tokens
from attnir.graph.stage import Free, Setting, Stage, Value, expect, wrong

POOLS = ("mean", "max", "sum")


@dataclass(frozen=True, slots=True)
class Summarise(Stage):
    """One token for every block of tokens; the last block has those that there are."""

    block: int
    how: str

    def __post_init__(self) -> None:
        if not isinstance(self.block, int) or isinstance(self.block, bool) or self.block < 1:
            raise GraphError(f"a block has a number of tokens from 1 on, not {self.block!r}")
        if self.how not in POOLS:
            raise GraphError(f"blocks are summarised by {', '.join(POOLS)}, not {self.how!r}")

    @property
    def text(self) -> str:
        return f"summarise(block={self.block}, {self.how!r})"

    def kind(self, *given: Kind) -> Kind:
        (x,) = given
        x = expect(self, x, Tokens)
        return replace(x, axis=f"{x.axis} // {self.block}")

    def run(self, setting: Setting, *given: Value) -> Value:
        return pooled(given[0], self.block, self.how)


@dataclass(frozen=True, slots=True)
class Project(Stage):
    """m tokens that are sums of all, by a matrix [m, S], or [H, m, S]."""

    onto: str

    @property
    def text(self) -> str:
        return f"project(onto={self.onto!r})"

    def kind(self, *given: Kind) -> Kind:
        x, matrix = given
        x = expect(self, x, Tokens)
        if not isinstance(matrix, Given):
            wrong(self, "a matrix that a call gives", matrix)
        return replace(x, axis=self.onto)

    def run(self, setting: Setting, *given: Value) -> Value:
        x, matrix = given
        return projected(x, matrix)

    def flops(self, given: tuple[Value, ...], found: Value) -> int:
        x, _ = given
        return 2 * int(found.numel() * x.shape[2])


@dataclass(frozen=True, slots=True)
class Repeat(Free):
    """What stands for a block, for each token of it."""

    block: int

    @property
    def text(self) -> str:
        return f"repeat(block={self.block})"

    def kind(self, *given: Kind) -> Kind:
        x, like = given
        if not isinstance(x, Tokens | Part) or not isinstance(like, Tokens) or x.axis != f"{like.axis} // {self.block}":
            wrong(self, f"what stands for blocks of {self.block}, and the tokens in them", f"{x}, {like}")
        return replace(x, axis=like.axis)

    def run(self, setting: Setting, *given: Value) -> Value:
        x, like = given
        blocks = (x[0] if isinstance(x, tuple) else x).shape[2]
        if blocks != -(-like.shape[2] // self.block):
            raise ShapeError(f"{blocks} blocks of {self.block} do not stand for {like.shape[2]} tokens")
        return tuple(self._one(t, like) for t in x) if isinstance(x, tuple) else self._one(x, like)

    def _one(self, t: Tensor, like: Tensor) -> Tensor:
        return t.repeat_interleave(self.block, 2)[:, :, : like.shape[2]]


def pooled(x: Tensor, block: int, how: str) -> Tensor:
    """The mean, the largest values or the sum of every block of x [B, H, S, D]: [B, H, blocks, D]."""
    if x.dim() != 4 or not x.is_floating_point():
        raise ShapeError(f"tokens are real, [B, H, S, D], not {list(x.shape)} of {x.dtype}")
    length = x.shape[2]
    block = min(block, max(1, length))
    neutral = -torch.inf if how == "max" else 0.0
    blocks = filled(x, (0, 0, 0, -length % block), neutral).unflatten(2, (-1, block))
    if how == "max":
        largest: Tensor = blocks.amax(3)
        return largest
    total = blocks.float().sum(3) if x.dtype in (torch.float16, torch.bfloat16) else blocks.sum(3)
    if how == "mean":
        first = torch.arange(0, length, block, device=x.device)
        total = total / (length - first).clamp(max=block)[:, None]
    found: Tensor = total.to(x.dtype)
    return found


def filled(x: Tensor, more: tuple[int, ...], value: float = 0.0) -> Tensor:
    """x with more places before and behind those of its axes, from the last axis on; not copied where none are added.

    torch.compile, which copies nothing that it need not, is not told apart, so that it makes no code for each case.
    """
    if not torch.compiler.is_compiling() and not any(more):
        return x
    return torch.nn.functional.pad(x, more, value=value)


def projected(x: Tensor, matrix: Tensor) -> Tensor:
    """matrix [m, S] or [H, m, S] times x [B, H, S, D]: [B, H, m, D]."""
    fits = isinstance(matrix, Tensor) and matrix.dim() in (2, 3) and matrix.shape[-1] == x.shape[2]
    if not fits or (matrix.dim() == 3 and matrix.shape[0] not in (1, x.shape[1])):
        shown = list(matrix.shape) if isinstance(matrix, Tensor) else type(matrix).__name__
        raise ShapeError(
            f"tokens are projected by a matrix [m, {x.shape[2]}] or [{x.shape[1]}, m, {x.shape[2]}], not {shown}"
        )
    return matrix.to(x.dtype) @ x
