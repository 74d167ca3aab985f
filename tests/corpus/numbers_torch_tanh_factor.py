# `numbers` on torch: o: max rho 2.812e-06 > 2.384e-07: the tanh of a factor was made of a sigmoid, and cancelled near 0
import torch

import attnir as an
from attnir.testing import Case, check

case = Case(
    an.parse("rows = tensor(q, dtype=float); k == q; factor = tanh(rows[q])"),
    q_len=73,
    d=1,
    dv=16,
    bindings={"rows": torch.linspace(-0.1, 0.1, 73)},
)
check(case, "torch", "numbers")
