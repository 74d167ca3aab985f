"""The meaning of expressions over tensors of tokens, and of row tables.

Tokens are int64 tensors that broadcast against each other; the convention for axes is [batch, head, ...]. This is
the dense meaning that everything else is compared with, so it is kept plain.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from attnir.call import Call
from attnir.expr import COPIES, DECIDE, Expr, side_of
from attnir.ops import Coordinate, FieldDecl, Op, ParamDecl, Searched, SelectionDecl, TensorDecl
from attnir.philox import uniform
from attnir.real import is_unbounded
from attnir.selections import rank
from attnir.traverse import nodes

Tokens = Mapping[str, Tensor]
Tables = dict[tuple[Op, object, Expr], Tensor]  # the row tables of one call, by what defines them

_ELEMENTWISE: dict[Op, Callable[..., Any]] = {
    Op.ADD: operator.add,
    Op.SUB: operator.sub,
    Op.NEG: operator.neg,
    Op.MUL: operator.mul,
    Op.FLOORDIV: lambda a, b: torch.div(a, b, rounding_mode="floor"),
    Op.MOD: torch.remainder,
    Op.ABS: torch.abs,
    Op.MIN: torch.minimum,
    Op.MAX: torch.maximum,
    Op.WHERE: torch.where,
    **DECIDE,
    Op.AND: operator.and_,
    Op.OR: operator.or_,
    Op.NOT: operator.invert,
    Op.REAL_ADD: operator.add,
    Op.REAL_SUB: operator.sub,
    Op.REAL_NEG: operator.neg,
    Op.REAL_MUL: operator.mul,
    Op.REAL_DIV: operator.truediv,
    Op.REAL_ABS: torch.abs,
    Op.REAL_MIN: torch.minimum,
    Op.REAL_MAX: torch.maximum,
    Op.REAL_WHERE: torch.where,
    Op.EXP: torch.exp,
    Op.REAL_LOG: torch.log,
    Op.TANH: torch.tanh,
    Op.SIGMOID: torch.sigmoid,
    Op.SQRT: torch.sqrt,
    Op.LOG: lambda a: a.clamp(min=1).log(),
    Op.FLOAT: lambda a: a,
    Op.RANDOM: uniform,
    Op.ROWMIN: lambda a: a.amin(-1, keepdim=True),
    Op.ROWMAX: lambda a: a.amax(-1, keepdim=True),
}


class Evaluator:
    """Evaluates expressions of one call over given tokens; each shared node once. Row tables are kept.

    Real numbers have the dtype of the score, which is the token `s`.
    """

    def __init__(self, call: Call, tokens: Tokens, tables: Tables | None = None) -> None:
        self.call = call
        self.tokens = {**{name: self._scalar(v) for name, v in call.sizes.items()}, **tokens}
        self.tables: Tables = {} if tables is None else tables
        self.done: dict[Expr, Tensor] = {}

    def _scalar(self, value: float) -> Tensor:
        return torch.full((), value, device=self.call.device)  # filled on the device: nothing waits, nothing is copied

    def define(self, name: str, value: Expr) -> None:
        """Give the value of an expression a name for later ones."""
        self.tokens[name] = self(value)

    def __call__(self, e: Expr) -> Tensor:
        for n in nodes(e, definitions=False):
            if n not in self.done:
                self.done[n] = self._value(n)
        return self.done[e]

    def _value(self, n: Expr) -> Tensor:
        match n.value:
            case FieldDecl(name=name):
                return self._field(name, n.args[0])
            case TensorDecl(real=True):
                return self._read(n)
            case TensorDecl(name=name):
                return self._entry(self.call.tensors[name])
            case SelectionDecl(name=name, axes=axes):
                copies = (self.tokens[t] if t in axes else self._scalar(0) for t in "bh")
                return rank(self.call.selections[name], *copies, *(self.done[a] for a in n.args[:2]))
            case ParamDecl(name=name, real=True):
                return torch.full((), self.call.numbers[name], dtype=self.tokens["s"].dtype, device=self.call.device)
            case ParamDecl(name=name):
                return self._scalar(self.call.params[name])
            case Searched():
                return self._table(n)
            case str() | Coordinate() as name:
                return self.tokens[str(name)]
            case int() as value:
                return self._scalar(value)
            case float() as value:  # in the score's dtype at once: torch would take float32 for it
                return torch.full((), value, dtype=self.tokens["s"].dtype, device=self.call.device)
        given = (self.done[a] for a in n.args)
        if n.is_real and n.op is not Op.RANDOM:
            given = (x if x.dtype is torch.bool else self._real(x) for x in given)
        result: Tensor = _ELEMENTWISE[n.op](*given)
        return result

    def _real(self, values: Tensor) -> Tensor:
        return values.to(self.tokens["s"].dtype)

    def _field(self, name: str, position: Expr) -> Tensor:
        """A field's row of values per sample, read at a position."""
        side = side_of(position)
        values = self.call.fields[name].on(side)
        index = self.done[position] - self.call.start(side)
        batch = self.tokens["b"] if values.shape[0] != 1 else torch.zeros_like(index)
        return values[batch, index].long()

    def _entry(self, values: Tensor) -> Tensor:
        """A tensor over samples and heads, [B or 1, H or 1], read at those of the tokens."""
        batch, head = (self.tokens[t] if n != 1 else self._scalar(0) for t, n in zip("bh", values.shape, strict=True))
        return values[batch, head].long()

    def _read(self, n: Expr) -> Tensor:
        """A real tensor at an index for each axis: 0 outside of it."""
        assert isinstance(n.value, TensorDecl)
        values = self._real(self.call.reals[n.value.name])
        index, inside = self.place(n)
        if not index:
            return values
        found = values[tuple(index)]
        return found if inside is None else torch.where(inside, found, torch.zeros_like(found))

    def place(self, n: Expr) -> tuple[list[Tensor], Tensor | None]:
        """(an index for each axis of a real tensor, held within it; where all lay within it, None: everywhere)."""
        assert isinstance(n.value, TensorDecl)
        index: list[Tensor] = []
        inside: Tensor | None = None
        for axis, e, held in zip(n.value.axes, n.args, self.call.reals[n.value.name].shape, strict=True):
            at = self(e) - (self.call.q_start if axis == "q" else 0)
            if e is not COPIES.get(axis):
                within = (at >= 0) & (at < self.call.lengths.get(axis, held))
                inside = within if inside is None else inside & within
            index.append(at.clamp(0, max(0, held - 1)))  # 1 stands for all
        return index, inside

    def _table(self, n: Expr) -> Tensor:
        assert isinstance(n.value, Searched)
        bound, at = n.args
        key = (n.op, n.value, bound)
        if key not in self.tables:
            self.tables[key] = row_table(n, self.call)
        table = self.tables[key]
        index = self.done[at] - self.call.start(n.value.side.other)
        batch = self.tokens["b"] if table.shape[0] != 1 else torch.zeros_like(index)
        head = self.tokens["h"] if table.shape[1] != 1 else torch.zeros_like(index)
        return table[batch, head, index].long()


