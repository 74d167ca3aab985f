"""The three batched products of attention, each by the fastest routine at hand.

On a CPU, one large float32 matrix is multiplied up to twice as fast by oneDNN as by the BLAS behind `bmm`, which is the
faster one for several.

Operands and results are [outer, inner, rows, columns].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from attnir.codegen.torch.operands import Batches, Workspace, each

LARGE = 1 << 21  # multiplications, from which oneDNN pays


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


def _calls(*operands: Batches) -> Iterable[tuple[Tensor, ...]]:
    """Operands [inner, rows, columns] of one call each; all in one call where outer and inner lie as one axis."""
    if all(isinstance(t, Tensor) and _is_one_axis(t) for t in operands):
        return [tuple(t.flatten(0, 1) for t in operands if isinstance(t, Tensor))]
    return zip(*operands, strict=True)


def _is_one_axis(t: Tensor) -> bool:
    return t.shape[1] == 1 or t.stride(0) == t.shape[1] * t.stride(1)


def scores(a: Batches, b: Batches, work: Workspace, name: str) -> Tensor:
    """a [., ., r, d] @ b^T for b [., ., c, d]: [., ., r, c], in the buffer of that name or in a tensor of its own."""
    if LINEAR and _one(a, b):
        return LINEAR(a[0][0], b[0][0])[None, None]
    out = work.take(name, len(a), a[0].shape[0], a[0].shape[1], b[0].shape[1])
    for x, y, place in _calls(a, b, out):
        torch.bmm(x, y.transpose(1, 2), out=place)
    return out


def mix(p: Tensor, b: Batches, places: Batches, work: Workspace, fresh: bool) -> None:
    """p [., ., r, c] @ b [., ., c, d], written to places [., ., r, d] if fresh, else added to them."""
    single = LINEAR is not None and _one(p, tuple(x.transpose(1, 2) for x in b))
    apart = isinstance(b, Tensor) and not isinstance(places, Tensor)  # products of one call, results of many
    if fresh and not single and not apart and all(x.is_contiguous() for x in places):
        _products(p, b, places)
        return
    # Into contiguous matrices: bmm takes those of another tensor one by one.
    found = _one_product(p, b) if single else work.take("mix", *p.shape[:3], b[0].shape[2])
    if not single:
        _products(p, b, found)
    each(Tensor.copy_ if fresh else Tensor.add_, places, found)


def _one_product(p: Tensor, b: Batches) -> Tensor:
    assert LINEAR is not None
    return LINEAR(p[0, 0], b[0][0].t())[None, None]


def _products(p: Tensor, b: Batches, places: Batches) -> None:
    for x, y, place in _calls(p, b, places):
        torch.bmm(x, y, out=place)


def mix_transposed(p: Tensor, a: Batches, work: Workspace) -> Tensor:
    """p^T @ a, for p [., ., r, c] and a [., ., r, d]: [., ., c, d]."""
    if LINEAR and _one(p, tuple(x.transpose(1, 2) for x in a)):
        return LINEAR(a[0][0].t(), p[0, 0].t()).t()[None, None]  # this way p is the weight, which may be transposed
    out = work.take("mix", len(p), p.shape[1], p.shape[3], a[0].shape[2])
    for x, y, place in _calls(p, a, out):
        torch.bmm(x.transpose(1, 2), y, out=place)
    return out
