# `numbers` on torch: lse: max rho 4.715e-01 > 2.384e-07
import attnir as an
from attnir.testing import Case, check

case = Case(
    an.parse("k <= q; score = s / 4.0"),
    q_len=1,
    k_len=1,
    heads=1,
    d=16,
    tile=(16, 16),
)
check(case, "torch", "numbers")
