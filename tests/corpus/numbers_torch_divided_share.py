# `numbers` on torch: dq: max rho 2.395e-07 > 2.384e-07
import attnir as an
from attnir.testing import Case, check

case = Case(
    an.parse(
        "q, k = grid(y=9, x=17); (max(q.y - 1 + 1, 0) <= k.y) & (k.y <= q.y) & ((max(q.x - 1 + 1, 0) <= k.x) &"
        " (k.x <= q.x)); weights = normalized(max(s, 0.0) * max(s, 0.0))"
    ),
    q_len=153,
    k_len=153,
    batch=3,
    heads=1,
    d=1,
    tile=(128, 128),
)
check(case, "torch", "numbers")
