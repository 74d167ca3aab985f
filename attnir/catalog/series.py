"""Series of items and of measurements: padding, and a token that may not see itself.

In all of them the field pad is not 0 for padding.
"""

from __future__ import annotations

import torch

from attnir.catalog.registry import Example, entry
from attnir.facts import field
from attnir.masks import Mask, causal, mask

_PADS = torch.tensor([1] * 10 + [0] * 38)


@entry(
    "sasrec",
    source="Self-Attentive Sequential Recommendation; kang205/SASRec",
    example=Example(q_len=48, bindings={"pad": _PADS}),
)
def sasrec() -> Mask:
    """Causal over the items of a history; padding neither sees nor is seen, so its output is 0.

    Field pad: not 0 for padding, which SASRec puts before the history.

    >>> import attnir as an
    >>> print(an.catalog.build("sasrec"))
    pad = field(); (k <= q) & ((pad(k) == 0) & (pad(q) == 0))
    """
    pad = field("pad")
    return causal() & mask(lambda q, k: (pad(k) == 0) & (pad(q) == 0))


@entry(
    "bert4rec",
    source="BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations from Transformer; "
    "FeiSun/BERT4Rec",
    example=Example(q_len=48, bindings={"pad": _PADS}),
)
def bert4rec() -> Mask:
    """Every item sees every item that is no padding; padding sees as the others do.

    Field pad: not 0 for padding.

    >>> import attnir as an
    >>> print(an.catalog.build("bert4rec"))
    pad = field(); pad(k) == 0
    """
    pad = field("pad")
    return mask(lambda k: pad(k) == 0)


@entry(
    "saits",
    source="SAITS: Self-Attention-based Imputation for Time Series; WenjieDu/SAITS",
    example=Example(q_len=48),
)
def saits() -> Mask:
    """A time step sees all steps but its own, so that its value is imputed from the others.

    A series of one step has an empty row: its output is 0, where the authors' finite penalty lets it see itself.

    >>> import attnir as an
    >>> print(an.catalog.build("saits"))
    q != k
    """
    return mask(lambda q, k: q != k)
