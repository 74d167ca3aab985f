# `statistics` on torch: dk: global ratio 1.074e-03 > 1.000e-03
import torch

import attnir as an
from attnir.testing import Case, check

case = Case(
    an.parse("k <= q; weights = where(s > 0.0, s * s, 0.0)"),
    q_len=38,
    k_len=38,
    heads=4,
    kv_heads=3,
    d=1,
    dtype=torch.float16,
    seed=2,
    tile=(16, 64),
    v_heads=2,
    maps=an.Heads(k=(2, 0, 2, 2), v=(0, 0, 0, 1)),
)
check(case, "torch", "statistics")
