"""What the benchmarks run: patterns, their lengths, and the same as a mask function for FlexAttention.

Grids have a fixed size, so such a pattern has one length for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

import attnir as an

WINDOW, DOCUMENTS, SPAN, DILATION, STRIDE, REACH, CAP = 256, 16, 1024, 8, 64, 128, 30.0
ScoreFunction = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]  # of s, b, h, q, k
FlexScore = Callable[[dict[str, Tensor]], ScoreFunction]
Made = Mapping[str, Callable[[int], Tensor]]  # for a number of heads
MaskFunction = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # of b, h, q, k
DOC = an.field("doc", sorted=True)


@dataclass(frozen=True)
class Case:
    """A pattern at one length."""

    name: str
    length: int
    pattern: an.Mask | an.Pattern
    flex: Callable[[Tensor], MaskFunction]  # made for the documents of the tokens
    documents: bool = False
    score: FlexScore | None = None  # made for the tensors that it reads
    made: Made = field(default_factory=dict)  # these
    more_keys: int = 0  # of zeros, before all others, by which FlexAttention says the same

    def padded(self, t: Tensor) -> Tensor:
        """Keys or values as FlexAttention takes them."""
        return torch.nn.functional.pad(t, (0, 0, self.more_keys, 0)) if self.more_keys else t

    def ids(self, device: str) -> Tensor:
        """The document of each token."""
        return torch.arange(self.length, device=device, dtype=torch.int32) // max(1, self.length // DOCUMENTS)

    def tensors(self, heads: int, device: str) -> dict[str, Tensor]:
        """What the score reads; it may be learned."""
        return {name: make(heads).to(device) for name, make in self.made.items()}

    def bindings(self, device: str) -> dict[str, object]:
        """What a call gives besides q, k, v and these."""
        return {"doc": self.ids(device)} if self.documents else {}


def sequences(length: int) -> list[Case]:
    """The patterns that any length has."""
    return [
        Case("full", length, an.full(), lambda ids: lambda b, h, q, k: q >= 0),
        Case("causal", length, an.causal(), lambda ids: lambda b, h, q, k: k <= q),
        Case(
            "window 256",
            length,
            an.window(WINDOW - 1, 0),
            lambda ids: lambda b, h, q, k: (k <= q) & (q - k < WINDOW),
        ),
        Case(
            "documents",
            length,
            an.causal() & an.mask(lambda q, k: DOC(q) == DOC(k)),
            lambda ids: lambda b, h, q, k: (k <= q) & (ids[q] == ids[k]),
            documents=True,
        ),
        Case(
            "dilated 8",
            length,
            an.window(SPAN - 1, 0) & an.mask(lambda q, k: (q - k) % DILATION == 0),
            lambda ids: lambda b, h, q, k: (k <= q) & (q - k < SPAN) & ((q - k) % DILATION == 0),
        ),
        Case(
            "strided 64",
            length,
            an.causal() & an.mask(lambda q, k: (q - k) % STRIDE == 0),
            lambda ids: lambda b, h, q, k: (k <= q) & ((q - k) % STRIDE == 0),
        ),
    ]


def scored(length: int) -> list[Case]:
    """Causal, with scores that change, and with a sink."""

    def causal(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return k <= q

    def alibi(given: dict[str, Tensor]) -> ScoreFunction:
        slopes = given["slopes"]
        return lambda s, b, h, q, k: s - slopes[h] * (q - k)

    def softcap(given: dict[str, Tensor]) -> ScoreFunction:
        return lambda s, b, h, q, k: CAP * torch.tanh(s / CAP)

    def table(given: dict[str, Tensor]) -> ScoreFunction:
        bias = given["bias"]
        return lambda s, b, h, q, k: s + bias[h, (q - k).clamp(0, REACH - 1)]

    scores: dict[str, tuple[an.Score, FlexScore, Made]] = {
        "alibi": (an.alibi(), alibi, {"slopes": an.alibi_slopes}),
        "softcap": (an.softcap(CAP), softcap, {}),
        "table 128": (
            an.relative_bias(REACH - 1, causal=True),
            table,
            {"bias": lambda heads: torch.randn(heads, REACH)},
        ),
    }

    def sink(given: dict[str, Tensor]) -> ScoreFunction:
        sinks = given["sink"]
        return lambda s, b, h, q, k: torch.where(k == 0, sinks[h], s)

    sunk = Case(
        "sink",
        length,
        an.pattern(an.causal(), normalize=an.softmax(sink=an.tensor("sink", "h"))),
        lambda ids: lambda b, h, q, k: k <= q + 1,
        score=sink,
        made={"sink": torch.randn},
        more_keys=1,
    )
    return [
        Case(name, length, an.pattern(an.causal(), score=own), lambda ids: causal, score=other, made=made)
        for name, (own, other, made) in scores.items()
    ] + [sunk]


def grids() -> list[Case]:
    """Neighbourhoods: 13 x 13 on squares, 5 x 9 x 9 on a video."""
    return [_neighborhood({"y": n, "x": n}, (13, 13)) for n in (64, 128)] + [
        _neighborhood({"t": 16, "y": 32, "x": 32}, (5, 9, 9))
    ]


def _neighborhood(sizes: dict[str, int], kernel: tuple[int, ...]) -> Case:
    space = an.grid(**sizes)
    name = "x".join(map(str, kernel)) + " on " + "x".join(map(str, sizes.values()))
    length = 1
    for n in sizes.values():
        length *= n
    return Case(name, length, an.neighborhood(space, kernel), lambda ids: _flex_neighborhood(sizes, kernel))


def _flex_neighborhood(sizes: dict[str, int], kernel: tuple[int, ...]) -> MaskFunction:
    """Windows that shift inward at the edges."""

    def inside(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        found, step = q >= 0, 1
        for n, w in zip(reversed(sizes.values()), reversed(kernel), strict=True):
            i, j = q // step % n, k // step % n
            first = (i - w // 2).clamp(0, n - w)
            found = found & (first <= j) & (j < first + w)
            step *= n
        return found

    return inside
