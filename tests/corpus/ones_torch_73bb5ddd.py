# `ones` on torch: Tensor-likes are not close!
import attnir as an
from attnir.testing import Case, check

case = Case(
    an.parse("~((q - k) % 5 == 0); score = where(q - k > 0, s, -0.75 + log(-abs(q)))"),
    q_len=103,
    k_len=103,
    heads=1,
    d=16,
    scale=0.7,
    seed=1,
    tile=(16, 64),
)
check(case, "torch", "ones")
