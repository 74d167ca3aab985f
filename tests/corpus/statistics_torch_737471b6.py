# `statistics` on torch: dk: max rho 5.400e-03 > 4.346e-03
import torch

import attnir as an
from attnir.testing import Case, check

case = Case(
    an.parse("high0 = field(); high1 = field(); low0 = field(); low1 = field(); share = tensor(h, dtype=float); (k <= q) & ((k >= low0(q)) & (k < high0(q)) | (k >= low1(q)) & (k < high1(q))); score = tanh(tanh(s * (-1.5))); factor = share[h]"),
    q_len=2,
    k_len=19,
    heads=3,
    d=96,
    q_start=39,
    scale=0.7,
    seed=7,
    tile=(16, 16),
    bindings={"share": torch.randn((3,), generator=torch.Generator().manual_seed(0)), "high0": (torch.tensor([0, 1]), torch.tensor([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])), "high1": (torch.tensor([16, 15]), torch.tensor([30, 25, 31, 0, 57, 29, 4, 42, 40, 20, 29, 60, 7, 16, 46, 56, 36, 50, 5])), "low0": (torch.tensor([0, 1]), torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18])), "low1": (torch.tensor([0, 1]), torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]))},
)
check(case, "torch", "statistics")
