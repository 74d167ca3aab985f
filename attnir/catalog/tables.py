"""Attention over tables: between rows, between columns, and with special rows."""

from __future__ import annotations

import torch

from attnir.catalog.chance import is_one_of, picks
from attnir.catalog.registry import Example, entry
from attnir.catalog.sizes import whole, within
from attnir.facts import field
from attnir.masks import Mask, full, mask
from attnir.space import grid
from attnir.value import Value

_NPT = (
    "Self-Attention Between Datapoints: Going Beyond Individual Input-Output Pairs in Deep Learning; "
    "OATML/Non-Parametric-Transformers"
)


@entry(
    "orion-msp",
    source="Orion-MSP: Multi-Scale Sparse Attention for Tabular In-Context Learning; Lexsi-Labs/Orion-MSP",
    example=Example(
        {"length": 64, "random": 2},
        bindings={"pad": torch.tensor([int(i >= 58) for i in range(64)])},
    ),
)
def orion_msp(length: int, specials: int = 6, reach: int | Value = 4, random: int = 0, seed: int | Value = 0) -> Mask:
    """A window, special first tokens that see all and are seen by all, and random keys; one scale of the model.

    The model runs it at several scales, on groups of 1, 4 and 8 pooled tokens, and averages the outputs: one call each,
    with its own length. The window is the intended one; the released code's has no effect.

    Field pad: not 0 for padding, which is not seen.

    length     how many tokens there are
    specials   how many first tokens are special
    reach      how many keys a query sees on each side; may be a parameter
    random     how many random keys each query sees, none of them special: one of each of as many equal parts
    seed       which ones: they are a pure function of the seed and the query; may be a parameter

    >>> import attnir as an
    >>> print(an.catalog.build("orion-msp", length=106))
    pad = field(); q, k = grid(token=106); ((q < 6) | (k < 6) | (abs(q - k) <= 4)) & (pad(k) == 0)
    """
    whole(1, length=length)
    whole(0, length, specials=specials)
    whole(0, length - specials, random=random)
    within(0, reach=reach)
    tokens, pad = grid(token=length), field("pad")
    seen = mask(lambda q, k: (q < specials) | (k < specials) | (abs(q - k) <= reach), grid=tokens)
    drawn = mask(lambda q, k: is_one_of(k, picks(seed, q, random, specials, length)), grid=tokens)
    return (seen | drawn) & mask(lambda k: pad(k) == 0)


@entry("npt-rows", source=_NPT, example=Example(q_len=32))
def npt_rows() -> Mask:
    """Every row of a table sees every row.

    A table of N rows and D columns, with E numbers to a cell, is one sequence of N tokens of width D * E. The authors'
    code scales by that whole width and not by that of a head; a call can say so: scale=(D * E) ** -0.5.

    >>> import attnir as an
    >>> an.catalog.build("npt-rows") == an.full()
    True
    """
    return full()


@entry("npt-columns", source=_NPT, example=Example(q_len=12, batch=4))
def npt_columns() -> Mask:
    """Every cell of a row sees every cell of that row.

    A table of N rows and D columns, with E numbers to a cell, is N samples of D tokens of width E: rows are the batch.
    The authors' code scales by the whole width and not by that of a head; a call can say so: scale=E ** -0.5.

    >>> import attnir as an
    >>> an.catalog.build("npt-columns") == an.full()
    True
    """
    return full()
