"""Long documents: a window for most tokens, a few global ones, and chance."""

from __future__ import annotations

import torch

from attnir.catalog.chance import is_one_of, picks
from attnir.catalog.registry import Example, entry
from attnir.catalog.sizes import whole, within
from attnir.catalog.windows import dilated_window
from attnir.facts import field
from attnir.masks import Mask, mask
from attnir.space import grid
from attnir.value import Value

_MARKS = torch.tensor([int(i in (0, 20, 41)) for i in range(64)])


@entry(
    "longformer",
    source="Longformer: The Long-Document Transformer; allenai/longformer",
    example=Example({"reach": 6}, bindings={"is_global": _MARKS}),
)
def longformer(reach: int | Value = 256, dilation: int | Value = 1, first: int | Value | None = None) -> Mask:
    """A window around each token, and global tokens that see all and are seen by all.

    reach      how many keys a token sees on each side, half of the paper's window; may be a parameter
    dilation   the distance between two of them; may be a parameter from 1
    first      how many first tokens are global; where left out, a field says which are: `is_global`, not 0 for those

    >>> import attnir as an
    >>> print(an.catalog.build("longformer", reach=2, first=1))
    (q - k <= 2) & (k - q <= 2) | ((q < 1) | (k < 1))
    """
    near = dilated_window(reach, dilation)
    if first is None:
        is_global = field("is_global")
        return near | mask(lambda q, k: (is_global(q) != 0) | (is_global(k) != 0))
    within(0, first=first)
    return near | mask(lambda q, k: (q < first) | (k < first))


@entry(
    "bigbird",
    source="Big Bird: Transformers for Longer Sequences; google-research/bigbird",
    example=Example({"blocks": 24, "block": 4, "random": 2}, q_len=96),
)
def bigbird(
    blocks: int,
    block: int = 64,
    reach: int = 1,
    first: int = 1,
    last: int = 1,
    random: int = 3,
    seed: int | Value = 0,
) -> Mask:
    """A window of blocks, global blocks at both ends, and random blocks.

    A block of queries sees the blocks near it, the global ones, and random ones: one of each of `random` equal parts of
    the sequence, which may be a block that it sees anyway. Global blocks see everything.

    blocks   how many blocks the sequence has
    block    tokens to a block
    reach    how many blocks a block sees on each side, besides its own
    first    how many first blocks are global
    last     how many last blocks are global
    random   how many random blocks a block of queries sees
    seed     which ones: they are a pure function of the seed and the block of the query; may be a parameter

    >>> import attnir as an
    >>> print(an.catalog.build("bigbird", blocks=8, block=4, random=0))
    q, k = grid(block=8, token=4); (abs(q.block - k.block) <= 1) | ((q.block < 1) | (q.block >= 7)) | ...
    """
    whole(1, blocks=blocks, block=block)
    whole(0, reach=reach)
    whole(0, blocks, first=first, last=last, random=random)
    space = grid(block=blocks, token=block)
    near = mask(lambda q, k: abs(q.block - k.block) <= reach, grid=space)
    rows = mask(lambda q: (q.block < first) | (q.block >= blocks - last), grid=space)
    columns = mask(lambda k: (k.block < first) | (k.block >= blocks - last), grid=space)
    drawn = mask(lambda q, k: is_one_of(k.block, picks(seed, q.block, random, 0, blocks)), grid=space)
    return near | rows | columns | drawn
