"""What q, k, v must look like, and an error of its own for each way in which they may not."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from numbers import Real
from typing import cast

import torch
from torch import Tensor
from torch.autograd import forward_ad

from attnir.errors import (
    DerivativeError,
    DeviceError,
    DtypeError,
    ScaleError,
    ShapeError,
    StrideError,
    WidthError,
)
from attnir.heads import Heads, check_heads

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
MOST_WIDTH = 576
MOST_SCALE = 1e12  # a score beyond 1e29 would count as dead
SHAPES = "q [B, Hq, Sq, D], k [B, Hk, Sk, D], v [B, Hv, Sk, Dv]"


def check_inputs(
    q: Tensor, k: Tensor, v: Tensor, heads: Heads | None = None, *, dtypes: tuple[torch.dtype, ...] = DTYPES
) -> None:
    """Raise unless q, k, v are what an attention takes, with head maps where it has some.

    Raises ShapeError, HeadsError, WidthError, DtypeError, DeviceError, StrideError.
    """
    named = (("q", q), ("k", k), ("v", v))
    for name, t in named:
        check_dense(name, t)
        if t.dim() != 4:
            raise ShapeError(f"{name} has {t.dim()} axes, shape {list(t.shape)}; expected {SHAPES}")
    _check_sizes(q, k, v, heads)
    for name, t in named:
        check_dtype(name, t.dtype, dtypes)
        if t.dtype != q.dtype:
            raise DtypeError(f"{name} is {t.dtype}, but q is {q.dtype}; give q, k, v of one dtype")
        if t.device != q.device:
            raise DeviceError(f"{name} is on {t.device}, but q is on {q.device}; move them to one device")
        if t.shape[-1] > 1 and t.stride(-1) != 1:
            raise StrideError(
                f"the last axis of {name} has stride {t.stride(-1)}; it must be contiguous: {name}.contiguous()"
            )


def check_dense(name: str, given: object) -> None:
    """Raise DtypeError unless it is a tensor with a number at every place."""
    if not isinstance(given, Tensor):
        raise DtypeError(f"{name} is a tensor, not {type(given).__name__}")
    if given.is_nested:
        raise DtypeError(
            f"{name} is a dense tensor, not a nested one; lay samples end to end, and tell them apart by a field"
        )
    if given.layout is not torch.strided:
        raise DtypeError(f"{name} is a dense tensor, not {given.layout}: {name}.to_dense()")


def check_transforms(*values: object) -> None:
    """Raise DerivativeError where torch would take the operator for a constant, or fail with an error of its own.

    values: what a call gives, tensors and pairs of them among it; or the gradients of its results.
    """
    if torch.compiler.is_compiling():
        return
    parts = [x for value in values for x in (value if isinstance(value, tuple) else (value,))]
    tensors = [x for x in parts if isinstance(x, Tensor)]
    if forward_ad._current_level >= 0 and any(forward_ad.unpack_dual(t).tangent is not None for t in tensors):
        raise DerivativeError("an attention has no forward-mode derivative (jvp); use torch.autograd.grad")
    inside = torch._C._functorch.is_functorch_wrapped_tensor, torch._C._functorch.is_legacy_batchedtensor
    if any(wrapped(t) for t in tensors for wrapped in inside):
        raise DerivativeError(
            "an attention does not go through torch.func (grad, vjp, jacrev, vmap), nor are its gradients taken in "
            "batches; use torch.autograd.grad, and the batch axis of q, k, v"
        )


def factor_of(scale: object, d: int) -> float:
    """The factor of q . k: as given, by default D ** -0.5.

    Raises ScaleError.
    """
    if scale is None:
        return float(d**-0.5)
    real = isinstance(scale, Real | torch.SymFloat) and not isinstance(scale, bool)
    if not real or not abs(cast(float, scale)) <= MOST_SCALE:
        raise ScaleError(
            f"scale is a number within +-{MOST_SCALE:.0e}, not {scale!r}; one that is learned belongs to q: q * scale"
        )
    return traced_or_float(scale)


def traced_or_float(number: object) -> float:
    """A real number as a float; one that torch traces stays symbolic, so that a graph serves every value."""
    return cast(float, number) if isinstance(number, torch.SymFloat) else float(cast(float, number))


def _check_sizes(q: Tensor, k: Tensor, v: Tensor, heads: Heads | None) -> None:
    if not q.shape[0] == k.shape[0] == v.shape[0]:
        raise ShapeError(f"batches differ: q has {q.shape[0]}, k {k.shape[0]}, v {v.shape[0]}; expected {SHAPES}")
    if k.shape[2] != v.shape[2]:
        raise ShapeError(f"k {list(k.shape)} and v {list(v.shape)} differ in length; expected {SHAPES}")
    check_heads(heads, q.shape[1], k.shape[1], v.shape[1])
    if q.shape[3] != k.shape[3]:
        raise ShapeError(f"the width D of q is {q.shape[3]}, that of k {k.shape[3]}; expected {SHAPES}")
    check_widths(q.shape[3], v.shape[3])


def check_widths(d: int, dv: int) -> None:
    """Raise WidthError unless attention has heads of such widths."""
    for name, width in (("D", d), ("Dv", dv)):
        if not 1 <= width <= MOST_WIDTH:
            raise WidthError(f"{name} = {width} lies outside 1 to {MOST_WIDTH}; split the heads or project them down")


def check_dtype(name: str, dtype: object, dtypes: tuple[torch.dtype, ...] = DTYPES) -> None:
    """Raise DtypeError unless the dtype is one of an attention."""
    if dtype not in dtypes:
        expected = ", ".join(str(d).removeprefix("torch.") for d in dtypes)
        raise DtypeError(f"{name} is {dtype}; expected one of {expected}")


def exact(device: torch.device) -> AbstractContextManager[object]:
    """Without automatic mixed precision, which would round what choices and sums are made of."""
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def autocast(*tensors: Tensor) -> list[Tensor]:
    """Under automatic mixed precision q, k, v take its dtype, as in torch's own attention."""
    kind = tensors[0].device.type if isinstance(tensors[0], Tensor) else "cpu"
    if not torch.amp.is_autocast_available(kind) or not torch.is_autocast_enabled(kind):
        return list(tensors)
    dtype = torch.get_autocast_dtype(kind)
    return [t.to(dtype) if t.dtype in DTYPES else t for t in tensors]
