"""Random masks over tokens on grids and in regions: conditions that people write, and windows that keep their size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

import attnir as an
from attnir.testing.drawing import one_of_these

KV_LEN = an.tensor("kv_len", "b")

AXES = ("y", "x", "t")
LONGEST = {1: 23, 2: 8, 3: 5}  # of each axis, by their number: few tokens, so that all pairs can be looked at
SIZE = {name: an.param(f"size_{name}", low=1, high=64) for name in AXES}  # of grids whose sizes a call gives


@st.composite
def spaces(draw: st.DrawFn, most: int = 3, scale: int = 1, given: bool = False) -> an.Space:
    """A grid of one to `most` axes, alone or after a run of text; `given`: one size may be a parameter."""
    names = draw(st.permutations(AXES))[: draw(st.integers(1, most))]
    sizes: dict[str, Any] = {name: draw(st.integers(1, scale * LONGEST[len(names)])) for name in names}
    if given and draw(st.integers(0, 3)) == 0:
        name = draw(st.sampled_from(names))
        sizes[name] = SIZE[name]
    grid = an.grid(**sizes)
    return an.concat(text=draw(st.integers(1, 7)), image=grid) if draw(st.booleans()) else grid


@st.composite
def conditions(draw: st.DrawFn, space: an.Space) -> an.Mask:
    """One condition about two tokens of a space, or a window that keeps its size."""
    constant = all(a.size.is_const for r in space.regions for a in r.axes)
    if constant and draw(st.integers(0, 3)) == 0:
        return draw(_windows(space))
    axes = [a.name for r in space.regions if not r.plain for a in r.axes]
    one, other = draw(st.sampled_from(axes)), draw(st.sampled_from(axes))
    n, m, r = draw(st.integers(1, 6)), draw(st.integers(0, 4)), draw(st.integers(0, 3))
    return an.mask(draw(one_of_these(_shapes(space, one, other, n, m, r))), grid=space)


def _shapes(space: an.Space, one: str, other: str, n: int, m: int, r: int) -> list[Callable[..., Any]]:
    def at(token: Any, axis: str = one) -> Any:
        return getattr(token, axis)

    shapes: list[Callable[..., Any]] = [
        lambda q, k: abs(at(q) - at(k)) <= m,
        lambda q, k: (at(q) - at(k) <= m) & (at(k) - at(q) < n),
        lambda q, k: at(k) <= at(q),
        lambda q, k: (at(q) - at(k)) % n == 0,
        lambda q, k: at(k) % n == m % n,
        lambda q, k: at(q) // n == at(k) // n,
        lambda q, k: (at(q) - at(k)) ** 2 + (at(q, other) - at(k, other)) ** 2 <= n * n,
        lambda q, k: abs(at(q) - at(k)) + abs(at(q, other) - at(k, other)) <= m,
        lambda q, k: at(q, other) + at(k) < n + m,
        lambda q, k: k <= q,
        lambda q, k: q - k < 3 * n,
        lambda q, k: (q - k) % n == r % n,
        lambda q, k, h: at(k) <= at(q) + h,
        lambda q, k, h: h % 2 == 0,
        lambda q, k, b: k < KV_LEN[b],
    ]
    if len(space.regions) > 1:
        shapes += 2 * [lambda q, k: q.in_("text"), lambda q, k: k.in_("text"), lambda q, k: k.in_("image")]
    return shapes


@st.composite
def _windows(draw: st.DrawFn, space: an.Space) -> an.Mask:
    """A neighbourhood that fits the grid."""
    sizes = [a.size.const for r in space.regions if not r.plain for a in r.axes]
    names = [a.name for r in space.regions if not r.plain for a in r.axes]
    kernel = tuple(draw(st.integers(1, size)) for size in sizes)
    stride = tuple(draw(st.integers(1, w)) for w in kernel)
    dilation = tuple(draw(st.integers(1, size // w)) for size, w in zip(sizes, kernel, strict=True))
    return an.neighborhood(space, kernel, stride, dilation, [a for a in names if draw(st.booleans())])


@st.composite
def neighborhoods(draw: st.DrawFn) -> an.Mask:
    """A window that is smaller than its grid, alone or with one more condition: its tiles are boxes."""
    names = AXES[: draw(st.sampled_from([2, 2, 3]))]
    low, high = (9, 20) if len(names) == 2 else (4, 8)
    space = an.grid(**{name: draw(st.integers(low, high)) for name in names})
    sizes = [a.size.const for r in space.regions for a in r.axes]
    kernel = tuple(draw(st.integers(1, min(13, size))) for size in sizes)
    dilation = tuple(draw(st.integers(1, min(3, size // w))) for size, w in zip(sizes, kernel, strict=True))
    window = an.neighborhood(space, kernel, 1, dilation, [a for a in names if draw(st.integers(0, 3)) == 0])
    return window & draw(conditions(space)) if draw(st.integers(0, 2)) == 0 else window


@st.composite
def arranged(draw: st.DrawFn, scale: int = 1, given: bool = False) -> an.Mask:
    """A mask of one to four conditions over one space."""
    space = draw(spaces(scale=scale, given=given))
    pattern = draw(conditions(space))
    for _ in range(draw(st.integers(0, 3))):
        more = draw(conditions(space))
        pattern = draw(one_of_these([pattern & more, pattern & more, pattern | more, pattern & ~more]))
    return pattern
