"""Made-up values of fields at the sizes of real models: documents, shots, images with subjects, trees. No chance."""

from __future__ import annotations

import torch
from torch import Tensor

SIDE = 128  # of an image, in tokens


def lengths(total: int, shortest: int, longest: int) -> Tensor:
    """Irregular lengths that add up to a total: of documents, shots, segments. The last may be shorter."""
    found = [shortest]
    while sum(found) < total:
        found.append(shortest + (found[-1] * 7919 + 104729) % (longest - shortest + 1))
    found[-1] -= sum(found) - total
    return torch.tensor(found)


def numbered(sizes: Tensor, first: int = 0) -> Tensor:
    """first, first + 1, ...: each as often as its size says."""
    return (first + torch.arange(len(sizes))).repeat_interleave(sizes)


def starts(sizes: Tensor) -> Tensor:
    """For each token the position of its part's first token."""
    return (sizes.cumsum(0) - sizes).repeat_interleave(sizes)


def marks(length: int, *ranges: tuple[int, int]) -> Tensor:
    """1 in the half-open ranges, 0 elsewhere."""
    found = torch.zeros(length, dtype=torch.int64)
    for begin, end in ranges:
        found[begin:end] = 1
    return found


def painted(*boxes: tuple[int, int, int, int, int]) -> Tensor:
    """The tokens of an image, row by row, with a value added in each box (top, bottom, left, right, value)."""
    image = torch.zeros(SIDE, SIDE, dtype=torch.int64)
    for top, bottom, left, right, value in boxes:
        image[top:bottom, left:right] += value
    return image.flatten()


def tree_ends(node: int, depth: int) -> Tensor:
    """The ends of all subtrees of a binary tree in depth-first order, whose nodes are runs of `node` tokens.

    >>> tree_ends(2, 2)
    tensor([6, 6, 4, 4, 6, 6])
    """
    ends: list[int] = []

    def grow(start: int, levels: int) -> int:
        """Append the ends of a subtree that starts there; its own end."""
        end = start + node * ((1 << levels) - 1)
        ends.extend([end] * node)
        if levels > 1:
            grow(grow(start + node, levels - 1), levels - 1)
        return end

    grow(0, depth)
    return torch.tensor(ends)
