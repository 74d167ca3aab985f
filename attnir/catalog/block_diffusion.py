"""Block diffusion: a sequence of two halves, the noisy tokens and the same tokens clean, and which half sees which.

Positions repeat: a token of the noisy half has the position of its clean twin. That concerns the embeddings and not the
mask. The training of bd3lm uses the outputs of the noisy half alone.
"""

from __future__ import annotations

from attnir.catalog.registry import Example, entry
from attnir.catalog.sizes import within
from attnir.masks import Mask, causal, mask
from attnir.space import Space, concat
from attnir.value import Value

_EXAMPLE = Example({"tokens": 32, "block": 8}, q_len=64)


@entry(
    "bd3lm",
    source="Block Diffusion: Interpolating Between Autoregressive and Diffusion Language Models; kuleshov-group/bd3lms",
    example=_EXAMPLE,
)
def bd3lm(tokens: int | Value, block: int | Value = 16) -> Mask:
    """A noisy block sees itself and the clean blocks before it; clean blocks see each other up to their own.

    tokens   tokens to a half; queries and keys are twice as many: first all noisy, then all clean; may be a parameter
    block    tokens to a block; may be a parameter from 1

    >>> import attnir as an
    >>> attn = an.compile(an.catalog.build("bd3lm", tokens=256, block=32))
    >>> attn.explain(512).live_pairs == 256 * 32 + 256**2
    True
    """
    halves = _halves(tokens, block)
    clean = mask(
        lambda q, k: q.in_("clean") & k.in_("clean") & (k.clean // block <= q.clean // block),
        grid=halves,
    )
    return _own_block(halves, block) | _clean_blocks_before(halves, block) | clean


@entry("fast-dllm-v2", source="Fast-dLLM v2: Efficient Block-Diffusion LLM", example=_EXAMPLE)
def fast_dllm_v2(tokens: int | Value, block: int | Value = 32) -> Mask:
    """The training of Fast-dLLM v2: the mask of bd3lm. The complementary noise doubles the batch and not the mask.

    tokens   tokens to a half; may be a parameter
    block    tokens to a block; may be a parameter from 1

    >>> import attnir as an
    >>> an.catalog.build("fast-dllm-v2", tokens=64) == an.catalog.build("bd3lm", tokens=64, block=32)
    True
    """
    return bd3lm(tokens, block)


@entry(
    "fast-dllm-v2-decoding",
    source="Fast-dLLM v2: Efficient Block-Diffusion LLM",
    example=Example({"block": 8}, q_len=16, k_len=48),
)
def fast_dllm_v2_decoding(block: int | Value = 32) -> Mask:
    """The decoding of Fast-dLLM v2: a block sees itself, and what is in the cache of the blocks before it.

    There is one half. The position of the first query is the cache's length, the default of a call.

    block   tokens to a block; may be a parameter from 1

    >>> import attnir as an
    >>> print(an.catalog.build("fast-dllm-v2-decoding"))
    k // 32 <= q // 32
    """
    within(1, block=block)
    return mask(lambda q, k: k // block <= q // block)


@entry("efficient-dlm", source="Efficient-DLM", example=_EXAMPLE)
def efficient_dlm(tokens: int | Value, block: int | Value = 32) -> Mask:
    """The training of Efficient-DLM: the mask of bd3lm, as far as its code has been seen.

    tokens   tokens to a half; may be a parameter
    block    tokens to a block; may be a parameter from 1

    >>> import attnir as an
    >>> an.catalog.build("efficient-dlm", tokens=64) == an.catalog.build("bd3lm", tokens=64, block=32)
    True
    """
    return bd3lm(tokens, block)


@entry("nbdiff", source="From Next-Token to Next-Block; YuchuanTian/NBDiff", example=_EXAMPLE)
def nbdiff(tokens: int | Value, block: int | Value = 32) -> Mask:
    """A noisy block sees itself and the clean blocks before it; the clean half is causal, token by token.

    tokens   tokens to a half; may be a parameter
    block    tokens to a block; may be a parameter from 1

    >>> import attnir as an
    >>> attn = an.compile(an.catalog.build("nbdiff", tokens=256, block=32))
    >>> attn.explain(512).live_pairs
    69760
    """
    halves = _halves(tokens, block)
    return _own_block(halves, block) | _clean_blocks_before(halves, block) | _clean_past(halves)


@entry("i-dlm", source="I-DLM", example=_EXAMPLE)
def i_dlm(tokens: int | Value, block: int | Value = 32) -> Mask:
    """As nbdiff, and causal inside a noisy block as well.

    tokens   tokens to a half; may be a parameter
    block    tokens to a block; may be a parameter from 1

    >>> import attnir as an
    >>> attn = an.compile(an.catalog.build("i-dlm", tokens=256, block=32))
    >>> attn.explain(512).live_pairs
    65792
    """
    halves = _halves(tokens, block)
    return _own_block(halves, block) & causal() | _clean_blocks_before(halves, block) | _clean_past(halves)


def _halves(tokens: int | Value, block: int | Value) -> Space:
    within(1, tokens=tokens, block=block)
    return concat(noisy=tokens, clean=tokens)


def _own_block(halves: Space, block: int | Value) -> Mask:
    return mask(
        lambda q, k: q.in_("noisy") & k.in_("noisy") & (q.noisy // block == k.noisy // block),
        grid=halves,
    )


def _clean_blocks_before(halves: Space, block: int | Value) -> Mask:
    return mask(
        lambda q, k: q.in_("noisy") & k.in_("clean") & (k.clean // block < q.noisy // block),
        grid=halves,
    )


def _clean_past(halves: Space) -> Mask:
    return mask(lambda q, k: q.in_("clean") & k.in_("clean") & (k.clean <= q.clean), grid=halves)
