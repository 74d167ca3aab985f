"""A second meaning of expressions, in plain Python integers, one pair at a time: what the tests compare with.

It shares nothing with `attnir.evaluate` and `attnir.bounds` but the nodes, and it knows no overflow.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from attnir.call import Call
from attnir.expr import Expr, FieldDecl, Op, ParamDecl

_PLAIN: dict[Op, Callable[..., Any]] = {
    Op.ADD: operator.add,
    Op.SUB: operator.sub,
    Op.NEG: operator.neg,
    Op.MUL: operator.mul,
    Op.FLOORDIV: operator.floordiv,
    Op.MOD: operator.mod,
    Op.ABS: abs,
    Op.MIN: min,
    Op.MAX: max,
    Op.WHERE: lambda c, a, b: a if c else b,
    Op.LT: operator.lt,
    Op.LE: operator.le,
    Op.GT: operator.gt,
    Op.GE: operator.ge,
    Op.EQ: operator.eq,
    Op.NE: operator.ne,
    Op.AND: operator.and_,
    Op.OR: operator.or_,
    Op.NOT: operator.not_,
}


def meaning(e: Expr, call: Call | None = None, **tokens: int) -> Any:
    """The value of an expression for one assignment of its tokens: `meaning(e, call, q=3, k=1, b=0, h=0)`."""
    match e.value:
        case FieldDecl(name=name):
            assert call is not None
            token = str(e.args[0].value)
            values = call.fields[name].queries if token == "q" else call.fields[name].keys
            index = tokens[token] - (call.q_start if token == "q" else 0)
            return int(values[tokens["b"] % values.shape[0], index])
        case ParamDecl(name=name):
            return tokens[name] if call is None else call.params[name]
        case str(name):
            return tokens[name]
        case bool() | int() as value:
            return value
    return _PLAIN[e.op](*(meaning(a, call, **tokens) for a in e.args))


def pairs(call: Call) -> Iterator[dict[str, int]]:
    """Every (b, h, q, k) of a call, keys fastest."""
    for b in range(call.batch):
        for h in range(call.heads):
            for q in range(call.q_start, call.q_start + call.q_len):
                for k in range(call.k_len):
                    yield {"b": b, "h": h, "q": q, "k": k}


def matrix(predicate: Expr, call: Call) -> Tensor:
    """The predicate of every pair, bool [B, H, q_len, k_len], pair by pair in Python."""
    live = [bool(meaning(predicate, call, **tokens)) for tokens in pairs(call)]
    return torch.tensor(live, dtype=torch.bool).view(call.batch, call.heads, call.q_len, call.k_len)


def rows(text: str) -> list[str]:
    """A picture of a mask, one line per query: `rows('''1.. 11. 111''')`."""
    return text.split()


def picture(live: Tensor) -> list[str]:
    """A 0/1 matrix as lines of `1` and `.`, one line per query."""
    return ["".join("1" if x else "." for x in row) for row in live.tolist()]