def token_axes(call: Call) -> dict[str, Tensor]:
    """b as [batch, 1, 1, 1] and h as [1, heads, 1, 1]."""
    b = torch.arange(call.batch, device=call.device).view(-1, 1, 1, 1)
    return {"b": b, "h": torch.arange(call.heads, device=call.device).view(1, -1, 1, 1)}


def row_table(n: Expr, call: Call) -> Tensor:
    """The row table of a LOWER_BOUND or UPPER_BOUND node: int32 positions [Bt, Ht, rows]; Bt and Ht may be 1."""
    assert isinstance(n.value, Searched)
    columns, rows = n.value.side, n.value.side.other
    values, length = call.fields[n.value.field.name].on(columns), call.length(rows)
    tokens = {**token_axes(call), rows.value: call.positions(rows)}
    bound = Evaluator(call, tokens)(n.args[0])
    bound = bound.broadcast_to((*[1] * (4 - bound.dim()), *bound.shape))[..., 0, :] if bound.dim() else bound
    bound = bound.expand(*torch.broadcast_shapes(bound.shape, (values.shape[0], 1, length)))
    haystack = values.long()[:, None].expand(bound.shape[0], bound.shape[1], -1).contiguous()
    found = torch.searchsorted(haystack, bound.contiguous(), right=n.op is Op.UPPER_BOUND)
    return (found + call.start(columns)).to(torch.int32)


