"""The four attentions of CAB, the Comprehensive Attention Benchmark: noncausal or causal, self or cross."""

from __future__ import annotations

from attnir.catalog.registry import Example, entry
from attnir.masks import Mask, causal, full

_SOURCE = "CAB: Comprehensive Attention Benchmarking; Shark-NLP/CAB"


@entry("cab-ns", source=_SOURCE, example=Example(q_len=32))
def noncausal_self() -> Mask:
    """Noncausal self-attention: every token sees every token.

    >>> import attnir as an
    >>> an.catalog.build("cab-ns") == an.full()
    True
    """
    return full()


@entry("cab-cs", source=_SOURCE, example=Example(q_len=32))
def causal_self() -> Mask:
    """Causal self-attention: a token sees itself and all before it.

    >>> import attnir as an
    >>> an.catalog.build("cab-cs") == an.causal()
    True
    """
    return causal()


@entry("cab-nc", source=_SOURCE, example=Example(q_len=16, k_len=48))
def noncausal_cross() -> Mask:
    """Noncausal cross-attention: every query sees every key of another sequence.

    >>> import attnir as an
    >>> an.catalog.build("cab-nc") == an.full()
    True
    """
    return full()


@entry("cab-cc", source=_SOURCE, example=Example(q_len=16, k_len=48))
def causal_cross() -> Mask:
    """Causal cross-attention: every query sees every key of another sequence, and no later query matters to it.

    A softmax over keys reads one query at a time, so the second half holds of itself, and the mask is full. It is a
    constraint only for methods that mix queries.

    >>> import attnir as an
    >>> an.catalog.build("cab-cc") == an.full()
    True
    """
    return full()
