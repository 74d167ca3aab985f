"""A call to compare layouts on: lengths as the pattern fixes them, and plain values for all that is not known of it."""

from __future__ import annotations

import torch

from attnir import expr as ex
from attnir.bounds import any_call, bounds
from attnir.call import Call
from attnir.expr import Expr
from attnir.interval import Interval
from attnir.ops import FieldDecl, ParamDecl, SelectionDecl
from attnir.signature import Signature
from attnir.space import Spaces
from attnir.traverse import fields_of, nodes, params_of, reads, selections_of, substitute, tensors_of

LENGTH = 16384  # tokens of a side
RUN = 1024  # tokens with one value of a sorted field
SIZE = 64  # of an axis whose size is a parameter
PARAM = 512  # any other parameter
PICKED = 8  # members of a list
SPREAD = 7919  # between the first members of two lists
COPIES = {"b": 2, "h": 8}


def nominal(predicate: Expr, spaces: Spaces) -> Call:
    """All tokens alike, but in runs where a field is sorted; tensors hold the number of keys, as lengths do.
    Lists of selections have members from everywhere.

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
    chosen = selections_of(predicate)
    bindings |= {s.name: _picks(s, predicate, copies, queries, keys) for s in chosen}
    signature = Signature(fields_of(predicate), tuple(params), tensors_of(predicate), selections=chosen)
    return signature.bind(bindings, batch=copies["b"], heads=copies["h"], q_len=queries, k_len=keys)


def _within(p: ParamDecl, value: int) -> int:
    return min(max(value, p.low), p.high)


def _picks(decl: SelectionDecl, predicate: Expr, copies: dict[str, int], queries: int, keys: int) -> torch.Tensor:
    """Lists of PICKED members, spread over all that there are."""

    def leaf(e: Expr) -> Interval[int]:
        return Interval(0, (queries if e is ex.Q else keys) - 1) if e in ex.TOKENS.values() else any_call(e)

    read = [n for n in nodes(predicate) if n.value == decl]
    lists, members = (max(1, min(LENGTH, max(bounds(n.args[i], leaf).high + 1 for n in read))) for i in (0, 1))
    first = torch.arange(lists, device="cpu")[:, None] * SPREAD
    picks = (first + torch.arange(PICKED, device="cpu") * max(1, members // PICKED)) % members
    return picks.expand(*(copies[a] for a in decl.axes), -1, -1)


def _facts(decl: FieldDecl, length: int) -> torch.Tensor:
    index = torch.arange(length, device="cpu")
    return index // RUN if decl.sorted else torch.zeros_like(index)
