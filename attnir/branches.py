"""Attentions put together: one softmax over several sets of keys, or a weighted sum of several softmaxes.

These are two things. `merge` takes parts of one softmax, whose keys are disjoint, and weighs each by its lse: whatever
the keys were split into, the result is that of all at once. `combine` adds up attentions that are normalised on their
own, with weights that are given. One in the place of the other is another function, not a faster one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from attnir.errors import DtypeError, ShapeError

Part = tuple[Tensor, Tensor]


def merge(parts: Iterable[Part]) -> Part:
    """(o, lse) of one softmax over the keys of all parts, each (o [B, H, Sq, Dv], lse [B, H, Sq]): see `an.merge`."""
    given = _pairs(parts, "part", "(o, lse), of an attention with return_lse=True")
    _check_alike([o for o, _ in given], "part")
    for o, lse in given:
        if not isinstance(lse, Tensor):
            raise DtypeError(f"the lse of every part is a tensor, not {type(lse).__name__}")
        if lse.shape != o.shape[:-1]:
            raise ShapeError(f"lse has the shape {list(o.shape[:-1])} of o's rows, not {list(lse.shape)}")
    wide = torch.promote_types(given[0][0].dtype, torch.float32)
    each = torch.stack([lse.to(wide) for _, lse in given])
    alive = (each > -torch.inf).any(0)
    total = torch.where(alive, each, 0.0).logsumexp(0)  # a dead row is made harmless here, and dead below
    merged = torch.zeros((), dtype=wide, device=total.device)
    for (o, _), lse in zip(given, each, strict=True):
        weight = torch.where(alive, lse - total, -torch.inf).exp()
        merged = merged + weight[..., None] * o.to(wide)
    return merged.to(given[0][0].dtype), torch.where(alive, total, -torch.inf)


def combine(branches: Iterable[tuple[Tensor | float, Tensor]]) -> Tensor:
    """The sum of attentions, each (weight, o [B, H, Sq, Dv]): see `an.combine`."""
    given = _pairs(branches, "branch", "(weight, o)")
    _check_alike([o for _, o in given], "branch")
    dtype, rows = given[0][1].dtype, given[0][1].shape[:-1]
    wide = torch.promote_types(dtype, torch.float32)
    total = torch.zeros((), dtype=wide, device=given[0][1].device)
    for weight, o in given:
        held = weight.to(o.device) if isinstance(weight, Tensor) and o.is_meta else weight  # costs alone are asked for
        total = total + _spread(held, rows, wide) * o.to(wide)
    return total.to(dtype)


def _pairs(given: Iterable[tuple[Any, Any]], what: str, words: str) -> list[tuple[Any, Any]]:
    """Those that are given, each a pair; `words` say of what. Raises ShapeError for what is none."""
    found = list(given)
    for x in found:
        if not isinstance(x, tuple | list) or len(x) != 2:
            shown = f"a tensor {list(x.shape)}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
            shown += f" of {len(x)}" if isinstance(x, tuple | list) else ""
            raise ShapeError(f"every {what} is a pair {words}, not {shown}")
    return found


def _spread(weight: Tensor | float, rows: torch.Size, wide: torch.dtype) -> Tensor | float:
    """A weight of rows, for all that stands in them."""
    if not isinstance(weight, Tensor):
        if isinstance(weight, bool) or not isinstance(weight, Real | torch.SymInt | torch.SymFloat):
            raise DtypeError(f"a weight is a number, or a tensor {list(rows)}, not {weight!r}")
        return weight
    fits = weight.dim() <= len(rows) and all(
        n in (1, size) for n, size in zip(reversed(weight.shape), reversed(rows), strict=False)
    )
    if not fits:
        raise ShapeError(f"a weight has the shape {list(rows)}, or what broadcasts to it, not {list(weight.shape)}")
    return weight.to(wide)[..., None]


def _check_alike(given: Sequence[Tensor], what: str) -> None:
    """Raise unless there are some, all tensors of one shape and dtype."""
    if not given:
        raise ShapeError(f"there is no {what}; give one at least")
    for t in given:
        if not isinstance(t, Tensor):
            raise DtypeError(f"the o of every {what} is a tensor, not {type(t).__name__}")
    for t in given:
        if t.shape != given[0].shape:
            raise ShapeError(f"every {what} has one shape; there are {list(given[0].shape)} and {list(t.shape)}")
        if t.dtype != given[0].dtype:
            raise DtypeError(f"every {what} has one dtype; there are {given[0].dtype} and {t.dtype}")
