"""A second meaning of expressions, in plain Python integers, one pair at a time: what evaluation is compared with.

It shares nothing with `attnir.evaluate` and `attnir.bounds` but the nodes, and it knows no overflow.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from attnir.call import Call
from attnir.expr import Expr
from attnir.ops import TABLES, Coordinate, FieldDecl, Op, ParamDecl, Searched, SelectionDecl, Side, TensorDecl

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
    Op.REAL_ADD: operator.add,
    Op.REAL_SUB: operator.sub,
    Op.REAL_NEG: operator.neg,
    Op.REAL_MUL: operator.mul,
    Op.REAL_DIV: lambda a, b: a / b if b else math.nan if not a else math.copysign(math.inf, a),
    Op.REAL_ABS: abs,
    Op.REAL_MIN: min,
    Op.REAL_MAX: max,
    Op.REAL_WHERE: lambda c, a, b: a if c else b,
    Op.EXP: lambda x: math.exp(x) if x < 700 else math.inf,
    Op.REAL_LOG: lambda x: math.log(x) if x > 0 else -math.inf if x == 0 else math.nan,
    Op.TANH: math.tanh,
    Op.SIGMOID: lambda x: 0.5 + 0.5 * math.tanh(x / 2),
    Op.SQRT: lambda x: math.sqrt(x) if x >= 0 else math.nan,
    Op.LOG: lambda n: math.log(max(n, 1)),
    Op.FLOAT: float,
    Op.RANDOM: lambda *integers: _random(*integers),
}

Tokens = Mapping[str, int]


def meaning(e: Expr, tokens: Tokens, call: Call | None = None, rows: range = range(0)) -> Any:
    """The value of an expression for one assignment of its tokens: `meaning(e, {"q": 3, "k": 1}, call)`.

    A score `s` is a token as well. Coordinates are looked up as they print, {"q.y": 2}; without a call, parameters and
    fields as well: {"w": 4, "doc(q)": 7}. `rows` are the positions over which ROWMIN and ROWMAX go.
    """
    match e.value:
        case FieldDecl(name=name):
            return tokens[str(e)] if call is None else _field(name, str(e.args[0].value), tokens, call)
        case TensorDecl(real=True):
            return _read(e, [meaning(a, tokens, call, rows) for a in e.args], call)
        case TensorDecl(name=name):
            if call is None:
                return tokens[str(e)]
            values = call.tensors[name]
            return int(values[tokens["b"] % values.shape[0], tokens["h"] % values.shape[1]])
        case SelectionDecl(name=name):
            at, member = (meaning(a, tokens, call, rows) for a in e.args[:2])
            return _rank(name, at, member, tokens, call)
        case Coordinate():
            return tokens[str(e)]
        case ParamDecl(name=name):
            return tokens[name] if call is None else {**call.params, **call.numbers}[name]
        case str(name):
            return tokens[name]
        case bool() | int() | float() as value:
            return value
    if e.op in (Op.ROWMIN, Op.ROWMAX):
        over = [meaning(e.args[0], {**tokens, "q": at, "k": at}, call, rows) for at in rows]
        return min(over) if e.op is Op.ROWMIN else max(over)
    if e.op in TABLES:
        assert call is not None
        return _searched(e, tokens, call, rows)
    return _PLAIN[e.op](*(meaning(a, tokens, call, rows) for a in e.args))


def _random(seed: int, a: int, b: int, c: int, d: int) -> float:
    """Philox, in Python's integers: the key of two words by four words, then the number by two."""
    word, key, x = 2**32, [seed % 2**32, (seed >> 32) % 2**32], [a % 2**32, b % 2**32, 0, 0]
    for _ in range(10):
        first, second = x[0] * 0xD2511F53, x[2] * 0xCD9E8D57
        x = [second // word ^ x[1] ^ key[0], second % word, first // word ^ x[3] ^ key[1], first % word]
        key = [(key[0] + 0x9E3779B9) % word, (key[1] + 0xBB67AE85) % word]
    own, left, right = x[0], c % word, d % word
    for _ in range(10):
        product = left * 0xD256D193
        left, right = product // word ^ right ^ own, product % word
        own = (own + 0x9E3779B9) % word
    return float((left >> 8) / 2**24)


def _rank(name: str, at: int, member: int, tokens: Tokens, call: Call | None) -> int:
    """The place of a member in a list, from 1."""
    assert call is not None
    lists = call.selections[name]
    own = lists[tokens["b"] % lists.shape[0], tokens["h"] % lists.shape[1]].tolist()
    listed = own[at] if 0 <= at < len(own) else []
    return listed.index(member) + 1 if member >= 0 and member in listed else 0


def _read(e: Expr, index: list[int], call: Call | None) -> float:
    """A real tensor at an index; 0 outside of it."""
    assert isinstance(e.value, TensorDecl) and call is not None
    values = call.reals[e.value.name]
    for i, (axis, size) in enumerate(zip(e.value.axes, values.shape, strict=True)):
        index[i] -= call.q_start if axis == "q" else 0
        if not 0 <= index[i] < call.lengths.get(axis, size):
            return 0.0
        index[i] = min(index[i], size - 1)  # 1 stands for all
    return float(values[tuple(index)])


def _field(name: str, token: str, tokens: Tokens, call: Call) -> int:
    """A field at q, k, or the ends q0, q1, k0, k1 of a tile."""
    of_query = token.startswith("q")
    values = call.fields[name].queries if of_query else call.fields[name].keys
    return int(values[tokens["b"] % values.shape[0], tokens[token] - call.q_start * of_query])


def _searched(e: Expr, tokens: Tokens, call: Call, rows: range) -> int:
    """The first column whose field is >= (>) the bound of the row that the table is read at."""
    assert isinstance(e.value, Searched)
    of_keys = e.value.side is Side.KEYS
    values = call.fields[e.value.field.name].keys if of_keys else call.fields[e.value.field.name].queries
    at = meaning(e.args[1], tokens, call, rows)
    bound: int = meaning(e.args[0], {**tokens, "q" if of_keys else "k": at}, call)
    sample: list[int] = values[tokens["b"] % values.shape[0]].tolist()
    before = sum(x < bound if e.op is Op.LOWER_BOUND else x <= bound for x in sample)
    return before + (0 if of_keys else call.q_start)


def pairs(call: Call) -> Iterator[dict[str, int]]:
    """Every (b, h, q, k) of a call, keys fastest."""
    for b in range(call.batch):
        for h in range(call.heads):
            for q in range(call.q_start, call.q_start + call.q_len):
                for k in range(call.k_len):
                    yield {"b": b, "h": h, "q": q, "k": k}


def some_pairs(call: Call, most: int, seed: int) -> tuple[Tensor, list[dict[str, int]]]:
    """Pairs of a call, at most so many, drawn by a seed: where they stand among all of them, flattened, and tokens."""
    shape = (call.batch, call.heads, call.q_len, call.k_len)
    places = torch.randperm(math.prod(shape), generator=torch.Generator().manual_seed(seed))[:most].sort().values
    b, h, q, k = torch.unravel_index(places, shape)
    rows = torch.stack([b, h, q + call.q_start, k], 1).tolist()
    return places, [dict(zip("bhqk", row, strict=True)) for row in rows]


def matrix(predicate: Expr, call: Call) -> Tensor:
    """The predicate of every pair, bool [B, H, q_len, k_len], pair by pair in Python."""
    live = [bool(meaning(predicate, tokens, call)) for tokens in pairs(call)]
    return torch.tensor(live, dtype=torch.bool).view(call.batch, call.heads, call.q_len, call.k_len)


def picture(live: Tensor) -> list[str]:
    """A 0/1 matrix as lines of `1` and `.`, one line per query."""
    return ["".join("1" if x else "." for x in row) for row in live.tolist()]
