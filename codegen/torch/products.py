"""The three batched products of attention, each by the fastest routine at hand.

On a CPU, oneDNN's float32 product runs at up to twice the speed of the BLAS behind `bmm` once a product is large, but
takes one matrix at a time and costs some ten microseconds a call. So one large matrix goes to oneDNN, all else to
`bmm`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from attnir.codegen.torch.operands import Workspace

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


def scores(a: Tensor, b: Tensor, work: Workspace, name: str) -> Tensor:
    """a [n, r, d] @ b^T for b [n, c, d]: [n, r, c], in the buffer of that name or in a tensor of its own."""
    if LINEAR and _one(a, b):
        return LINEAR(a[0], b[0])[None]
    return torch.bmm(a, b.transpose(1, 2), out=work.take(name, a.shape[0], a.shape[1], b.shape[1]))


def mix(p: Tensor, b: Tensor, work: Workspace) -> Tensor:
    """p [n, r, c] @ b [n, c, d]: [n, r, d], in a buffer of its own or in a new tensor."""
    if LINEAR and _one(p, b.transpose(1, 2)):
        return LINEAR(p[0], b[0].t())[None]
    # Into a contiguous buffer: bmm takes the matrices of another one by one.
    return torch.bmm(p, b, out=work.take("mix", p.shape[0], p.shape[1], b.shape[2]))


def mix_transposed(p: Tensor, a: Tensor, work: Workspace) -> Tensor:
    """p^T @ a, for p [n, r, c] and a [n, r, d]: [n, c, d]."""
    if LINEAR and _one(p, a.transpose(1, 2)):
        return LINEAR(a[0].t(), p[0].t()).t()[None]  # this way round p is the weight, which oneDNN takes transposed
    return torch.bmm(p.transpose(1, 2), a, out=work.take("mix", p.shape[0], p.shape[2], a.shape[2]))
