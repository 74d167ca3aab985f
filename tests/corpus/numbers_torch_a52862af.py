# `numbers` on torch: dv: max rho 6.222e-06 > 2.384e-07
import attnir as an
from attnir.testing import Case, check

case = Case(
    an.parse("w = param(low=0, high=40); (q - k != 2) | (q - k != w)"),
    q_len=8,
    k_len=282,
    heads=7,
    d=256,
    scale=0.7,
    seed=33,
    bindings={"w": 0},
)
check(case, "torch", "numbers")
