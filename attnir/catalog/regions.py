"""Images with several subjects: what belongs to one does not see what belongs to another."""

from __future__ import annotations

from functools import reduce
from operator import or_

import torch

from attnir.catalog.registry import Example, entry
from attnir.catalog.sizes import at_most, within
from attnir.facts import Field, field
from attnir.masks import Mask, mask
from attnir.space import concat
from attnir.value import Value

_MOST_INSTANCES = 30  # one bit each


@entry(
    "region-joint",
    source="3DIS-FLUX: simple and efficient multi-instance generation with DiT rendering; limuloo/3DIS",
    example=Example(
        {"text": 12, "image": 36, "instances": 2},
        q_len=48,
        bindings={
            "regions": torch.tensor([0] * 4 + [1] * 4 + [2] * 4 + [0] * 6 + [1] * 10 + [3] * 4 + [2] * 10 + [0] * 6)
        },
    ),
)
def region_joint(
    text: int | Value,
    image: int | Value,
    instances: int,
    i2i: int | Value = 1,
    i2t: int | Value = 1,
    t2i: int | Value = 1,
    t2t: int | Value = 1,
) -> Mask:
    """Text and image tokens of several instances see what shares an instance with them, as far as flags are set.

    text       how many text tokens there are: the global text, then the texts of the instances
    image      how many image tokens there are, after the text
    instances  how many instances there are, at most 30
    i2i        whether image tokens of instances see only image tokens that share an instance with them
    i2t        whether they see, of the instances' texts, only their own; with i2i as well, not the global text either
    t2i        whether an instance's text sees only the image tokens of its instance
    t2t        whether an instance's text sees only itself among the texts

    Flags are 0 or 1, and may be parameters that change from step to step. The global text, and image tokens of no
    instance, see everything.

    Field: `regions`, for each token the sum of 2**i over its instances i, from 0: the one that a text tells of (0 in
    the global text), and all that cover an image token (0 where there is none).

    >>> import attnir as an
    >>> pattern = an.catalog.build("region-joint", text=512, image=4096, instances=1, i2t=0, t2i=0)
    >>> print(pattern)  # doctest: +NORMALIZE_WHITESPACE
    regions = field(); q, k = concat(text=512, image=4096);
    (regions(q) == 0) | (regions(q) % 2 == 1) & (regions(k) % 2 == 1) |
    (512 <= q) & (k < 512) | (q < 512) & (512 <= k)
    """
    within(1, instances=instances)
    at_most("30, one bit each", _MOST_INSTANCES, instances=instances)
    within(0, i2i=i2i, i2t=i2t, t2i=t2i, t2t=t2t)
    page, regions = concat(text=text, image=image), field("regions")
    shared = reduce(or_, (_both_in(regions, 2**i) for i in range(instances)))
    unowned = mask(lambda q, k: regions(q) == 0)
    of_image = mask(
        lambda q, k: (
            q.in_("image")
            & (
                (k.in_("image") & (i2i == 0))
                | (k.in_("text") & (i2t == 0))
                | (k.in_("text") & (regions(k) == 0) & (i2i == 0))
            )
        ),
        grid=page,
    )
    of_text = mask(
        lambda q, k: q.in_("text") & ((k.in_("image") & (t2i == 0)) | (k.in_("text") & (t2t == 0))), grid=page
    )
    return unowned | shared | of_image | of_text


def _both_in(regions: Field, bit: int) -> Mask:
    """Whether both tokens belong to the instance of a bit."""
    return mask(lambda q, k: (regions(q) // bit % 2 == 1) & (regions(k) // bit % 2 == 1))


@entry(
    "ir-isolation",
    source="Improving Multi-Subject Consistency in Open-Domain Image Generation with Isolation and Reposition "
    "Attention; no public code, details are ours",
    example=Example(
        q_len=64,
        bindings={"subject": torch.tensor([0, 1, 0, 2, 0]).repeat_interleave(torch.tensor([8, 16, 8, 16, 16]))},
    ),
)
def ir_isolation(background: int | Value = 1) -> Mask:
    """Tokens of a subject do not see those of other subjects.

    background  whether they see the background, 0 or 1; the background sees everything

    Field: `subject`, for each token the number of its subject from 1, or 0 in the background.

    >>> import attnir as an
    >>> print(an.catalog.build("ir-isolation"))
    subject = field(); (subject(q) == 0) | (subject(q) == subject(k)) | (subject(k) == 0)
    """
    within(0, background=background)
    subject = field("subject")
    return mask(lambda q, k: (subject(q) == 0) | (subject(q) == subject(k)) | ((subject(k) == 0) & (background != 0)))
