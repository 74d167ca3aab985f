"""Heads of two kinds: groups and shifted groups, short range and long."""

from __future__ import annotations

from attnir.catalog.registry import Example, entry
from attnir.catalog.sizes import whole, within
from attnir.errors import DeclarationError
from attnir.masks import Mask, causal, mask, window
from attnir.per_head import per_head
from attnir.value import Value, fail


@entry(
    "s2-attn",
    source="LongLoRA: Efficient Fine-tuning of Long-Context Large Language Models; dvlab-research/LongLoRA",
    example=Example({"heads": 2, "group": 16}, heads=2),
)
def s2_attn(heads: int, group: int | Value) -> Mask:
    """Causal within groups; in the second half of the heads the groups are shifted by half a group. Training only.

    The first and the last shifted group are shorter; nothing wraps around, so no early token sees a late one.

    heads   how many query heads there are, an even number
    group   tokens to a group, a quarter of the sequence in the paper; may be a parameter from 1

    >>> import attnir as an
    >>> print(an.catalog.build("s2-attn", heads=2, group=4))
    h = heads(2); (k <= q) & ((h == 0) & (q // 4 == k // 4) | (h == 1) & ((q + 2) // 4 == (k + 2) // 4))
    """
    return causal() & _grouped(heads, 0, group)


@entry(
    "sink-lora",
    source="SinkLoRA: Enhanced Efficiency and Chat Capabilities for Long-Context Large Language Models",
    example=Example({"heads": 4, "group": 16, "unshifted": 1, "sinks": 4}, heads=4),
)
def sink_lora(heads: int, group: int | Value, unshifted: int = 0, sinks: int | Value = 4) -> Mask:
    """The shifted groups of s2-attn, some heads shifted back, and the first tokens for everyone.

    Known from the abstract alone: which heads are shifted back, and how many first tokens count, are choices of this
    catalog. The first tokens themselves see all that comes before them.

    heads       how many query heads there are, an even number
    group       tokens to a group; may be a parameter from 1
    unshifted   how many heads of the second half are shifted back: its first ones
    sinks       how many first tokens every later query sees; may be a parameter

    >>> import attnir as an
    >>> print(an.catalog.build("sink-lora", heads=4, group=16, unshifted=2, sinks=2))
    h = heads(4); (k <= q) & ((q // 16 == k // 16) | (k < 2))
    """
    within(0, sinks=sinks)
    return causal() & (_grouped(heads, unshifted, group) | mask(lambda k: k < sinks))


@entry(
    "ls-attention",
    source="Short-Range Dependency Effects on Transformer Instability and a Decomposed Attention Solution",
    example=Example({"short": 1, "reach": 8}, heads=2),
)
def ls_attention(short: int, reach: int | Value = 512) -> Mask:
    """Some heads see a short causal window, the others all of the past.

    short   how many heads, the first ones, are short; the others are long
    reach   how many keys up to its own a query of a short head sees; may be a parameter from 1

    >>> import attnir as an
    >>> print(an.catalog.build("ls-attention", short=4, reach=128))
    (h < 4) & ((q - k <= 127) & (k <= q)) | (h >= 4) & (k <= q)
    """
    whole(0, short=short)
    within(1, reach=reach)
    if short == 0:
        return causal()
    return per_head([(slice(0, short), window(reach - 1, 0)), (slice(short, None), causal())])


def _grouped(heads: int, unshifted: int, group: int | Value) -> Mask:
    """A token sees its group. The first half of the heads and `unshifted` more have whole groups, the rest shifted."""
    whole(2, heads=heads)
    within(1, group=group)
    if heads % 2:
        fail(DeclarationError, f"half of the heads are shifted, so `heads` is even, not {heads}")
    whole(0, heads // 2, unshifted=unshifted)
    plain = heads // 2 + unshifted
    kinds = [(slice(0, plain), _groups(group, 0)), (slice(plain, heads), _groups(group, group // 2))]
    return per_head([(chosen, seen) for chosen, seen in kinds if chosen.start < chosen.stop])


def _groups(group: int | Value, shift: int | Value) -> Mask:
    return mask(lambda q, k: (q + shift) // group == (k + shift) // group)
