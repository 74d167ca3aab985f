"""Expressions of scores whose operations overwrite each other: where a result goes that nothing else takes.

A step's scores stay in a cache, but each new tensor of their size is memory that has to be fetched first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from attnir.call import Call
from attnir.evaluate import Evaluator, Tokens
from attnir.expr import Expr
from attnir.ops import Op
from attnir.real import SCORE
from attnir.traverse import nodes

_INTO: dict[Op, Callable[..., Any]] = {
    Op.REAL_ADD: torch.add,
    Op.REAL_SUB: torch.sub,
    Op.REAL_NEG: torch.neg,
    Op.REAL_MUL: torch.mul,
    Op.REAL_DIV: torch.div,
    Op.REAL_ABS: torch.abs,
    Op.REAL_MIN: torch.minimum,
    Op.REAL_MAX: torch.maximum,
    Op.EXP: torch.exp,
    Op.REAL_LOG: torch.log,
    Op.TANH: torch.tanh,
    Op.SIGMOID: torch.sigmoid,
    Op.SQRT: torch.sqrt,
}


class Overwriting(Evaluator):
    """Evaluates one expression; the scores that it is given are overwritten, if nothing else takes them.

    >>> from attnir.real import mul, real, tanh
    >>> s = torch.tensor([0.0, 100.0])
    >>> e = mul(tanh(SCORE), real(-30.0))
    >>> found = Overwriting(Call(1, 1, 1, 2, 0, {}, {}, torch.device("cpu")), {"s": s}, e)(e)
    >>> found.tolist(), found is s
    ([-0.0, -30.0], True)
    """

    def __init__(self, call: Call, tokens: Tokens, e: Expr) -> None:
        super().__init__(call, tokens)
        self.uses = Counter(a for n in nodes(e) for a in n.args)
        self.free = {SCORE} if self.uses[SCORE] == 1 else set()  # those whose tensors nothing else holds

    def _value(self, n: Expr) -> Tensor:
        into = _INTO.get(n.op)
        if into is None:
            return super()._value(n)
        given = [self._real(self.done[a]) for a in n.args]
        shape = torch.broadcast_shapes(*(t.shape for t in given))
        place = next((t for a, t in zip(n.args, given, strict=True) if a in self.free and t.shape == shape), None)
        result: Tensor = into(*given, out=place) if place is not None else into(*given)
        if self.uses[n] == 1:
            self.free.add(n)
        return result
