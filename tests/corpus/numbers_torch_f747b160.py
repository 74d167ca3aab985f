# `numbers` on torch: lse: max rho 3.055e-07 > 2.384e-07
import torch

import attnir as an
from attnir.testing import Case, check

case = Case(
    an.parse("table = tensor(h, offset, dtype=float); k <= q; score = table[0, q]"),
    q_len=521,
    k_len=521,
    heads=1,
    d=16,
    bindings={"table": torch.randn((1, 1), generator=torch.Generator().manual_seed(0))},
)
check(case, "torch", "numbers")
