"""Windows along the sequence: all of the past, plain, dilated, strided, with sinks."""

from __future__ import annotations

from attnir.catalog.registry import Example, entry
from attnir.catalog.sizes import within
from attnir.masks import Mask, mask
from attnir.masks import causal as past
from attnir.masks import window as around
from attnir.value import Value


@entry("causal", source="Attention Is All You Need; tensorflow/tensor2tensor", example=Example(q_len=32))
def causal() -> Mask:
    """A query sees its own position and all before it.

    >>> import attnir as an
    >>> print(an.catalog.build("causal"))
    k <= q
    """
    return past()


@entry(
    "window",
    source="Longformer: The Long-Document Transformer; allenai/longformer",
    example=Example({"left": 8, "right": 4}),
)
def window(left: int | Value = 256, right: int | Value | None = None) -> Mask:
    """A query sees the keys near it.

    left    how many keys before its own a query sees; may be a parameter
    right   how many after it, as many as before where left out; 0: a causal window

    >>> import attnir as an
    >>> print(an.catalog.build("window", left=2, right=1))
    (q - k <= 2) & (k - q <= 1)
    """
    within(0, left=left, right=left if right is None else right)
    return around(left, right)


@entry(
    "dilated-window",
    source="Longformer: The Long-Document Transformer; allenai/longformer",
    example=Example({"reach": 4, "dilation": 3}),
)
def dilated_window(reach: int | Value = 128, dilation: int | Value = 2, causal: bool = False) -> Mask:
    """A query sees every dilation-th key of a window around it.

    reach      how many keys it sees on each side, besides its own; may be a parameter
    dilation   the distance between two of them; may be a parameter from 1
    causal     only those on the left

    >>> import attnir as an
    >>> print(an.catalog.build("dilated-window", reach=4, dilation=3))
    (q - k <= 12) & (k - q <= 12) & ((q - k) % 3 == 0)
    """
    within(0, reach=reach)
    within(1, dilation=dilation)
    near = around(reach * dilation, 0 if causal else None)
    return near & mask(lambda q, k: (q - k) % dilation == 0)


@entry(
    "strided",
    source="Generating Long Sequences with Sparse Transformers; openai/sparse_attention",
    example=Example({"stride": 6}),
)
def strided(stride: int | Value = 128) -> Mask:
    """A query sees every stride-th position of the past, counted back from its own.

    The strided head of the Sparse Transformer; its other head is the window of the last `stride` positions, and where
    one head does both they are joined: strided | window(stride, 0).

    stride   the distance between two keys; may be a parameter from 1

    >>> import attnir as an
    >>> print(an.catalog.build("strided", stride=4))
    (k <= q) & ((q - k) % 4 == 0)
    """
    within(1, stride=stride)
    return past() & mask(lambda q, k: (q - k) % stride == 0)


@entry(
    "streaming-llm",
    source="Efficient Streaming Language Models with Attention Sinks; mit-han-lab/streaming-llm",
    example=Example({"sinks": 4, "window": 12}),
)
def streaming_llm(sinks: int | Value = 4, window: int | Value = 1024) -> Mask:
    """A causal window, and the first tokens for everyone.

    sinks   how many first tokens every later query sees; may be a parameter
    window  how many keys up to its own a query sees; may be a parameter from 1

    >>> import attnir as an
    >>> print(an.catalog.build("streaming-llm", sinks=2, window=2))
    (k <= q) & ((k < 2) | (q - k < 2))
    """
    within(0, sinks=sinks)
    within(1, window=window)
    return past() & mask(lambda q, k: (k < sinks) | (q - k < window))
