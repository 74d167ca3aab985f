"""Windows along the sequence: plain, with sinks."""

from __future__ import annotations

from attnir.catalog.registry import Example, entry
from attnir.pattern import Mask, causal, mask


@entry(
    "streaming-llm",
    source="Efficient Streaming Language Models with Attention Sinks; mit-han-lab/streaming-llm",
    example=Example({"sinks": 4, "window": 12}),
)
def streaming_llm(sinks: int = 4, window: int = 1024) -> Mask:
    """A causal window, and the first tokens for everyone.

    sinks   how many first tokens every later query sees
    window  how many keys up to its own a query sees

    >>> import attnir as an
    >>> print(an.catalog.build("streaming-llm", sinks=2, window=2))
    (k <= q) & ((k < 2) | (q - k < 2))
    """
    return causal() & mask(lambda q, k: (k < sinks) | (q - k < window))
