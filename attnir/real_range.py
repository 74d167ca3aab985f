"""The range of a bounded real expression in one call, from those of the scores and tensors at hand.

Ends are float64 tensors on the call's device, so that nothing waits for it. Rounding is not accounted for.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attnir.bounds import any_call, bounds
from attnir.call import Call
from attnir.expr import SIDES, Expr
from attnir.interval import Interval
from attnir.ops import Op, ParamDecl, SelectionDecl, TensorDecl
from attnir.real import SCORE
from attnir.traverse import nodes

Range = tuple[Tensor, Tensor]  # least and greatest value


def range_of(e: Expr, call: Call, most: Tensor) -> Range:
    """The range of a real expression, with nothing that `is_unbounded`, where scores are at most `most` in size.

    >>> from attnir.real import mul, real, tanh
    >>> call = Call(1, 1, 4, 4, 0, {}, {}, torch.device("cpu"))
    >>> [float(end) for end in range_of(mul(tanh(SCORE), real(-30.0)), call, torch.tensor(99.0))]
    [-30.0, 30.0]
    """
    done: dict[Expr, Range] = {}
    for n in nodes(e):
        if n.is_real:
            done[n] = _range(
                n, [done[a] if a.is_real else _of_integer(a, call) for a in n.args if not a.is_bool], call, most
            )
    return done[e]


def _range(n: Expr, parts: list[Range], call: Call, most: Tensor) -> Range:
    match n.value:
        case float() as value:
            return _both(_end(value, call))
        case ParamDecl(name=name):
            return _both(_end(call.numbers[name], call))
        case TensorDecl(name=name):
            found = call.reals[name].detach().double()
            zero = _end(0.0, call)  # which is read outside of it
            return torch.minimum(found.amin(), zero), torch.maximum(found.amax(), zero)
    if n is SCORE:
        return -most.double(), most.double()
    match n.op, parts:
        case Op.REAL_ADD, [(a, b), (c, d)]:
            return a + c, b + d
        case Op.REAL_SUB, [(a, b), (c, d)]:
            return a - d, b - c
        case Op.REAL_NEG, [(a, b)]:
            return -b, -a
        case Op.REAL_MUL, [x, y]:
            corners = torch.stack([a * b for a in x for b in y])
            return corners.amin(), corners.amax()
        case Op.REAL_DIV, [(a, b), (c, _)]:  # by a number that is not 0
            return torch.minimum(a / c, b / c), torch.maximum(a / c, b / c)
        case Op.REAL_ABS, [(a, b)]:
            size = torch.maximum(a.abs(), b.abs())
            return torch.where((a <= 0) & (b >= 0), 0.0, torch.minimum(a.abs(), b.abs())), size
        case Op.REAL_MIN, [(a, b), (c, d)]:
            return torch.minimum(a, c), torch.minimum(b, d)
        case Op.REAL_MAX, [(a, b), (c, d)]:
            return torch.maximum(a, c), torch.maximum(b, d)
        case Op.REAL_WHERE, [(a, b), (c, d)]:
            return torch.minimum(a, c), torch.maximum(b, d)
        case Op.LOG, [(a, b)]:
            return a.clamp(min=1).log(), b.clamp(min=1).log()
        case Op.FLOAT, [x]:
            return x
        case Op.RANDOM, _:
            return _end(0.0, call), _end(1.0, call)
        case Op.TANH, [(a, b)]:
            return a.tanh(), b.tanh()
        case Op.SIGMOID, [(a, b)]:
            return a.sigmoid(), b.sigmoid()
    raise AssertionError(f"{n.op} has no bounds")


def _of_integer(e: Expr, call: Call) -> Range:
    """The range of an integer, whose positions are those of the call."""
    last = {"q": call.q_start + call.q_len - 1, "k": call.k_len - 1}

    def leaf(n: Expr) -> Interval[int]:
        if n in SIDES:
            return Interval(call.q_start if SIDES[n].value == "q" else 0, max(0, last[SIDES[n].value]))
        if isinstance(n.value, ParamDecl):
            return Interval(call.params[n.value.name], call.params[n.value.name])
        if isinstance(n.value, SelectionDecl):
            return Interval(0, call.selections[n.value.name].shape[3])
        return any_call(n)

    found = bounds(e, leaf)
    return _end(float(found.low), call), _end(float(found.high), call)


def _end(value: float, call: Call) -> Tensor:
    return torch.full((), value, dtype=torch.float64, device=call.device)


def _both(end: Tensor) -> Range:
    return end, end
