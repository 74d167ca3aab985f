"""Operations that overwrite each other give what those do that do not."""

import torch

from attnir import real
from attnir.call import Call
from attnir.codegen.torch.overwriting import Overwriting
from attnir.evaluate import Evaluator
from attnir.real import SCORE

CALL = Call(1, 1, 1, 5, 0, {}, {}, torch.device("cpu"))


def test_what_several_operations_take_is_kept() -> None:
    """The score, and what was made of it, each taken twice."""
    doubled = real.mul(SCORE, real.real(2.0))
    shared = real.tanh(doubled)
    for e in (
        real.mul(shared, real.add(shared, real.real(1.0))),
        real.sub(real.absolute(doubled), real.sigmoid(doubled)),
        real.mul(real.tanh(SCORE), SCORE),
        real.sub(real.real(1.0), real.mul(real.sigmoid(SCORE), real.real(3.0))),
    ):
        s = torch.linspace(-2, 2, 5)
        expected = Evaluator(CALL, {"s": s.clone()})(e)
        assert torch.equal(Overwriting(CALL, {"s": s}, e)(e), expected), str(e)
