"""Well-known scores: caps on them, and biases by distance. What they read is learned, or given, in the call."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attnir.errors import DeclarationError
from attnir.facts import tensor
from attnir.functions import clip, tanh
from attnir.ops import Op
from attnir.scores import Score, score
from attnir.value import Value, fail, number_argument


def softcap(cap: float | Value) -> Score:
    """Scores held within (-cap, cap), smoothly: cap * tanh(s / cap). `cap` may be a parameter, `dtype=float`.

    Gemma 2: Improving Open Language Models at a Practical Size.

    >>> import attnir as an
    >>> print(an.pattern(an.causal(), score=an.softcap(30.0)))
    k <= q; score = tanh(s / 30.0) * 30.0
    >>> attn = an.compile(an.causal(), score=an.softcap(an.param("cap", dtype=float)))       # attn(q, k, v, cap=30.0)

    Raises DeclarationError for a number that is not positive.
    """
    known = number_argument(cap)
    if known.op in (Op.CONST, Op.REAL) and not float(cap if isinstance(cap, int | float) else 0.0) > 0.0:
        fail(DeclarationError, f"a cap is a positive number, or a parameter, not {cap!r}")
    return score(lambda s: tanh(s / cap) * cap)


def alibi(*, symmetric: bool = False, slopes: str = "slopes") -> Score:
    """A penalty that grows with the distance: s - slope * (q - k), with the tensor `slopes`, [Hq], of the call.

    symmetric   s - slope * abs(q - k), for masks that see what comes after a query
    slopes      the name of the tensor; `alibi_slopes` makes those of the paper, and they may be learned

    Train Short, Test Long: Attention with Linear Biases Enables Input Length Extrapolation.

    >>> import attnir as an, torch
    >>> attn = an.compile(an.causal(), score=an.alibi())
    >>> q = k = v = torch.randn(1, 8, 100, 16)
    >>> attn(q, k, v, slopes=an.alibi_slopes(8)).shape
    torch.Size([1, 8, 100, 16])
    """
    of = tensor(slopes, "h")
    if symmetric:
        return score(lambda s, q, k, h: s - of[h] * abs(q - k))
    return score(lambda s, q, k, h: s - of[h] * (q - k))


def alibi_slopes(heads: int) -> Tensor:
    """The slopes of the ALiBi paper, float32 [heads]: 2 ** (-8 h / heads) for h = 1, 2, ...

    Where the number of heads is no power of two, those of the power below come first, then every second one of the
    power above, as in the paper's code.

    >>> alibi_slopes(4).tolist()
    [0.25, 0.0625, 0.015625, 0.00390625]
    """
    if not isinstance(heads, int) or isinstance(heads, bool) or heads < 1:
        raise DeclarationError(f"the number of heads is an integer from 1, not {heads!r}")
    below = 1 << (heads.bit_length() - 1)
    found = _geometric(below) + (_geometric(2 * below)[::2] if below < heads else [])
    return torch.tensor(found[:heads], dtype=torch.float32)


def _geometric(heads: int) -> list[float]:
    return [math.pow(2.0, -8.0 * h / heads) for h in range(1, heads + 1)]


def relative_bias(reach: int, *, causal: bool = False, table: str = "bias") -> Score:
    """A learned number for each head and clipped distance: s + bias[h, distance], a tensor [Hq, n] of the call.

    reach    the distance from which on all are alike
    causal   n = reach + 1, for q - k from 0 to reach; else n = 2 * reach + 1, for k - q from -reach to reach
    table    the name of the tensor

    Self-Attention with Relative Position Representations; the scalar form of T5, without its buckets.

    >>> import attnir as an
    >>> print(an.pattern(an.causal(), score=an.relative_bias(127, causal=True)))
    bias = tensor(h, distance, dtype=float); k <= q; score = s + bias[h, min(max(q - k, 0), 127)]
    """
    if not isinstance(reach, int) or isinstance(reach, bool) or reach < 0:
        fail(DeclarationError, f"a reach is an integer from 0, not {reach!r}")
    of = tensor(table, "h", "distance")
    if causal:
        return score(lambda s, q, k, h: s + of[h, clip(q - k, 0, reach)])
    return score(lambda s, q, k, h: s + of[h, clip(k - q, -reach, reach) + reach])
