"""Neighbourhoods: laws that hold on every grid, and what a declaration must keep to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import attnir as an
from attnir.errors import AttnirError, ConditionExpectedError, DeclarationError, IntegerExpectedError, ParamError
from attnir.value import Value
from tests.checks import refused
from tests.layouts import Laid
from tests.test_bad_input import wrong

IMAGE = an.grid(y=5, x=7)


@dataclass(frozen=True)
class Windows:
    """Sizes of a grid, and numbers for each of its axes."""

    sizes: dict[str, int]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    causal: tuple[str, ...]

    @property
    def pattern(self) -> an.Mask:
        return an.neighborhood(an.grid(**self.sizes), self.kernel, self.stride, self.dilation, self.causal)

    @property
    def lines(self) -> list[torch.Tensor]:
        """The matrix of each axis alone."""
        each = zip(self.sizes.items(), self.kernel, self.stride, self.dilation, strict=True)
        return [
            Laid(an.neighborhood(an.grid(x=n), w, s, d, causal=name in self.causal), n).live[0, 0]
            for (name, n), w, s, d in each
        ]

    @property
    def live(self) -> torch.Tensor:
        pattern = self.pattern
        return Laid(pattern, pattern.lengths[0].const).live[0, 0]


@st.composite
def windows(draw: st.DrawFn) -> Windows:
    sizes = {a: draw(st.integers(1, 7)) for a in "tyx"[: draw(st.integers(1, 3))]}
    kernel = tuple(draw(st.integers(1, n)) for n in sizes.values())
    dilation = tuple(draw(st.integers(1, n // w)) for n, w in zip(sizes.values(), kernel, strict=True))
    stride = tuple(draw(st.integers(1, w)) for w in kernel)
    return Windows(sizes, kernel, stride, dilation, tuple(a for a in sizes if draw(st.booleans())))


@given(windows())
def test_a_grid_is_the_product_of_its_axes(w: Windows) -> None:
    expected = torch.ones(1, 1, dtype=torch.bool)
    for line in w.lines:
        expected = torch.kron(expected.long(), line.long()).bool()
    assert torch.equal(w.live, expected)


@given(windows())
def test_every_query_sees_itself_on_causal_axes_and_its_kernel_on_others(w: Windows) -> None:
    for line, kernel, (name, n) in zip(w.lines, w.kernel, w.sizes.items(), strict=True):
        counts = line.sum(-1)
        assert bool(line.any(0).all()), "no key is lost"
        if name in w.causal:
            assert bool(line.diagonal().all()) and not bool(line.triu(1).any()) and int(counts.max()) <= kernel
        else:
            assert counts.tolist() == [kernel] * n


@given(windows())
def test_it_reads_back(w: Windows) -> None:
    assert an.parse(str(w.pattern)) == w.pattern


@given(windows(), st.integers(1, 4))
@settings(max_examples=25)
def test_in_a_page_only_the_image_has_neighbours(w: Windows, text: int) -> None:
    page = an.concat(text=text, image=an.grid(**w.sizes))
    pattern = an.neighborhood(page, w.kernel, w.stride, w.dilation, w.causal)
    live = Laid(pattern, page.length.const).live[0, 0]
    assert torch.equal(live[text:, text:], w.live)
    assert not bool(live[:text].any()) and not bool(live[:, :text].any())


@given(windows())
@settings(max_examples=25)
def test_sizes_and_numbers_at_run_time(w: Windows) -> None:
    """Every number as a parameter: the same matrix."""
    bindings: dict[str, object] = {}

    def given_later(name: str, value: int) -> Value:
        bindings[name] = value
        return an.param(name, low=1, high=2**10)

    grid = an.grid(**{a: given_later(f"n{a}", n) for a, n in w.sizes.items()})
    numbers = (
        tuple(given_later(f"{kind}{a}", n) for a, n in zip(w.sizes, values, strict=True))
        for kind, values in (("kernel", w.kernel), ("stride", w.stride), ("dilation", w.dilation))
    )
    pattern = an.neighborhood(grid, *numbers, causal=w.causal)
    assert torch.equal(Laid(pattern, len(w.live), bindings=bindings).live[0, 0], w.live)


N, M, H = an.param("n", low=1), an.param("m", low=1), an.param("H", low=1)
LINE, RUN_TIME = an.grid(x=7), an.grid(y=H, x=7)
HELD: dict[str, tuple[an.Mask, int, dict[str, Any], str]] = {
    "stride": (an.neighborhood(LINE, 3, stride=N), 7, {"n": 7}, "`n` = 7: the pattern asks that `n <= 3`, but 7"),
    "kernel": (an.neighborhood(LINE, N), 7, {"n": 8}, "`n` = 8: the pattern asks that `n <= 7`, but 8 is more than 7"),
    "both": (an.neighborhood(LINE, N, stride=M), 7, {"n": 2, "m": 3}, "`m` = 3, `n` = 2: .* `m <= n`, but 3 .* 2"),
    "dilated": (an.neighborhood(LINE, N, dilation=M), 7, {"n": 2, "m": 4}, "`n . m <= 7`, but 8 is more than 7"),
    "axis": (an.neighborhood(RUN_TIME, 3), 14, {"H": 2}, "`H` = 2: the pattern asks that `3 <= H`, but 3 is .* 2"),
    "causal": (an.neighborhood(LINE, N, causal=True), 7, {"n": 9}, "`n <= 7`"),
    "negated": (~an.neighborhood(LINE, N), 7, {"n": 8}, "`n <= 7`"),
    "joined": (an.causal() | an.neighborhood(LINE, N), 7, {"n": 8}, "`n <= 7`"),
    "of heads": (an.per_head([(0, an.causal()), (1, an.neighborhood(LINE, N))]), 7, {"n": 8}, "`n <= 7`"),
    "with more keys": (an.catalog.build("neighborhood", grid=LINE, kernel=N, extra=2), 7, {"n": 8}, "`n <= 7`"),
    "read": (wrong(an.parse(str(an.neighborhood(LINE, N)))), 7, {"n": 8}, "`n <= 7`"),
}


@pytest.mark.parametrize("name", HELD)
def test_a_call_is_held_to_what_a_declaration_is(name: str) -> None:
    pattern, length, given, words = HELD[name]
    k_len = length + 2 * (name == "with more keys")
    with pytest.raises(ParamError, match=words):
        an.compile(pattern).explain(length, k_len, heads=pattern.heads or 1, **given)
    scored = an.compile(pattern, score=an.score(lambda s: 2 * s))
    with pytest.raises(ParamError, match=words):
        q, k = (torch.zeros(1, pattern.heads or 1, n, 16) for n in (length, k_len))
        scored(q, k, k, **given)


def test_what_a_call_is_held_to_is_printed_and_reads_back() -> None:
    pattern = an.neighborhood(RUN_TIME, N, stride=(M, 2)) & an.window(an.param("w"))
    assert "; assert m <= n; assert n <= H; assert 2 <= n; assert n <= 7; (min" in str(pattern)
    assert an.parse(str(pattern)) == pattern
    assert pattern.signature.bind({"n": 2, "m": 2, "H": 2, "w": 0}, batch=1, heads=1, q_len=14, k_len=14).q_len == 14


def test_nothing_is_held_to_what_is_known() -> None:
    small = an.param("n", low=2, high=7)
    assert an.neighborhood(LINE, small, stride=2).conditions == ()
    assert an.neighborhood(an.grid(y=H), H).conditions == ()
    assert "assert" not in str(an.neighborhood(IMAGE, 3))


def test_one_number_is_for_all_axes() -> None:
    assert an.neighborhood(IMAGE, 4, 2, 1) == an.neighborhood(IMAGE, (4, 4), (2, 2), (1, 1))
    assert an.neighborhood(IMAGE, 3, causal=True) == an.neighborhood(IMAGE, 3, causal=("x", "y"))
    assert an.neighborhood(IMAGE, 3, causal="y") == an.neighborhood(IMAGE, 3, causal=["y"])
    assert an.neighborhood(IMAGE, 3, causal=False) == an.neighborhood(IMAGE, 3)


TWO = an.concat(a=an.grid(y=3), b=an.grid(x=3))
BAD: dict[str, tuple[type[AttnirError], str, Callable[[], object]]] = {
    "kernel larger than the grid": (
        DeclarationError,
        "spans 6 tokens, but there are 5",
        lambda: an.neighborhood(IMAGE, 6),
    ),
    "on one axis": (DeclarationError, "along x a kernel of 8", lambda: an.neighborhood(IMAGE, (3, 8))),
    "dilated": (
        DeclarationError,
        "along y a kernel of 3 at dilation 2 spans 6 tokens, but there are 5",
        lambda: an.neighborhood(IMAGE, 3, dilation=2),
    ),
    "parameters that can never fit": (
        DeclarationError,
        "along y the stride n is larger than the kernel 3",
        lambda: an.neighborhood(IMAGE, 3, stride=an.param("n", low=4)),
    ),
    "stride larger than kernel": (
        DeclarationError,
        "along x the stride 4 is larger than the kernel 3",
        lambda: an.neighborhood(IMAGE, 3, stride=(3, 4)),
    ),
    "kernel of 0": (DeclarationError, "kernel is an integer from 1", lambda: an.neighborhood(IMAGE, 0)),
    "kernel of -1": (DeclarationError, "not -1", lambda: an.neighborhood(IMAGE, (3, -1))),
    "stride of 0": (DeclarationError, "stride is an integer from 1", lambda: an.neighborhood(IMAGE, 3, stride=0)),
    "dilation of 0": (DeclarationError, "dilation is an integer from 1", lambda: an.neighborhood(IMAGE, 3, dilation=0)),
    "kernel that can be 0": (
        DeclarationError,
        "a parameter from 1, not w",
        lambda: an.neighborhood(IMAGE, an.param("w")),
    ),
    "too few": (DeclarationError, "kernel has 1 values for the 2 axes y, x", lambda: an.neighborhood(IMAGE, (3,))),
    "too many": (DeclarationError, "stride has 3 values", lambda: an.neighborhood(IMAGE, 3, stride=(1, 1, 1))),
    "float": (IntegerExpectedError, "not 2.5", lambda: an.neighborhood(IMAGE, wrong(2.5))),
    "Boolean": (ConditionExpectedError, "True", lambda: an.neighborhood(IMAGE, True)),
    "unknown axis": (
        DeclarationError,
        "the axes y, x, causal=(\"y\",); not 'z'",
        lambda: an.neighborhood(IMAGE, 3, causal="z"),
    ),
    "one unknown axis": (DeclarationError, "not 'z'", lambda: an.neighborhood(IMAGE, 3, causal=("y", "z"))),
    "a truth for each axis": (
        DeclarationError,
        'causal=("y",); not (True, False)',
        lambda: an.neighborhood(IMAGE, 3, causal=wrong((True, False))),
    ),
    "a number of axes": (DeclarationError, "not 1", lambda: an.neighborhood(IMAGE, 3, causal=wrong(1))),
    "no space": (DeclarationError, "not on 64", lambda: an.neighborhood(wrong(64), 3)),
    "no grid": (DeclarationError, "concat(text=3) has 0", lambda: an.neighborhood(an.concat(text=3), 3)),
    "two grids": (DeclarationError, "has 2", lambda: an.neighborhood(TWO, 3)),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused_and_why(name: str) -> None:
    refused(*BAD[name])
