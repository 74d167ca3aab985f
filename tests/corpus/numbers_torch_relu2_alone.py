# `numbers` on torch: dq: max rho 2.395e-07 > 2.384e-07: the gradient of a quotient that is 1 cancels, and keeps roundings
import attnir as an
from attnir.testing import Case, check

case = Case(
    an.parse("q, k = grid(y=9, x=17); (q.y == k.y) & (q.x == k.x); weights = normalized(max(s, 0.0) * max(s, 0.0))"),
    q_len=153,
    batch=3,
    heads=1,
    d=1,
    tile=(128, 128),
)
check(case, "torch", "numbers")
