# `numbers` on triton: d share: max rho 2.984e-01 > 2.384e-07
import torch

import attnir as an
from attnir.testing import Case, check

case = Case(
    an.parse("share = tensor(h, dtype=float); k <= q; weights = softmax(min(max(q, -40), 40) * 0.125); factor = share[h]"),
    q_len=18,
    k_len=59,
    d=16,
    dv=192,
    seed=21,
    tile=(16, 64),
    bindings={"share": torch.randn((2,), generator=torch.Generator().manual_seed(15))},
)
check(case, "triton", "numbers")
