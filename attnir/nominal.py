"""A call to compare layouts on: lengths as the pattern fixes them, and plain values for all that is not known of it."""

from __future__ import annotations

import torch

from attnir import expr as ex
from attnir.call import Call
from attnir.expr import Expr
from attnir.ops import FieldDecl, ParamDecl
from attnir.signature import Signature
from attnir.space import Spaces
from attnir.traverse import fields_of, params_of, reads, substitute, tensors_of

LENGTH = 16384  # tokens of a side
RUN = 1024  # tokens with one value of a sorted field
SIZE = 64  # of an axis whose size is a parameter
PARAM = 512  # any other parameter
COPIES = {"b": 2, "h": 8}


def nominal(predicate: Expr, spaces: Spaces) -> Call:
    """All tokens alike, but in runs where a field is sorted; tensors hold the number of keys, as lengths do.

    One sample and one head, several where the predicate tells them apart.
    """
    sizes = params_of(*(s.length for s in spaces if s))
    params = {p: _within(p, SIZE if p in sizes else PARAM) for p in (*sizes, *params_of(predicate))}
    known = {ex.param(p): ex.const(value) for p, value in params.items()}
    queries, keys = (LENGTH if s is None else substitute(s.length, known).const for s in spaces)
    if None in spaces:  # a side that is left open is as long as the other
        queries = keys = keys if spaces[0] is None else queries
    bindings: dict[str, object] = {p.name: value for p, value in params.items()}
    bindings |= {d.name: (_facts(d, queries), _facts(d, keys)) for d in fields_of(predicate)}
    read = reads(predicate)
    copies = {"b": COPIES["b"] if "b" in read else 1, "h": COPIES["h"] if "h" in read else 1}
    bindings |= {t.name: torch.full([copies[a] for a in t.axes], keys, device="cpu") for t in tensors_of(predicate)}
    signature = Signature(fields_of(predicate), tuple(params), tensors_of(predicate))
    return signature.bind(bindings, batch=copies["b"], heads=copies["h"], q_len=queries, k_len=keys)


def _within(p: ParamDecl, value: int) -> int:
    return min(max(value, p.low), p.high)


def _facts(decl: FieldDecl, length: int) -> torch.Tensor:
    index = torch.arange(length, device="cpu")
    return index // RUN if decl.sorted else torch.zeros_like(index)
