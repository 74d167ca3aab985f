"""A pattern's time beside torch's dense attention: the same call, forward and backward, in one interleaved run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

import attnir as an
from attnir.errors import ShapeError
from attnir.evaluate import dense_mask
from attnir.frontends.timing import medians
from attnir.heads import spread
from attnir.promises import check_sizes

MOST_BYTES = 2**31  # of the dense mask, and of the scores that dense attention may write down
ATTNIR, MASKED, UNMASKED = "attnir", "dense, masked", "dense, unmasked"
Runner = Callable[[Tensor, Tensor, Tensor], Any]


@dataclass(frozen=True, slots=True)
class Size:
    """The sizes of q, k and v, and the device they are on."""

    length: int
    heads: int
    d: int
    dtype: torch.dtype
    device: torch.device


@dataclass(frozen=True, slots=True)
class Measured:
    """Median milliseconds by contestant, attnir's first, and why others were left out."""

    forward: dict[str, float]
    both: dict[str, float]
    left_out: dict[str, str]


def measure(attention: an.Attention, size: Size, bindings: Mapping[str, Any], repeats: int) -> Measured:
    """Time an attention beside what torch has for the same call.

    Raises the errors of a call, and ShapeError for a length that is no call's.
    """
    if size.length < 1 or repeats < 1:
        raise ShapeError(f"a length and a number of repeats are at least 1, not {size.length} and {repeats}")
    q, k, v, do = _tensors(size, attention.plan.heads)
    leaves = [t.clone().requires_grad_() for t in (q, k, v)]
    runners: dict[str, Runner] = {ATTNIR: lambda q, k, v: attention(q, k, v, **bindings)}
    _both(runners[ATTNIR], leaves, do)()  # what is wrong with the call is said before the others start
    others, left_out = _dense(attention, size, bindings)
    for name, run in others.items():
        try:
            _both(run, leaves, do)()
        except RuntimeError as error:  # one that cannot run, for want of memory above all, is shown as such
            left_out[name] = str(error).partition("\n")[0]
        else:
            runners[name] = run
    with torch.no_grad():
        forward = medians({name: _forward(run, q, k, v) for name, run in runners.items()}, repeats)
    both = medians({name: _both(run, leaves, do) for name, run in runners.items()}, repeats)
    return Measured(forward, both, left_out)


def _tensors(size: Size, maps: an.Heads | None) -> list[Tensor]:
    """q, k, v, and the gradient of o; k and v have the heads that maps name."""
    named = (size.heads,) * 2 if maps is None else (1 + max(maps.k), 1 + max(maps.v))
    try:
        shapes = [(1, heads, size.length, size.d) for heads in (size.heads, *named, size.heads)]
        return [torch.randn(shape, dtype=size.dtype, device=size.device) for shape in shapes]
    except RuntimeError as error:
        why = str(error).partition("\n")[0]
        raise ShapeError(
            f"there is no memory for q, k and v of {size.heads} x {size.length} x {size.d}: {why}; try fewer tokens"
        ) from None


def _forward(run: Runner, q: Tensor, k: Tensor, v: Tensor) -> Callable[[], object]:
    return lambda: run(q, k, v)


def _both(run: Runner, leaves: list[Tensor], do: Tensor) -> Callable[[], object]:
    return lambda: torch.autograd.grad(run(*leaves), leaves, do)


def _dense(
    attention: an.Attention, size: Size, bindings: Mapping[str, Any]
) -> tuple[dict[str, Runner], dict[str, str]]:
    """torch's attention with the pattern as a dense mask, and without one where that means the same."""
    runners: dict[str, Runner] = {}
    left_out: dict[str, str] = {}
    maps = attention.plan.heads

    def mapped(k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return (k, v) if maps is None else (spread(k, maps.k), spread(v, maps.v))

    plain = replace(attention.pattern, mask=an.full()) == an.pattern(an.full())
    if plain and attention.pattern.predicate in (an.full().predicate, an.causal().predicate):
        causal = attention.pattern.predicate is an.causal().predicate
        runners[UNMASKED] = lambda q, k, v: scaled_dot_product_attention(q, *mapped(k, v), is_causal=causal)
    else:
        left_out[UNMASKED] = "torch has it for full and causal alone"
    needed = size.length**2 * size.heads * size.dtype.itemsize
    if attention.routes:
        left_out[MASKED] = "its keys are chosen anew in every call"
    elif not plain:
        left_out[MASKED] = "the pattern changes scores or weights, which a mask does not"
    elif needed > MOST_BYTES:
        left_out[MASKED] = f"its scores could take {needed / 2**30:.1f} GiB; a shorter --length has it"
    else:
        mask = _mask(attention, size, bindings)
        runners[MASKED] = lambda q, k, v: scaled_dot_product_attention(q, *mapped(k, v), attn_mask=mask)
    return {name: runners[name] for name in (MASKED, UNMASKED) if name in runners}, left_out


def _mask(attention: an.Attention, size: Size, bindings: Mapping[str, Any]) -> Tensor:
    """The pattern as torch's attention takes it, bool [1, H or 1, S, S]."""
    n = size.length
    call = attention.signature.bind(bindings, batch=1, heads=size.heads, q_len=n, device=size.device)
    check_sizes(call, *attention.pattern.roots)
    return dense_mask(attention.pattern.predicate, call).expand(1, -1, n, n).contiguous()
