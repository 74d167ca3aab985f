"""How each operation of an expression is written in Triton.

Triton compiles `//` and `%` to the machine's, which round to zero; its interpreter rounds down, as Python does. What
is written here rounds down in both: plain where the operands are proved not negative, by shift and mask for powers of
two, and by a helper of the generated module otherwise.
"""

from __future__ import annotations

import re

from attnir.expr import Expr
from attnir.ops import Op

INFIX = {
    **{Op.ADD: (4, "+"), Op.SUB: (4, "-"), Op.MUL: (5, "*"), Op.AND: (2, "&"), Op.OR: (1, "|")},
    **{Op.REAL_ADD: (4, "+"), Op.REAL_SUB: (4, "-"), Op.REAL_MUL: (5, "*"), Op.REAL_DIV: (5, "/")},
    **{Op.LT: (0, "<"), Op.LE: (0, "<="), Op.GT: (0, ">"), Op.GE: (0, ">="), Op.EQ: (0, "=="), Op.NE: (0, "!=")},
}
CALLS = {Op.ABS: "tl.abs", Op.MIN: "tl.minimum", Op.MAX: "tl.maximum", Op.WHERE: "tl.where"}
CALLS |= {Op.REAL_ABS: "tl.abs", Op.REAL_MIN: "tl.minimum", Op.REAL_MAX: "tl.maximum", Op.REAL_WHERE: "tl.where"}
CALLS |= {
    Op.RANDOM: "random_number",
    Op.EXP: "tl.exp",
    Op.REAL_LOG: "tl.log",
    Op.SIGMOID: "tl.sigmoid",
    Op.SQRT: "tl.sqrt_rn",
}
ATOM = 9  # binds tighter than any operator

FLOOR_DIV = '''
@triton.jit
def floor_div(a, b):
    """a // b rounded down, also where the machine rounds to zero."""
    quotient = a // b
    rest = a - quotient * b
    return tl.where((rest != 0) & ((rest < 0) != (b < 0)), quotient - 1, quotient)
'''
FLOOR_MOD = '''
@triton.jit
def floor_mod(a, b):
    """a % b with the sign of b, also where the machine's has the sign of a."""
    rest = a % b
    return tl.where((rest != 0) & ((rest < 0) != (b < 0)), rest + b, rest)
'''
TANH = '''
@triton.jit
def tanh(x):
    """The hyperbolic tangent, to some roundings of 1."""
    return 1.0 - 2.0 / (1.0 + tl.exp2(x * 2.8853900817779268))  # 2 log2(e)
'''
EXACT_TANH = '''
@triton.jit
def exact_tanh(x):
    """The hyperbolic tangent, to some roundings of itself: near 0 by its series, where 1 - exp(-2x) would cancel."""
    t = tl.exp(-2.0 * tl.abs(x))
    found = (1.0 - t) / (1.0 + t)
    y = x * x
    near = y * (-1.0 / 3.0 + y * (2.0 / 15.0 + y * (-17.0 / 315.0 + y * (62.0 / 2835.0 - y * 1382.0 / 155925.0))))
    return tl.where(tl.abs(x) < 0.4, x + x * near, tl.where(x < 0.0, -found, found))
'''
RANDOM_NUMBER = '''
@triton.jit
def random_number(seed, a, b, c, d):
    """A number from [0, 1) for a seed and four counters: Philox2x32-10 of c and d, whose key Philox4x32-10 draws."""
    wide = (tl.zeros([], tl.int64) + seed).to(tl.uint64)
    none = tl.zeros([], tl.int32)
    key, _, _, _ = tl.philox(wide, (none + a).to(tl.int32), (none + b).to(tl.int32), none, none)
    x, y = (none + c).to(tl.uint32), (none + d).to(tl.uint32)
    for _ in tl.static_range(10):
        high = tl.umulhi(x, tl.full([], 0xD256D193, tl.uint32))
        x, y = high ^ y ^ key, x * tl.full([], 0xD256D193, tl.uint32)
        key += tl.full([], 0x9E3779B9, tl.uint32)
    return (x >> 8).to(tl.float32) * 5.9604644775390625e-08
'''
RANK_OF = '''
@triton.jit
def rank_of(selection, lists, places, to_list, to_place, at, member):
    """The first place of a member in a list, from 1; 0 where it is not there, or there is no such list."""
    at += lists * 0
    begin = selection + tl.minimum(tl.maximum(at, 0), lists - 1).to(tl.int64) * to_list
    found = (at + member) * 0
    for i in tl.range(0, places):
        place = places - 1 - i
        found = tl.where(tl.load(begin + place * to_place) == member, place + 1, found)
    return tl.where((at >= 0) & (at < lists) & (member >= 0), found, 0)
'''
HELPERS = {"random_number": RANDOM_NUMBER, "rank_of": RANK_OF}
HELPERS |= {"floor_div": FLOOR_DIV, "floor_mod": FLOOR_MOD, "tanh": TANH, "exact_tanh": EXACT_TANH}


def quotient(op: Op, a: str, b: str, divisor: Expr, *, plain: bool) -> tuple[str, int]:
    """(text, how tightly it binds) of a // b or a % b, where `a` and `b` are atoms.

    plain: a is not negative and b is positive, for sure.
    """
    if plain:
        return f"{a} {op.value} {b}", 5
    if divisor.op is Op.CONST and divisor.const > 0 and divisor.const & (divisor.const - 1) == 0:
        if op is Op.FLOORDIV:
            return f"{a} >> {divisor.const.bit_length() - 1}", 3
        return f"{a} & {divisor.const - 1}", 2
    return f"{'floor_div' if op is Op.FLOORDIV else 'floor_mod'}({a}, {b})", ATOM


def helpers(text: str) -> str:
    """The helper functions that a generated text calls."""
    return "\n".join(source for name, source in HELPERS.items() if re.search(rf"\b{name}\(", text))