def dense_mask(predicate: Expr, call: Call) -> Tensor:
    """The predicate of every pair: bool [B or 1, H or 1, q_len, k_len]. For small sizes and tests."""
    return live_block(predicate, call, slice(0, call.q_len), slice(0, call.k_len))


def dense_score(score: Expr, call: Call, live: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    """What becomes of scores s [B, H, q_len, k_len], of live pairs or of all: of the same shape and dtype."""
    tokens = dense_tokens(call, slice(0, call.q_len), slice(0, call.k_len))

    def of_all(s: Tensor) -> Tensor:
        return Evaluator(call, {**tokens, "s": s})(score).to(s.dtype).expand(s.shape)

    def of_live(s: Tensor) -> Tensor:
        assert live is not None
        b, h, rows, columns = at = live.expand(s.shape).nonzero(as_tuple=True)
        found = of_pairs(score, call, b, h, rows, columns, s[at]).to(s.dtype)
        return torch.zeros_like(s).index_put(at, found.expand(len(b)))

    # Where a value or a slope may be infinite it must not be computed of other pairs: a gradient of 0 would make NaN.
    return of_all if live is None or not is_unbounded(score) else of_live


def dense_tokens(call: Call, rows: slice, columns: slice) -> dict[str, Tensor]:
    """Every sample and head, the queries `rows` and the keys `columns` (indices), on an axis each."""
    return {
        **token_axes(call),
        "q": call.q_start + torch.arange(rows.start, rows.stop, device=call.device).view(1, 1, -1, 1),
        "k": torch.arange(columns.start, columns.stop, device=call.device).view(1, 1, 1, -1),
    }


def live_block(
    predicate: Expr, call: Call, rows: slice, columns: slice, batches: slice | None = None, heads: slice | None = None
) -> Tensor:
    """The predicate on queries `rows` and keys `columns` (indices): bool [batch or 1, head or 1, rows, columns]."""
    tokens = dense_tokens(call, rows, columns)
    tokens["b"] = tokens["b"] if batches is None else tokens["b"][batches]
    tokens["h"] = tokens["h"] if heads is None else tokens["h"][:, heads]
    live = Evaluator(call, tokens)(predicate)
    shape = torch.broadcast_shapes(live.shape, (1, 1, rows.stop - rows.start, columns.stop - columns.start))
    return live.expand(shape)


def of_pairs(
    e: Expr,
    call: Call,
    samples: Tensor,
    heads: Tensor,
    rows: Tensor,
    columns: Tensor,
    scores: Tensor | None = None,
) -> Tensor:
    """An expression on any pairs, of the shape to which the index tensors, and scores, broadcast, or a smaller one."""
    tokens = tokens_of_pairs(call, samples, heads, rows, columns)
    return Evaluator(call, tokens if scores is None else {**tokens, "s": scores})(e)


def tokens_of_pairs(call: Call, samples: Tensor, heads: Tensor, rows: Tensor, columns: Tensor) -> dict[str, Tensor]:
    """The tokens of pairs that are given by indices."""
    return {"b": samples, "h": heads, "q": call.q_start + rows, "k": columns}


def entry_of_pairs(
    n: Expr, call: Call, samples: Tensor, heads: Tensor, rows: Tensor, columns: Tensor
) -> tuple[Tensor, Tensor | None]:
    """(which entry of a real tensor pairs read, in row-major order; where they read one, None: everywhere)."""
    assert isinstance(n.value, TensorDecl)
    index, inside = Evaluator(call, tokens_of_pairs(call, samples, heads, rows, columns)).place(n)
    flat = torch.zeros((), dtype=torch.int64, device=call.device)
    for at, size in zip(index, call.reals[n.value.name].shape, strict=True):
        flat = flat * size + at
    return flat, inside
