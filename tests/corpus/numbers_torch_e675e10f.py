# `numbers` on torch: dq: max rho 2.117e-02 > 1.093e-02
import torch

import attnir as an
from attnir.testing import Case, check

case = Case(
    an.parse(
        "kind = field(); start = field(sorted=True); ((k >= start(q)) | (kind(q) == kind(k))) & (q * k % 24 == 0)"
    ),
    q_len=257,
    k_len=69,
    batch=2,
    heads=4,
    kv_heads=2,
    dv=5,
    dtype=torch.float16,
    seed=69,
    bindings={
        "kind": (
            (torch.randint(1, 4, (1, 257), generator=torch.Generator().manual_seed(61))).to(torch.int32),
            (torch.arange(69) // 2 % 2 + 3).to(torch.int32),
        ),
        "start": (
            torch.arange(257) // 42 + 0,
            (torch.randint(0, 2, (2, 69), generator=torch.Generator().manual_seed(40)).sort(-1).values).to(torch.bool),
        ),
    },
)
check(case, "torch", "numbers")
