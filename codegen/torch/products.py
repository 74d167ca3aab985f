"""The three batched products of attention, each by the fastest routine at hand.

On a CPU, oneDNN's float32 product runs at up to twice the speed of the BLAS behind `bmm` once a product is large, but
takes one matrix at a time and costs some ten microseconds a call. So one large matrix goes to oneDNN, all else to
`bmm`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

LARGE = 1 << 21  # multiplications, from which oneDNN pays


def _linear() -> Callable[[Tensor, Tensor], Tensor] | None:
    """oneDNN's x [m, d], w [n, d] -> x @ w^T [m, n], the operator that torch.compile emits for a linear layer."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return None
    operator = torch.ops.mkldnn._linear_pointwise.default
    return lambda x, w: operator(x, w, None, "none", [], "")


LINEAR = _linear()


def takes_one(a: Tensor, multiplications: int) -> bool:
    """Whether products of this size are best done one matrix at a time."""
    supported = LINEAR is not None and a.device.type == "cpu" and a.dtype == torch.float32
    return supported and multiplications >= LARGE


def _one(a: Tensor, b: Tensor) -> bool:
    return a.shape[0] == 1 and takes_one(a, a.shape[1] * a.shape[2] * b.shape[1])


def scores(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    """a [n, r, d] @ b^T for b [n, c, d]: [n, r, c], in `out` or in a tensor of its own."""
    if LINEAR and _one(a, b):
        return LINEAR(a[0], b[0])[None]
    return torch.bmm(a, b.transpose(1, 2), out=out)


def mix(p: Tensor, b: Tensor, out: Tensor, first: bool = False) -> None:
    """out [n, r, d] += p [n, r, c] @ b [n, c, d]; first: `out` holds nothing yet and is overwritten."""
    if LINEAR and _one(p, b.transpose(1, 2)):
        product = LINEAR(p[0], b[0].t())
        out[0].copy_(product) if first else out[0].add_(product)
    elif first:
        torch.bmm(p, b, out=out)
    else:
        out.baddbmm_(p, b)


def mix_transposed(p: Tensor, a: Tensor, out: Tensor) -> None:
    """out [n, c, d] += p^T @ a, for p [n, r, c] and a [n, r, d]."""
    if LINEAR and _one(p, a.transpose(1, 2)):
        out[0].add_(LINEAR(a[0].t(), p[0].t()).t())  # this way round p is the weight, which oneDNN takes transposed
    else:
        out.baddbmm_(p.transpose(1, 2), a)
