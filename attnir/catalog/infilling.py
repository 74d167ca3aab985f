"""Generation by blocks and blanks: video blocks behind a prompt, blanks of a template."""

from __future__ import annotations

import torch

from attnir.catalog.registry import Example, entry
from attnir.catalog.sizes import within
from attnir.facts import field
from attnir.masks import Mask, full, mask
from attnir.value import Value

_PADS = torch.tensor([int(i in (10, 11)) for i in range(48)])
_BLANKS = torch.cat([256 * s + torch.arange(n) for s, n in ((1, 12), (3, 8), (5, 12))])
_TEMPLATE = torch.cat([256 * s + torch.arange(n) for s, n in ((0, 6), (2, 4), (4, 6))])


@entry(
    "nbp-video",
    source="Next Block Prediction: Video Generation via Semi-Autoregressive Modeling; RenShuhuai-Andy/NBP",
    example=Example({"prefix": 12, "block": 6}, q_len=48, bindings={"pad": _PADS}),
)
def nbp_video(prefix: int | Value, block: int | Value) -> Mask:
    """Everyone sees the prompt; a token of the video also sees its block and the blocks before it.

    Field pad: not 0 for padding of the prompt, which is not seen.

    prefix   tokens of the prompt, its padding among them; may be a parameter from 0
    block    tokens to a block of the video; may be a parameter from 1

    >>> import attnir as an
    >>> print(an.catalog.build("nbp-video", prefix=3, block=2))
    pad = field(); (k < 3) & (pad(k) == 0) | (q >= 3) & (k >= 3) & ((k - 3) // 2 <= (q - 3) // 2)
    """
    within(0, prefix=prefix)
    within(1, block=block)
    pad = field("pad")
    prompt = mask(lambda k: (k < prefix) & (pad(k) == 0))
    video = mask(lambda q, k: (q >= prefix) & (k >= prefix))
    return prompt | video & mask(lambda q, k: (k - prefix) // block <= (q - prefix) // block)


@entry(
    "text-infilling",
    source="Text Infilling; VegB/Text_Infilling",
    example=Example(q_len=32, bindings={"place": _BLANKS}),
)
def text_infilling(template: bool = False, span: int | Value = 256) -> Mask:
    """Blanks of a template are filled: a token sees its own blank up to itself; a second attention sees the template.

    The model has two attentions with a residual between them, which are two masks. Text and blanks are segments of the
    template, in turn.

    Field place, of the first mask: span * segment + offset in the segment, for each token.

    template   False: the attention over the tokens of blanks; True: the one from these tokens over the whole template
    span       how many offsets a segment has room for; may be a parameter from 1

    >>> import attnir as an
    >>> print(an.catalog.build("text-infilling"))
    place = field(); (place(q) // 256 == place(k) // 256) & (place(k) % 256 <= place(q) % 256)
    """
    within(1, span=span)
    return full() if template else _own_segment(span)


@entry(
    "text-infilling-joint",
    source="Text Infilling, both attentions in one softmax (another model than the authors'); VegB/Text_Infilling",
    example=Example(
        q_len=48,
        bindings={"place": torch.cat([_TEMPLATE, _BLANKS]), "template": torch.tensor([1] * 16 + [0] * 32)},
    ),
)
def text_infilling_joint(span: int | Value = 256) -> Mask:
    """One softmax over the template and a token's own blank up to itself.

    Field place: span * segment + offset in the segment, for each token. Field template: not 0 for tokens of the
    template.

    span   how many offsets a segment has room for; may be a parameter from 1

    >>> import attnir as an
    >>> print(an.catalog.build("text-infilling-joint", span=16))
    place = field(); template = field(); (template(k) != 0) | (place(q) // 16 == place(k) // 16) & ...
    """
    within(1, span=span)
    template = field("template")
    return mask(lambda k: template(k) != 0) | _own_segment(span)


def _own_segment(span: int | Value) -> Mask:
    place = field("place")
    same = mask(lambda q, k: place(q) // span == place(k) // span)
    return same & mask(lambda q, k: place(k) % span <= place(q) % span)
