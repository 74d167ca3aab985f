# `numbers` on triton: d slopes is not finite
import torch

import attnir as an
from attnir.testing import Case, check

case = Case(
    an.parse("sink = tensor(h, dtype=float); slopes = tensor(h, dtype=float); table = tensor(h, offset, dtype=float); size_y = param(low=1, high=64); q, k = concat(text=1, image=grid(y=size_y, t=16)); (abs(q.t - k.t) <= 4) & ~(h % 2 == 0) & (abs(q.t - k.t) <= 1) & (k < 1); score = where(q * q > (h + 1) * 3, slopes[h], max(s, table[0, b % (h + 1)])); weights = softmax(sink[h] - q % 5 * 0.125)"),
    q_len=33,
    k_len=33,
    heads=1,
    dv=24,
    layout='bshd',
    q_start=0,
    seed=91,
    tile=(32, 32),
    bindings={"size_y": 2, "sink": torch.randn((1,), generator=torch.Generator().manual_seed(66)), "slopes": torch.randn((1,), generator=torch.Generator().manual_seed(99)), "table": torch.randn((1, 10), generator=torch.Generator().manual_seed(28))},
)
check(case, "triton", "numbers")
