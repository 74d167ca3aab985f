"""A call to compare layouts on: lengths as the pattern fixes them, and plain values for all that is not known of it."""

from __future__ import annotations

import torch

from attnir import expr as ex
from attnir.call import Call, bind
from attnir.expr import Expr
from attnir.ops import FieldDecl, ParamDecl
from attnir.space import Spaces
from attnir.traverse import fields_of, params_of, substitute, tensors_of

LENGTH = 16384  # tokens of a side
RUN = 1024  # tokens with one value of a sorted field
SIZE = 64  # of an axis whose size is a parameter
PARAM = 512  # any other parameter


def nominal(predicate: Expr, spaces: Spaces) -> Call:
    """One head of one sample; all tokens alike, but in runs where a field is sorted."""
    sizes = params_of(*(s.length for s in spaces if s))
    params = {p: _within(p, SIZE if p in sizes else PARAM) for p in (*sizes, *params_of(predicate))}
    known = {ex.param(p): ex.const(value) for p, value in params.items()}
    queries, keys = (LENGTH if s is None else substitute(s.length, known).const for s in spaces)
    if None in spaces:  # a side that is left open is as long as the other
        queries = keys = keys if spaces[0] is None else queries
    bindings: dict[str, object] = {p.name: value for p, value in params.items()}
    bindings |= {d.name: (_facts(d, queries), _facts(d, keys)) for d in fields_of(predicate)}
    bindings |= {t.name: torch.full((1,) * len(t.axes), PARAM) for t in tensors_of(predicate)}
    return bind(
        fields_of(predicate),
        tuple(params),
        bindings,
        batch=1,
        heads=1,
        q_len=queries,
        k_len=keys,
        tensors=tensors_of(predicate),
    )


def _within(p: ParamDecl, value: int) -> int:
    return min(max(value, p.low), p.high)


def _facts(decl: FieldDecl, length: int) -> torch.Tensor:
    index = torch.arange(length)
    return index // RUN if decl.sorted else torch.zeros_like(index)
