"""Radial attention: the farther two frames of a video are, the narrower is the band of tokens that see each other."""

from __future__ import annotations

from functools import reduce
from operator import or_

from attnir.catalog.registry import Example, entry
from attnir.catalog.sizes import divides, some, whole
from attnir.errors import DeclarationError
from attnir.masks import Mask, mask
from attnir.space import Space, concat, grid
from attnir.value import Value, fail


@entry(
    "radial",
    source="Radial Attention: O(n log n) Sparse Attention with Energy Decay for Long Video Generation; "
    "mit-han-lab/radial-attention",
    example=Example({"frames": 8, "tokens": 12, "decay": 0.5, "block": 2}, q_len=96),
)
def radial(
    frames: int,
    tokens: int,
    text: int | Value = 0,
    decay: float = 1.0,
    block: int = 128,
    first_frame: bool = False,
) -> Mask:
    """A band of a video's frames that halves whenever the distance of the frames doubles, and thins out after that.

    frames       how many frames there are
    tokens       how many tokens a frame has, a multiple of the block
    text         how many text tokens stand after the video; they see and are seen by everything
    decay        the factor of the bands' widths
    block        the narrowest band, and the width below which only every second, fourth, ... frame is seen
    first_frame  whether every token sees the whole first frame

    This is the rule for pairs of tokens. The released code executes a majority of it: it attends to whole blocks of
    128 x 128 pairs, those in most of whose columns enough tokens are on.

    >>> import attnir as an
    >>> print(an.catalog.build("radial", frames=4, tokens=256))  # doctest: +NORMALIZE_WHITESPACE
    q, k = grid(frame=4, token=256); (abs(q.frame - k.frame) <= 1) |
    (abs(q.frame - k.frame) >= 2) & (abs(q.frame - k.frame) < 4) & (abs(q.token - k.token) <= 128)
    """
    whole(1, frames=frames, tokens=tokens, block=block)
    divides("the block", block, tokens=tokens)
    if not decay > 0:
        fail(DeclarationError, f"decay is a number above 0, not {decay}")
    video = grid(frame=frames, token=tokens)
    space = concat(video=video, text=text) if some(text) else video
    kept = mask(lambda q, k: abs(q.frame - k.frame) <= 1, grid=space)
    groups = range(2, (frames - 1).bit_length() + 1)
    kept = reduce(or_, (_band(space, group, tokens, decay, block) for group in groups), kept)
    if first_frame:
        kept = kept | mask(lambda q, k: k.frame == 0, grid=space)
    if not some(text):
        return kept
    return kept | mask(lambda q, k: q.in_("text") | k.in_("text"), grid=space)


def _band(space: Space, group: int, tokens: int, decay: float, block: int) -> Mask:
    """What tokens see of frames at a distance of `group` bits."""
    padded = 1 << tokens.bit_length()
    width = max(int(decay * padded / (1 << group)), block)
    every = max(1, (block << group) // padded)  # of these frames one is kept
    nearest = 1 << (group - 1)
    return mask(
        lambda q, k: (
            (nearest <= abs(q.frame - k.frame))
            & (abs(q.frame - k.frame) < 2 * nearest)
            & ((q.frame - k.frame) % every == 0)
            & (abs(q.token - k.token) <= width)
        ),
        grid=space,
    )
