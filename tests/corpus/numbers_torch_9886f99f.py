# `numbers` on torch: lse: max rho 3.355e-07 > 2.384e-07
import attnir as an
from attnir.testing import Case, check

case = Case(
    an.parse("k <= q"),
    q_len=70,
    k_len=16,
    batch=2,
    heads=7,
    d=128,
    scale=0.7,
    seed=8,
    tile=(128, 16),
)
check(case, "torch", "numbers")
