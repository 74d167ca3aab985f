"""Tokens in the order of a label that is not sorted: where tokens see those of their own label, these stand together.

A label is an integer of fields of a token, `cluster(q)`; the predicate asks for `cluster(q) == cluster(k)` in every
disjunct. The tokens of a side are then taken in the order of their labels, those of one label in the order of their
positions, and a *place* in that order stands for a token. Over places a program is one over runs of tokens, whose
fields are permuted, and which reads three facts about a place:

    _token(k)   the position of the token that stands there
    _order(k)   STEP * (the first place of its label) + position: ascending
    _base(q)    STEP * (the first place of its label on the other side), or a little less where none has that label

A key of q's label at a position in [a, b) has `_base(q) + a <= _order(k) < _base(q) + b`: a range, found by search.
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

import torch
from torch import Tensor

from attnir import expr as ex
from attnir.axes import TOKEN_OF
from attnir.call import Call, FieldValues
from attnir.disjuncts import disjuncts
from attnir.evaluate import Evaluator
from attnir.expr import FALSE, TRUE, Expr, const
from attnir.ops import POSITION_LIMIT, FieldDecl, Op, Side
from attnir.real import at
from attnir.solve import solve
from attnir.traverse import contains, fields_of, nodes, rebuild, substitute

TOKEN = FieldDecl("_token", limit=POSITION_LIMIT)
ORDER, BASE = FieldDecl("_order", sorted=True), FieldDecl("_base", sorted=True)
FACTS = (TOKEN, ORDER, BASE)
STEP = 4 * POSITION_LIMIT


def label_of(predicate: Expr) -> Expr | None:
    """The label, of a key, that every disjunct wants equal; None where there is none, or where its field is sorted."""
    in_runs = {f.name for f in fields_of(predicate) if f.sorted}
    found: set[Expr] | None = None
    for conjunction in disjuncts(_scattered(predicate)):
        here = {label for e in conjunction if (label := _equal(e)) is not None}
        found = here if found is None else found & here
    scattered = [label for label in found or () if not {f.name for f in fields_of(label)} <= in_runs]
    return min(scattered, key=str, default=None)


def _equal(e: Expr) -> Expr | None:
    """The label that an equality compares."""
    if e.op is not Op.EQ:
        return None
    for a, b in (e.args, e.args[::-1]):
        if substitute(a, {ex.Q: ex.K}) is b and _is_fact(b) and not contains(a, ex.K):
            return b
    return None


def _is_fact(e: Expr) -> bool:
    """Whether an expression is of fields of the key alone."""
    free = {n for n in nodes(e) if n.op in (Op.SYM, Op.PARAM, Op.ENTRY)}
    outside = any(n.op not in (Op.FIELD, Op.SYM) and ex.K in n.args for n in nodes(e))
    return free == {ex.K} and not outside and bool(fields_of(e))


def _scattered(e: Expr) -> Expr:
    """The same of fields that are not sorted: along places, no field of a call is."""

    def change(n: Expr) -> Expr | None:
        if not (isinstance(n.value, FieldDecl) and n.value.sorted):
            return None
        return ex.field(replace(n.value, sorted=False), n.args[0])

    return rebuild(e, change)


def over_places(e: Expr) -> Expr:
    """A predicate or a score over places: positions are those of the tokens that stand there."""
    return at(_scattered(e), {token: ex.field(TOKEN, token) for token in TOKEN_OF.values()})


def ranges_of(predicate: Expr, label: Expr, rows: Side) -> Expr | None:
    """The predicate over places, said by ranges of `_order` of the columns.

    None where more than the label and positions tells the keys of a query: such facts may lie closer in another order.
    """
    row, column = TOKEN_OF[rows], TOKEN_OF[rows.other]
    equal = ex.eq(substitute(label, {ex.K: ex.Q}), label), ex.eq(label, substitute(label, {ex.K: ex.Q}))
    order, base = ex.field(ORDER, column), ex.field(BASE, row)
    found = FALSE
    for conjunction in disjuncts(_scattered(predicate)):
        rest = reduce(ex.and_, (e for e in conjunction if e not in equal), TRUE)
        for band in solve(rest, column, row):
            if any(contains(e, row) for e in band.residual):
                return None
            lower, upper = band.span(const(0), const(POSITION_LIMIT))
            lower, upper = ex.maximum(over_places(lower), 0), ex.minimum(over_places(upper), POSITION_LIMIT)
            inside = (order >= base + lower) & (order < base + upper)
            found = found | reduce(ex.and_, map(over_places, band.residual), inside)
    return found


def in_order(call: Call, label: Expr | None) -> Call:
    """The call over places: its fields in the order of the label, and the facts about places."""
    if label is None:
        return call
    labels = {side: _labels(call, label, side) for side in Side}
    orders = {side: labels[side].argsort(dim=-1, stable=True) for side in Side}
    sorted_labels = {side: labels[side].gather(-1, orders[side]) for side in Side}
    values = {
        name: FieldValues(*(_permuted(f.on(side), orders[side]) for side in Side)) for name, f in call.fields.items()
    }
    facts = {side: _facts(side, call, orders[side], sorted_labels) for side in Side}
    values |= {d.name: FieldValues(*(facts[side][d] for side in Side)) for d in FACTS}
    return replace(call, fields=values)


def _labels(call: Call, label: Expr, side: Side) -> Tensor:
    """The label of every token of a side, [B or 1, length]."""
    token = TOKEN_OF[side]
    tokens = {"b": torch.arange(call.batch, device=call.device)[:, None], side.value: call.positions(side)[None]}
    return Evaluator(call, tokens)(substitute(label, {ex.K: token})).contiguous()


def _permuted(values: Tensor, order: Tensor) -> Tensor:
    shape = torch.broadcast_shapes(values.shape, order.shape)
    return values.expand(shape).gather(-1, order.expand(shape))


def _facts(side: Side, call: Call, order: Tensor, labels: dict[Side, Tensor]) -> dict[FieldDecl, Tensor]:
    """What is known of every place, [B or 1, length]."""
    own, other = labels[side], labels[side.other]
    token = order + call.start(side)
    first = _searched(own, own)
    theirs = _searched(other, own)
    length = other.shape[-1]
    if length:
        shape = torch.broadcast_shapes(other.shape[:-1], theirs.shape[:-1])
        at_first = other.expand(*shape, -1).gather(-1, theirs.expand(*shape, -1).clamp(max=length - 1))
        known = (theirs < length) & (at_first == own)
    else:
        known = torch.zeros_like(theirs, dtype=torch.bool)
    return {
        TOKEN: token.to(torch.int32),
        ORDER: first * STEP + token,
        BASE: theirs * STEP - torch.where(known, 0, STEP // 2),
    }


def _searched(values: Tensor, wanted: Tensor) -> Tensor:
    """The first place at which sorted values reach those that are wanted, [B or 1, wanted]."""
    shape = torch.broadcast_shapes(values.shape[:-1], wanted.shape[:-1])
    return torch.searchsorted(values.expand(*shape, -1).contiguous(), wanted.expand(*shape, -1).contiguous())
