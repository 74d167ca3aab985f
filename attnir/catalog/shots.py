"""Videos of several shots: a shot sees itself, the first frames of all shots, and the captions that concern it."""

from __future__ import annotations

from functools import reduce
from operator import or_

import torch

from attnir.catalog.registry import Example, entry
from attnir.catalog.sizes import within
from attnir.facts import field
from attnir.functions import where
from attnir.masks import Mask, full, mask
from attnir.scores import Pattern, multiplicity, pattern
from attnir.value import Value

_SOURCE = "HoloCine: Holistic Generation of Cinematic Multi-Shot Long Video Narratives; yihao-meng/HoloCine"
_CUTS = torch.tensor([0, 24, 40])


@entry(
    "holocine",
    source=_SOURCE,
    example=Example({"first": 4}, bindings={"shot_start": _CUTS.repeat_interleave(torch.tensor([24, 16, 24]))}),
)
def holocine(first: int | Value, duplicate: bool = True) -> Mask | Pattern:
    """Tokens of a video see their own shot, and the first frame of every shot.

    first      how many tokens a shot's first latent frame has; of a shorter shot all are seen
    duplicate  whether keys of the own shot's first frame, which are seen for both reasons, count twice, as in the
               released code

    Field: `shot_start`, for each token the position of its shot's first token. Shots follow one another, so it never
    decreases (it is declared sorted); samples may have cuts of their own.

    >>> import attnir as an
    >>> print(an.catalog.build("holocine", first=1560, duplicate=False))
    shot_start = field(sorted=True); (shot_start(q) == shot_start(k)) | (k - shot_start(k) < 1560)
    """
    within(1, first=first)
    start = field("shot_start", sorted=True)

    def reasons(q: Value, k: Value) -> tuple[Value, Value]:
        return start(q) == start(k), k - start(k) < first

    if not duplicate:
        return mask(lambda q, k: reduce(or_, reasons(q, k)))
    return pattern(full(), score=multiplicity(lambda q, k: sum(where(r, 1, 0) for r in reasons(q, k))))


@entry(
    "holocine-cross",
    source=_SOURCE,
    example=Example(
        q_len=64,
        k_len=32,
        bindings={
            "shot": (
                torch.tensor([0, 1, 2]).repeat_interleave(torch.tensor([24, 16, 24])),
                torch.tensor([-1, 0, 1, 2, -1]).repeat_interleave(torch.tensor([8, 6, 6, 6, 6])),
            )
        },
    ),
)
def holocine_cross() -> Mask:
    """Tokens of a video see the global caption, the caption of their shot, and the padding after the captions.

    Queries are tokens of the video, keys those of the text.

    Field: `shot`, given as a pair. For queries the number of their shot, from 0; for keys the number of the shot that
    their caption tells of, -1 in the global caption and in the padding after the last caption, and -2 in what lies
    between captions, which nobody sees. Ranges of captions are half-open; samples may have ranges of their own.

    >>> import attnir as an
    >>> print(an.catalog.build("holocine-cross"))
    shot = field(); (shot(k) == shot(q)) | (shot(k) == -1)
    """
    shot = field("shot")
    return mask(lambda q, k: (shot(k) == shot(q)) | (shot(k) == -1))
