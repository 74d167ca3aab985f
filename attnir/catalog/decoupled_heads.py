"""DHA: key heads and value heads are shared in groups of their own."""

from __future__ import annotations

from attnir.catalog.registry import Example, entry
from attnir.masks import Mask, causal


@entry(
    "dha",
    source="DHA: Learning Decoupled-Head Attention from Transformer Checkpoints via Adaptive Heads Fusion",
    example=Example({}, q_len=32, heads=4),
)
def dha() -> Mask:
    """Causal; which query heads share a key head, and which a value head, are two maps that the attention is given.

    The maps stand beside the pattern: `an.compile(..., heads=an.Heads(k=..., v=...))`. Where keys and values only have
    different numbers of contiguous groups, nothing has to be said.

    >>> import attnir as an, torch
    >>> maps = an.Heads(k=(0, 0, 1, 2), v=(0, 1, 1, 1))
    >>> attn = an.compile(an.catalog.build("dha"), heads=maps)
    >>> q, k, v = torch.randn(1, 4, 20, 16), torch.randn(1, 3, 20, 16), torch.randn(1, 2, 20, 16)
    >>> attn(q, k, v).shape
    torch.Size([1, 4, 20, 16])
    >>> spread = k[:, [0, 0, 1, 2]], v[:, [0, 1, 1, 1]]
    >>> torch.allclose(attn(q, k, v), an.compile(an.causal())(q, *spread), atol=1e-6)
    True
    """
    return causal()
