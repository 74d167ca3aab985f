"""Models that think in latent tokens: thoughts that see each other, iterations over the same position."""

from __future__ import annotations

import torch

from attnir.catalog.registry import Example, entry
from attnir.facts import field
from attnir.masks import Mask, causal, mask

_THOUGHTS = torch.tensor([0] * 12 + [1] * 8 + [0] * 10 + [2] * 10 + [0] * 8)
_PADS = torch.tensor([int(i in (4, 5)) for i in range(48)])
_ITERATED = torch.tensor([0, 3, 4, 9, 15, 16, 17, 23])  # the positions that are thought about a second time


@entry(
    "ladir",
    source="LaDiR: Latent Diffusion Enhances LLMs for Text Reasoning; mk322/LaDiR",
    example=Example({"same_thought_block": True}, q_len=48, bindings={"thought": _THOUGHTS, "pad": _PADS}),
)
def ladir(same_thought_block: bool = False) -> Mask:
    """Causal, but thought tokens see each other in both directions.

    Field thought: 0 for text, 1, 2, ... for the tokens of each block of thoughts. Field pad: not 0 for padding, which
    is not seen.

    same_thought_block   False: all thought tokens see each other, as in the authors' code; True: those of one block,
                         the form of the paper

    >>> import attnir as an
    >>> print(an.catalog.build("ladir"))
    pad = field(); thought = field(); ((k <= q) | (thought(q) != 0) & (thought(k) != 0)) & (pad(k) == 0)
    """
    thought, pad = field("thought"), field("pad")
    together = mask(lambda q, k: (thought(q) != 0) & (thought(k) != 0))
    if same_thought_block:
        together = mask(lambda q, k: (thought(q) != 0) & (thought(q) == thought(k)))
    return (causal() | together) & mask(lambda k: pad(k) == 0)


@entry(
    "duo-causal",
    source="Think-at-Hard: Selective Latent Iterations to Improve Reasoning Language Models; thu-nics/TaH",
    example=Example(
        q_len=32,
        bindings={
            "position": torch.cat([torch.arange(24), _ITERATED]),
            "iteration": torch.tensor([0] * 24 + [1] * 8),
            "pad": torch.zeros(32, dtype=torch.int64),
        },
    ),
)
def duo_causal() -> Mask:
    """Causal in two ways: a token sees positions up to its own, in iterations up to its own.

    Hard positions are thought about again, so several tokens share a position. Nothing is sorted: the second iteration
    begins again at small positions.

    Field position: each token's position in the text. Field iteration: 0, 1, ... Field pad: not 0 for slots that hold
    no token; they are not seen.

    >>> import attnir as an
    >>> print(an.catalog.build("duo-causal"))
    iteration = field(); pad = field(); position = field(); (position(k) <= position(q)) & ...
    """
    position, iteration, pad = field("position"), field("iteration"), field("pad")
    return mask(lambda q, k: (position(k) <= position(q)) & (iteration(k) <= iteration(q)) & (pad(k) == 0))
