"""Differences of positions as real numbers: where both are exact in float32, so is what lies between them.

Integers of pairs are tensors of int64, which take four times as long as real numbers to subtract and to convert.
"""

from __future__ import annotations

from attnir import real
from attnir.call import Call
from attnir.expr import Expr, K, Q, node
from attnir.ops import Op
from attnir.traverse import rebuild

EXACT = 2**24  # positions below it, and sums of two of them up to it, are exact in float32


def floated(e: Expr, call: Call) -> Expr:
    """A score, a weight or a factor that subtracts positions as real numbers.

    >>> from attnir.expr import absolute
    >>> import torch
    >>> call = Call(1, 1, 9, 9, 0, {}, {}, torch.device("cpu"))
    >>> print(floated(real.sub(real.SCORE, real.of_integer(absolute(Q - K))), call))
    s - abs(float(q) - float(k))
    """
    if call.q_start + call.q_len > EXACT // 2 or call.k_len > EXACT // 2:
        return e
    return rebuild(e, _of_reals)


def _of_reals(n: Expr) -> Expr | None:
    """An operation on real numbers, with those for its integers; None where that changes nothing."""
    if not n.is_real or n.op in (Op.READ, Op.RANDOM, Op.LOG):
        return None
    args = tuple(a if a.is_real or a.is_bool else _of_integer(a) for a in n.args)
    return None if args == n.args else args[0] if n.op is Op.FLOAT else node(n.op, args, n.value)


def _of_integer(e: Expr) -> Expr:
    """A sum or difference of a query's and a key's position, or its size, as a real number; others as they are."""
    if e.op is Op.ABS and (inner := _of_integer(e.args[0])) is not e.args[0]:
        return real.absolute(inner)
    if e.op in (Op.ADD, Op.SUB) and set(e.args) == {Q, K}:
        return (real.add if e.op is Op.ADD else real.sub)(*map(real.of_integer, e.args))
    return e
