# `text` on torch: TextError: `size_y` is no size of an axis: 'axis k.y < size_y in [y_start, y_stop) by 16'
import attnir as an
from attnir.expr import node
from attnir.ops import Op
from attnir.testing import Case, check

case = Case(
    an.Pattern(an.Mask(node(Op.LE, (node(Op.ABS, (node(Op.SUB, (node(Op.SUB, (node(Op.SYM, (), 'q'), node(Op.CONST, (), 1), ), None), node(Op.SUB, (node(Op.SYM, (), 'k'), node(Op.CONST, (), 1), ), None), ), None), ), None), node(Op.CONST, (), 1), ), None), an.parse("size_y = param(low=1, high=64); q, k = concat(text=1, image=grid(y=size_y)); True").spaces), node(Op.SCORE, (), 's')),
    q_len=2,
    k_len=2,
    heads=1,
    d=16,
    tile=(16, 16),
    bindings={"size_y": 1},
)
check(case, "torch", "text")
