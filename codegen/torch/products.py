"""The three batched products of attention, each by the fastest routine at hand.

On a CPU, one large float32 matrix is multiplied up to twice as fast by oneDNN as by the BLAS behind `bmm`, which is the
faster one for several.

Operands are lists of batches [inner, rows, columns]; so is a tensor [outer, inner, rows, columns].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from attnir.codegen.torch.operands import Workspace

LARGE = 1 << 21  # multiplications, from which oneDNN pays

Batches = Sequence[Tensor] | Tensor


def _linear() -> Callable[[Tensor, Tensor], Tensor] | None:
    """oneDNN's x [m, d], w [n, d] -> x @ w^T [m, n], the operator that torch.compile emits for a linear layer."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return None
    operator = torch.ops.mkldnn._linear_pointwise.default
    return lambda x, w: operator(x, w, None, "none", [], "")


LINEAR = _linear()


def _one(a: Batches, b: Batches) -> bool:
    """Whether a @ b^T is one large matrix."""
    x, y = a[0], b[0]
    single = len(a) == 1 and x.shape[0] == 1 and x.device.type == "cpu" and x.dtype == torch.float32
    return single and x.shape[1] * x.shape[2] * y.shape[1] >= LARGE


def scores(a: Batches, b: Batches, work: Workspace, name: str) -> Tensor:
    """a [., ., r, d] @ b^T for b [., ., c, d]: [., ., r, c], in the buffer of that name or in a tensor of its own."""
    if LINEAR and _one(a, b):
        return LINEAR(a[0][0], b[0][0])[None, None]
    out = work.take(name, len(a), a[0].shape[0], a[0].shape[1], b[0].shape[1])
    for x, y, place in zip(a, b, out, strict=True):
        torch.bmm(x, y.transpose(1, 2), out=place)
    return out


def mix(p: Tensor, b: Batches, places: Iterable[Tensor], work: Workspace, fresh: bool) -> None:
    """p [., ., r, c] @ b [., ., c, d], written to places [., ., r, d] if fresh, else added to them."""
    for x, y, place in zip(p, b, places, strict=True):
        if fresh and place.is_contiguous() and not _one([x], [y.transpose(1, 2)]):
            torch.bmm(x, y, out=place)
            continue
        found = _mixed(x, y, work)
        place.copy_(found) if fresh else place.add_(found)


def _mixed(p: Tensor, b: Tensor, work: Workspace) -> Tensor:
    if LINEAR and _one([p], [b.transpose(1, 2)]):
        return LINEAR(p[0], b[0].t())[None]
    # Into a contiguous buffer: bmm takes the matrices of another one by one.
    return torch.bmm(p, b, out=work.take("mix", p.shape[0], p.shape[1], b.shape[2]))


def mix_transposed(p: Tensor, a: Batches, work: Workspace) -> Tensor:
    """p^T @ a, for p [., ., r, c] and a [., ., r, d]: [., ., c, d]."""
    if LINEAR and _one(p, [x.transpose(1, 2) for x in a]):
        return LINEAR(a[0][0].t(), p[0, 0].t()).t()[None, None]  # this way p is the weight, which may be transposed
    out = work.take("mix", len(p), p.shape[1], p.shape[3], a[0].shape[2])
    for x, y, place in zip(p, a, out, strict=True):
        torch.bmm(x.transpose(1, 2), y, out=place)
    return out
