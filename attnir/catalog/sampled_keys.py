"""Keys that chance leaves out in training. Which ones is a pure function of indices and a seed; it is a mask."""

from __future__ import annotations

from attnir.catalog.chance import scramble
from attnir.catalog.registry import Example, entry
from attnir.catalog.sizes import within
from attnir.masks import Mask, mask, window
from attnir.value import Value


@entry(
    "ssa",
    source="The Information Pathways Hypothesis: Transformers are Dynamic Self-Ensembles",
    example=Example({"keep": 400, "local": 3}),
)
def ssa(seed: int | Value = 0, keep: int | Value = 500, local: int | Value | None = None) -> Mask:
    """All queries see one random subset of the keys; training only.

    The paper draws a subset for each layer and step, so each has a seed of its own. No code is public: that each key is
    drawn by itself, and the form of the local bias, are choices of this catalog.

    seed    which keys; may be a parameter, so that a step draws anew without compiling again
    keep    how many keys of 1000 are seen, on average; may be a parameter from 0 to 1000
    local   a bias to what is near: a query also sees all keys up to so far away; none where left out; may be a
            parameter

    >>> import attnir as an
    >>> attn = an.compile(an.catalog.build("ssa", seed=3, keep=500))
    >>> 0.48 < attn.explain(2000).live_pairs / 2000**2 < 0.52
    True
    """
    within(0, 1000, keep=keep)
    chosen = mask(lambda k: scramble(k, seed) % 1000 < keep)
    if local is None:
        return chosen
    within(0, local=local)
    return chosen | window(local)


@entry(
    "key-drop",
    source="Dropout of keys before the softmax; common form",
    example=Example({"drop": 250}, q_len=48, heads=2),
)
def key_drop(seed: int | Value = 0, drop: int | Value = 100) -> Mask:
    """Random keys are removed before the softmax, others in each sample and head; training only.

    What is left of a row is not scaled: the softmax does that. A row may become empty; its output is 0.

    seed   which keys; may be a parameter, so that a step draws anew without compiling again
    drop   how many keys of 1000 are removed, on average; may be a parameter from 0 to 1000

    >>> import attnir as an
    >>> attn = an.compile(an.catalog.build("key-drop", drop=100))
    >>> 0.88 < attn.explain(1000).live_pairs / 1000**2 < 0.92
    True
    """
    within(0, 1000, drop=drop)
    return mask(lambda k, b, h: scramble(k, seed, b, h) % 1000 >= drop)
