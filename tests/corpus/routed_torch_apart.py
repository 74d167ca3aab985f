# `routed` on torch: ShapeError: there are 8 queries from position 24, but the pattern arranges 8: grid(rank=8)
import attnir as an
from attnir.testing import Case, check

case = Case(
    an.parse("q = grid(rank=8); k = grid(token=32); True"),
    q_len=8,
    k_len=32,
    heads=1,
    d=16,
    seed=24,
    tile=(16, 16),
)
check(case, "torch", "routed")
