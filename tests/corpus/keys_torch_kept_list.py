# `keys` on torch: o x live keys is not the sum over live pairs: the block list of the first call was kept
import torch

import attnir as an
from attnir.testing import Case, check

case = Case(
    an.parse("n = tensor(b); (q * k) % 70 < n[b]"),
    q_len=20,
    heads=1,
    d=16,
    bindings={"n": torch.tensor([70])},
)
for n in (70, 1, 30):
    check(case.of(case.pattern, n=torch.tensor([n])), "torch", "keys")
