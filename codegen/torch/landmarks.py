"""Softmax with landmarks: a change of a step's scores, block by block, and of their gradients on the way back.

See `attnir.dense` for what it means. Scores are in powers of two; those of pairs without a weight are DEAD.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from attnir.codegen.torch.dead import DEAD, FLOOR
from attnir.codegen.torch.schedule import Landmarks
from attnir.codegen.torch.scored import Scored
from attnir.codegen.torch.steps import Step


def by_landmarks(landmarks: Landmarks, scored: Scored, step: Step, s: Tensor) -> None:
    """Change scores s [outer, inner, rows * shared, keys]."""
    for blocks, own in _blocks(landmarks, scored, step, s):
        landmark, members = blocks[..., -1:], blocks[..., :-1]
        largest = members.amax(-1, keepdim=True)
        total = (members - largest).exp2_().sum(-1, keepdim=True).log2_().add_(largest)
        alive = (landmark > FLOOR) & (largest > FLOOR)
        passed_on = torch.where(alive, landmark - total, DEAD)
        members.add_(passed_on.masked_fill_(own, 0.0))
        landmark.fill_(DEAD)
    rest, own = _rest(landmarks, scored, step, s)
    rest.masked_fill_(~own, DEAD)


def through_landmarks(landmarks: Landmarks, scored: Scored, step: Step, p: Tensor, ds: Tensor) -> None:
    """Change gradients ds, for the weights p, both [outer, inner, rows * shared, keys]."""
    ds.masked_fill_(p == 0.0, 0.0)  # where a factor may be infinite
    of_weights = (blocks for blocks, _ in _blocks(landmarks, scored, step, p))
    for weights, (blocks, own) in zip(of_weights, _blocks(landmarks, scored, step, ds), strict=True):
        of_block = blocks.sum(-1, keepdim=True).masked_fill_(own, 0.0)
        total = weights.sum(-1, keepdim=True)
        blocks.sub_(weights * (of_block / total.masked_fill_(total == 0.0, 1.0)))
        blocks[..., -1:] = of_block


def _blocks(landmarks: Landmarks, scored: Scored, step: Step, t: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The whole blocks of a step, as a view [..., rows, shared, blocks, keys], and whether a query stands in them."""
    whole = step.shape[3] // landmarks.block * landmarks.block
    if whole:
        view = scored.pairs(step, t)[..., :whole].unflatten(-1, (-1, landmarks.block))
        yield view, _own(landmarks, scored, step, slice(0, whole, landmarks.block))[..., None]


def _rest(landmarks: Landmarks, scored: Scored, step: Step, t: Tensor) -> tuple[Tensor, Tensor]:
    """The keys of a step behind its last whole block, which have no landmark, and whether a query stands there."""
    whole = step.shape[3] // landmarks.block * landmarks.block
    return scored.pairs(step, t)[..., whole:], _own(landmarks, scored, step, slice(whole, None))


def _own(landmarks: Landmarks, scored: Scored, step: Step, keys: slice) -> Tensor:
    """Whether the queries of a step stand in the blocks of some of its keys."""
    _, _, rows, cols = scored.indices(step)
    block = landmarks.block
    return (rows + landmarks.q_start).div(block, rounding_mode="floor") == cols[..., keys] // block
