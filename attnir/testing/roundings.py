"""How far float32 roundings may take the value of a score, or of its slope: counted, node by node.

Every operation rounds once, and hands on what its arguments are wrong by. A slope 1 - t * t of a large argument is a
small difference of numbers near 1: it is wrong by their roundings, not by its own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from attnir.evaluate import Evaluator, dense_tokens
from attnir.expr import Expr
from attnir.ops import Op
from attnir.real import SCORE
from attnir.testing.case import Case
from attnir.traverse import nodes

# The derivative of a function, from its value and its argument.
_SLOPES: dict[Op, Callable[[Tensor, Tensor], Tensor]] = {
    Op.EXP: lambda y, x: y,
    Op.TANH: lambda y, x: 1 - y * y,
    Op.SIGMOID: lambda y, x: y * (1 - y),
    Op.SQRT: lambda y, x: 0.5 / y,
    Op.REAL_LOG: lambda y, x: 1 / x,
}


def wrong_by(e: Expr, case: Case, s: Tensor, of_score: Tensor) -> Tensor:
    """`roundings` of an expression of the scores s [B, H, q_len, k_len] of a case's live pairs; 0 of the others."""
    call = case.call
    tokens = dense_tokens(call, slice(0, call.q_len), slice(0, call.k_len))
    evaluate = Evaluator(call, {**tokens, "s": s})

    def value(n: Expr) -> Tensor:
        found = evaluate(n)
        return found if found.dtype is torch.bool else found.double()

    return torch.where(case.live, roundings(e, value, of_score), 0.0)


def roundings(e: Expr, value: Callable[[Expr], Tensor], of_score: Tensor) -> Tensor:
    """The most that an expression is wrong by to the first order, in roundings of 1; `of_score`: what the score is.

    `value` gives the exact value of every node.
    """
    found: dict[Expr, Tensor] = {}
    for n in nodes(e):
        if not n.is_bool:
            found[n] = of_score if n is SCORE else _of_node(n, value, found)
    return found[e]


def _of_node(n: Expr, value: Callable[[Expr], Tensor], found: dict[Expr, Tensor]) -> Tensor:
    own = value(n).abs()
    if n.op in _SLOPES:
        (x,) = n.args
        return own + found[x] * _SLOPES[n.op](value(n), value(x)).abs()
    match n.op:
        case Op.REAL_ADD | Op.REAL_SUB:
            return own + found[n.args[0]] + found[n.args[1]]
        case Op.REAL_MUL:
            a, b = n.args
            return own + found[a] * value(b).abs() + found[b] * value(a).abs()
        case Op.REAL_DIV:
            a, b = n.args
            return own + (found[a] + found[b] * own) / value(b).abs()
        case Op.REAL_NEG | Op.REAL_ABS:
            return found[n.args[0]]
        case Op.REAL_MIN | Op.REAL_MAX:
            return torch.maximum(found[n.args[0]], found[n.args[1]])
        case Op.REAL_WHERE:
            return torch.where(value(n.args[0]), found[n.args[1]], found[n.args[2]])
    return own
