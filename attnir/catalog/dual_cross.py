"""The two cross-attentions of DCAL: with the keys of a partner sample, and from the most telling tokens alone."""

from __future__ import annotations

from attnir.catalog.registry import Example, entry
from attnir.catalog.sizes import within
from attnir.masks import Mask, mask
from attnir.space import concat, grid
from attnir.value import Value

_SOURCE = "Dual Cross-Attention Learning for Fine-Grained Visual Categorization and Object Re-Identification"


@entry("dcal-pwca", source=_SOURCE, example=Example({"tokens": 32}, q_len=32, k_len=64))
def pair_wise(tokens: int | Value) -> Mask:
    """Every query sees the keys of its own sample and those of a partner sample, in one softmax; training only.

    Keys and values are concatenated: first the sample's own, then its partner's. Which sample is whose partner, and the
    gradients that partners add up, is the concatenation's matter.

    tokens   tokens to a sample; keys are twice as many; may be a parameter from 1

    >>> import attnir as an
    >>> print(an.catalog.build("dcal-pwca", tokens=197))
    q = grid(token=197); k = concat(own=197, partner=197); True
    """
    within(1, tokens=tokens)
    return mask(lambda: True, grid=(grid(token=tokens), concat(own=tokens, partner=tokens)))


@entry("dcal-glca", source=_SOURCE, example=Example({"chosen": 8, "tokens": 32}, q_len=8, k_len=32))
def global_local(chosen: int | Value, tokens: int | Value) -> Mask:
    """The queries of the most telling tokens see all keys.

    The caller chooses the tokens, by attention rollout, and gathers their queries.

    chosen   how many queries there are; may be a parameter from 1
    tokens   how many keys there are; may be a parameter from 1

    >>> import attnir as an
    >>> print(an.catalog.build("dcal-glca", chosen=20, tokens=197))
    q = grid(rank=20); k = grid(token=197); True
    """
    within(1, chosen=chosen, tokens=tokens)
    return mask(lambda: True, grid=(grid(rank=chosen), grid(token=tokens)))
