"""The tiles of statistics: those of the attention's kernel that is like them, with fewer columns where terms read much.

What is read for every column of a tile is held by each thread for a quarter of the columns, in the layout of the
products; so many vectors of a narrow tile take the registers of one of a wide tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from attnir.codegen.targets import LIKE, Config
from attnir.real import tensors_read
from attnir.terms import Term

COLUMNS = 256  # of all vectors together
WIDEST, NARROWEST = 64, 16
SEARCHED = 2  # what the search for the largest scores holds
KNOWN = 2  # vectors that every kernel may hold: lse, and delta


def narrowed(kind: str, config: Config, terms: Sequence[Term], *, largest: bool = False) -> Config:
    """The configuration of a kernel of statistics, from that of the kernel that is like it.

    >>> narrowed("columns", Config(128, 64, 8, 3), ())
    Config(block_q=64, block_k=64, num_warps=8, num_stages=3)
    """
    vectors = len({n for t in terms for _, n in tensors_read(t.value)}) + KNOWN + SEARCHED * largest
    most = max(NARROWEST, min(WIDEST, 1 << ((COLUMNS // vectors).bit_length() - 1)))
    if LIKE[kind] == "dkv":
        return replace(config, block_q=min(config.block_q, most))
    return replace(config, block_k=min(config.block_k, most))
