# `keys` on torch: ValueError: cannot reshape array of size 0 into shape (0,2,newaxis)
import attnir as an
from attnir.testing import Case, check

case = Case(
    an.parse("k + q < 0"),
    q_len=1,
    k_len=1,
    heads=1,
    d=16,
    tile=(16, 16),
)
check(case, "torch", "keys")
