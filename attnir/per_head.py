"""Masks that differ from head to head, as one predicate over the head index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import reduce
from math import lcm

from attnir import expr as ex
from attnir.errors import DeclarationError
from attnir.expr import TRUE, Expr, H
from attnir.limits import size_problem
from attnir.masks import Mask
from attnir.ops import COPIES_LIMIT, Op
from attnir.value import fail

Heads = int | slice | range
BESIDE = 16  # masks in one run of `|`


def per_head(masks: Mapping[Heads, Mask] | Iterable[tuple[Heads, Mask]]) -> Mask:
    """The mask that gives every query head its own: `masks` maps heads, an index, a slice or a range, to masks.

    Slices begin at 0 or later and may be open at their end. Every head needs exactly one mask; where no slice is open,
    the number of heads is fixed, and a call with another one is an error. Python 3.11 has no dictionaries of slices:
    give pairs there.

    >>> import attnir as an
    >>> pattern = an.per_head([(slice(0, 4), an.window(128, 0)), (slice(4, None), an.causal())])
    >>> print(pattern)
    (h < 4) & ((q - k <= 128) & (k <= q)) | (h >= 4) & (k <= q)

    Raises DeclarationError for heads with two masks or none, and for more masks than a predicate holds, some 250.
    """
    chosen = [(_checked(heads), mask) for heads, mask in _pairs(masks)]
    count = _count([heads for heads, _ in chosen])
    predicate = _any([_among(heads, count) & mask.predicate for heads, mask in chosen])
    if problem := size_problem(predicate, 'give numbers that differ from head to head: w = an.tensor("w", "h"), w[h]'):
        fail(DeclarationError, f"{len(chosen)} masks are too many: {problem}")
    common = reduce(Mask.__and__, [replace(mask, predicate=TRUE) for _, mask in chosen]) & Mask(TRUE, heads=count)
    return replace(common, predicate=predicate)


def _any(conditions: list[Expr]) -> Expr:
    """Whether one of them holds: side by side as far as that reads well, then in a tree, which stays flat."""
    while len(conditions) > 1:
        groups = (conditions[i : i + BESIDE] for i in range(0, len(conditions), BESIDE))
        conditions = [reduce(ex.or_, group) for group in groups]
    return conditions[0]


def _pairs(masks: object) -> list[tuple[object, Mask]]:
    """(heads, mask) pairs, as they were given."""
    given = list(masks.items() if isinstance(masks, Mapping) else masks) if isinstance(masks, Iterable) else []
    if not given or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in given):
        fail(DeclarationError, f"heads are mapped to masks, [(slice(0, 4), an.causal()), ...]; not {masks!r}")
    for _, mask in given:
        if not isinstance(mask, Mask):
            fail(DeclarationError, f"heads are mapped to masks, not to {mask!r}")
    return given


def _checked(heads: object) -> slice:
    if isinstance(heads, int) and not isinstance(heads, bool):
        heads = slice(heads, heads + 1)
    if isinstance(heads, slice | range):
        start, stop, step = heads.start or 0, heads.stop, 1 if heads.step is None else heads.step
        whole = all(isinstance(n, int) for n in (start, step, 0 if stop is None else stop))
        if whole and start >= 0 and step >= 1 and (stop is None or start < stop <= COPIES_LIMIT):
            return slice(start, stop, step)
    fail(DeclarationError, f"heads are an index or a slice from 0 on, not empty, with a step from 1; not {heads!r}")


def _count(chosen: list[slice]) -> int | None:
    """How many heads there are; None: any number. Every one has one mask, up to where the slices repeat."""
    ends = [s.start if s.stop is None else s.stop for s in chosen]
    bounded = all(s.stop is not None for s in chosen)
    upto = max(ends) + (0 if bounded else lcm(*(s.step for s in chosen)))
    times = [0] * min(upto, COPIES_LIMIT)
    for s in chosen:
        for head in range(len(times))[s]:
            times[head] += 1
    for head, n in enumerate(times):
        if n != 1:
            fail(DeclarationError, f"head {head} has {n or 'no'} mask{'s' * (n > 1)}; give every head exactly one")
    return len(times) if bounded else None


def _among(heads: slice, count: int | None) -> Expr:
    """Whether the head index is one of the slice."""
    if heads.stop == heads.start + 1:
        return ex.eq(H, heads.start)
    after = TRUE if heads.start == 0 else ex.compare(Op.GE, H, ex.const(heads.start))
    before = TRUE if heads.stop in (None, count) else ex.compare(Op.LT, H, ex.const(heads.stop))
    found = after & before
    return found if heads.step == 1 else found & ex.eq((H - heads.start) % heads.step, 0)
