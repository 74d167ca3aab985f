# `numbers` on torch: dk: max rho 7.731e-05 > 5.892e-05
import torch

import attnir as an
from attnir.testing import Case, check

case = Case(
    an.parse("start = field(sorted=True); h = heads(3); (h < 2) & (k <= q) | (h == 2) & (abs(q + k - 12) <= 34); score = tanh(tanh(s + start(q)))"),
    q_len=18,
    k_len=1,
    heads=3,
    kv_heads=3,
    d=1,
    dv=5,
    seed=33,
    tile=(16, 32),
    bindings={"start": (torch.tensor([3, 5, 8, 9, 27, 29, 30, 31, 31, 35, 38, 42, 49, 52, 52, 53, 53, 55], dtype=torch.int8), torch.tensor([[True]]))},
)
check(case, "torch", "numbers")
