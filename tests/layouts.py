"""Patterns that want a layout of their own, by name and at random, and what every arrangement of one is held to.

findings(arrange(mask.predicate, mask.spaces, (16, 8), False).taken.launches, case)   # set() when it is right
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from hypothesis import strategies as st
from torch import Tensor

import attnir as an
from attnir.call import Call
from attnir.evaluate import dense_mask
from attnir.program import Launches
from attnir.space import Space
from attnir.testing import walks
from attnir.testing.arranged import KV_LEN, arranged

H, W = an.param("H", low=1, high=64), an.param("W", low=1, high=64)


@dataclass(frozen=True)
class Laid:
    """A pattern and a small call for it."""

    pattern: an.Mask
    q_len: int
    k_len: int | None = None
    batch: int = 1
    heads: int = 1
    q_start: int | None = None
    bindings: dict[str, object] = field(default_factory=dict)

    @property
    def call(self) -> Call:
        p = self.pattern
        return p.signature.bind(
            self.bindings,
            batch=self.batch,
            heads=self.heads,
            q_len=self.q_len,
            k_len=self.k_len,
            q_start=self.q_start,
        )

    @property
    def live(self) -> Tensor:
        """The dense mask, bool [B, H, q_len, k_len]."""
        call = self.call
        return dense_mask(self.pattern.predicate, call).expand(call.batch, call.heads, call.q_len, call.k_len)


def disc(radius: int, grid: Space) -> an.Mask:
    """Keys of an image less than a radius away."""
    return an.mask(lambda q, k: (q.y - k.y) ** 2 + (q.x - k.x) ** 2 < radius**2, grid=grid)


def every(n: int) -> an.Mask:
    return an.mask(lambda q, k: (q - k) % n == 0)


IMAGE, VIDEO = an.grid(y=7, x=9), an.grid(t=3, y=4, x=5)
PAGE = an.concat(text=5, image=an.grid(y=5, x=7))
POOLED = an.grid(y=9, x=6), an.grid(v=3, u=2)

LAID = {
    "dilated": Laid(an.window(20, 0) & every(4), 37),
    "dilated, both ways, longer keys": Laid(an.window(17) & every(3), 23, 41),
    "strided": Laid(an.causal() & every(8), 45),
    "strided, more queries": Laid(an.causal() & every(5), 41, 23),
    "strided, from a start": Laid(an.causal() & every(5), 11, 40, q_start=7),
    "window or every 8th": Laid(an.causal() & (an.window(9, 0) | an.mask(lambda q, k: k % 8 == 0)), 50),
    "window or every 4th back": Laid(an.causal() & (an.window(3, 0) | every(4)), 50),
    "line": Laid(an.neighborhood(an.grid(x=29), 5), 29),
    "image": Laid(an.neighborhood(IMAGE, (3, 5)), 63),
    "video": Laid(an.neighborhood(VIDEO, (2, 3, 4)), 60),
    "strided windows": Laid(an.neighborhood(IMAGE, (3, 4), stride=(2, 3)), 63),
    "dilated by axis": Laid(an.neighborhood(IMAGE, (3, 2), dilation=(2, 4)), 63),
    "dilated and strided": Laid(an.neighborhood(IMAGE, (3, 4), stride=(2, 3), dilation=(1, 2)), 63),
    "causal in y": Laid(an.neighborhood(IMAGE, (3, 5), causal=("y",)), 63),
    "causal in all, dilated": Laid(an.neighborhood(VIDEO, (2, 2, 2), dilation=(1, 2, 2), causal=True), 60),
    "run-time image": Laid(an.neighborhood(an.grid(y=H, x=W), (3, 5)), 63, bindings={"H": 7, "W": 9}),
    "run-time kernel": Laid(an.neighborhood(IMAGE, an.param("w", low=1, high=7)), 63, bindings={"w": 4}),
    "disc": Laid(disc(3, IMAGE), 63),
    "disc after text": Laid(disc(3, PAGE) | an.mask(lambda q, k: q.in_("text") | k.in_("text"), grid=PAGE), 40),
    "text sees text": Laid(
        an.neighborhood(PAGE, 3) | an.mask(lambda q, k: k.in_("text") & (k <= q), grid=PAGE), 40, batch=2
    ),
    "frame or pixel": Laid(
        an.mask(lambda q, k: (q.t == k.t) | (q.y == k.y) & (q.x == k.x), grid=VIDEO),
        60,
    ),
    "pooled keys": Laid(
        an.mask(lambda q, k: (abs(q.y // 3 - k.v) <= 1) & (abs(q.x // 3 - k.u) <= 0), grid=POOLED), 54, 6
    ),
    "keys of an image alone": Laid(an.mask(lambda q, k: k.y * 3 <= q, grid=(None, IMAGE)), 20, 63),
    "per head": Laid(
        an.per_head([(slice(0, 2), an.window(20, 0) & every(4)), (2, an.causal()), (3, an.causal() & every(3))]),
        33,
        heads=4,
    ),
    "per head on an image": Laid(
        an.per_head([(0, an.neighborhood(IMAGE, 3)), (slice(1, 3), disc(3, IMAGE))]), 63, heads=3
    ),
    "kv_len": Laid(
        an.neighborhood(IMAGE, 5) & an.mask(lambda q, k, b: k < KV_LEN[b]),
        63,
        batch=3,
        bindings={"kv_len": torch.tensor([63, 31, 0])},
    ),
    "kv_len, dilated": Laid(
        an.window(20, 0) & every(4) & an.mask(lambda q, k, b: k < KV_LEN[b]),
        40,
        batch=2,
        bindings={"kv_len": torch.tensor([40, 18])},
    ),
    "row or column": Laid(an.mask(lambda q, k: (q.y == k.y) | (q.x == k.x), grid=IMAGE), 63),
    "blocks in a row or a column": Laid(
        an.mask(lambda q, k: (q.y // 4 == k.y // 4) | (q.x // 4 == k.x // 4), grid=an.grid(y=8, x=8)), 64
    ),
    "either axis": Laid(an.mask(lambda q, k: (q.y - k.y <= 3) | (q.x - k.x <= 3), grid=IMAGE), 63),
    "even keys or earlier ones": Laid(an.mask(lambda q, k: (k % 2 == 0) | (k <= q)), 31),
    "classes of a line after text": Laid(
        an.mask(lambda q, k: ((q.x - k.x) % 6 == 0) & (k.x <= q.x), grid=an.concat(text=5, image=an.grid(x=21))), 26
    ),
    "dead rows": Laid(an.mask(lambda q, k: (q.y - k.y >= 2) & (abs(q.x - k.x) < 2), grid=IMAGE), 63),
}


def findings(launches: Launches, case: Laid) -> set[str]:
    """What is wrong with the launches of a pattern; see `attnir.testing.walks`."""
    return walks.findings(launches, case.live, case.call)


@st.composite
def laid(draw: st.DrawFn) -> Laid:
    """A random pattern over a space, and a call for it."""
    pattern = draw(arranged())
    length, batch = pattern.lengths[0].const, 2
    q_len, q_start = length, None
    if draw(st.booleans()):
        q_len = draw(st.integers(1, length))
        q_start = draw(st.integers(0, length - q_len))
    kv_len = torch.tensor(draw(st.lists(st.integers(0, length), min_size=batch, max_size=batch)))
    bindings: dict[str, object] = {"kv_len": kv_len} if pattern.tensors else {}
    return Laid(pattern, q_len, length, batch, 2, q_start, bindings)


tiles = st.tuples(*(st.sampled_from([1, 2, 4, 8, 16]),) * 2)
