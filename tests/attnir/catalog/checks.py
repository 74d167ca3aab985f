"""How an entry of the catalog is compared with its definition: literal matrices, and a predicate of plain integers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch

import attnir as an
from attnir.evaluate import dense_mask, dense_score
from attnir.masks import Mask
from attnir.scores import Pattern


def matrix(
    mask: Mask | Pattern,
    q_len: int,
    k_len: int | None = None,
    *,
    heads: int = 1,
    batch: int = 1,
    q_start: int | None = None,
    **bindings: object,
) -> torch.Tensor:
    """The dense meaning, bool [batch, heads, q_len, k_len]."""
    call = mask.signature.bind(bindings, batch=batch, heads=heads, q_len=q_len, k_len=k_len, q_start=q_start)
    return dense_mask(mask.predicate, call).expand(batch, heads, q_len, call.k_len)


def weights(pattern: Mask | Pattern, q_len: int, **bindings: object) -> torch.Tensor:
    """exp of what the pattern makes of scores of 0, and 0 where a pair is not live: float64 [q_len, q_len]."""
    pattern = an.pattern(pattern)
    call = pattern.signature.bind(bindings, batch=1, heads=1, q_len=q_len, k_len=q_len)
    changed = dense_score(pattern.score, call)(torch.zeros(1, 1, q_len, q_len, dtype=torch.float64))
    return torch.where(dense_mask(pattern.predicate, call), changed.exp(), 0.0)[0, 0]


def rows(mask: Mask | Pattern, q_len: int, k_len: int | None = None, **bindings: object) -> str:
    """The matrix of one head of one sample as the specifications write it: `110/111/011`."""
    return written(matrix(mask, q_len, k_len, **bindings)[0, 0])


def written(dense: torch.Tensor) -> str:
    """A matrix as the specifications write it."""
    return "/".join("".join(str(int(x)) for x in row) for row in dense.tolist())


def brute(allow: Callable[[int, int], bool], q_len: int, k_len: int | None = None) -> torch.Tensor:
    """A predicate of plain integers, pair by pair: bool [q_len, k_len]."""
    k_len = q_len if k_len is None else k_len
    return torch.tensor([[bool(allow(i, j)) for j in range(k_len)] for i in range(q_len)])


def cells(*sizes: int) -> list[tuple[int, ...]]:
    """The coordinates of a grid's tokens, in their order."""
    return list(product(*map(range, sizes)))


def kept(mask: Mask | Pattern, q_len: int, k_len: int | None = None, **bindings: object) -> float:
    """Live pairs over all pairs, in percent, rounded to two digits as the specifications have them."""
    k_len = q_len if k_len is None else k_len
    live = an.compile(mask).explain(q_len, k_len, **bindings).live_pairs
    return round(100 * live / (q_len * k_len * (mask.heads or 1)), 2)
