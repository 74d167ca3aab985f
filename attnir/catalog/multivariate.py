"""Series of several channels at once, whose terms tell time and channel apart."""

from __future__ import annotations

from attnir.catalog.registry import Example, entry
from attnir.catalog.shared import some_numbers
from attnir.catalog.sizes import within
from attnir.facts import tensor
from attnir.functions import where
from attnir.masks import mask
from attnir.scores import Pattern, pattern, score
from attnir.space import grid
from attnir.value import Value

_STEPS, _CHANNELS = 16, 4


@entry(
    "mvpa",
    source="A foundation model with multi-variate parallel attention to generate neuronal activity; "
    "IBM/multi-variate-parallel-transformer",
    example=Example(
        {"steps": _STEPS, "channels": _CHANNELS, "window": 5},
        bindings={
            "uk": some_numbers(1, 1, 64),
            "qt": some_numbers(1, 1, 64, _STEPS),
            "qc": some_numbers(1, 1, 64, _CHANNELS),
        },
    ),
)
def mvpa(steps: int | Value, channels: int | Value, window: int | Value = 10) -> Pattern:
    """Every step sees all steps up to its own, of all channels: by content where near, by time and by channel always.

    Tensors uk: [B, Hq, Sk], scale * (k @ u); qt: [B, Hq, Sq, steps], scale * (q + v) @ Kt.transpose(-1, -2), read at
    the row steps - 1 - distance in time; qc: [B, Hq, Sq, channels], scale * (q + w) @ Kc.transpose(-1, -2), read at
    channels - 1 - distance of channels. u, v and w are learned vectors of a head, Kt [steps, D] and Kc [channels, D]
    embeddings of a sample. The tensors are made before the call, so that torch makes the gradients of all these.

    steps     of each series; its tokens are those of the first step, then those of the second, ...
    channels  of each step
    window    how many steps before its own a query looks at by content; the last step does at all of them

    Beyond the window content is a term of zero, not a mask.

    >>> import attnir as an
    >>> print(an.catalog.build("mvpa", steps=50, channels=8))  # doctest: +NORMALIZE_WHITESPACE
    qc = tensor(b, h, q, row, dtype=float); qt = tensor(b, h, q, row, dtype=float); uk = tensor(b, h, k, dtype=float);
    q, k = grid(t=50, c=8); k.t <= q.t; score = where((q.t - k.t <= 10) | (q.t == 49), s + uk[b, h, k], 0.0) +
    qt[b, h, q, k.t - q.t + 49] + qc[b, h, q, 7 - abs(q.c - k.c)]
    """
    within(0, window=window)
    series = grid(t=steps, c=channels)
    uk, qt, qc = tensor("uk", "b", "h", "k"), tensor("qt", "b", "h", "q", "row"), tensor("qc", "b", "h", "q", "row")
    near = score(
        lambda s, b, h, q, k: where((q.t - k.t <= window) | (q.t == steps - 1), s + uk[b, h, k], 0.0), grid=series
    )
    by_time = score(lambda s, b, h, q, k: s + qt[b, h, q, k.t - q.t + (steps - 1)], grid=series)
    by_channel = score(lambda s, b, h, q, k: s + qc[b, h, q, channels - 1 - abs(q.c - k.c)], grid=series)
    return pattern(mask(lambda q, k: k.t <= q.t, grid=series), score=[near, by_time, by_channel])
