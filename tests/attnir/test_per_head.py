"""Masks by head, and integers by head and sample: what they mean, how they print, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import attnir as an
from attnir.errors import (
    AttnirError,
    DeclarationError,
    DeviceError,
    FieldError,
    HeadsError,
    IntegerExpectedError,
    MissingBindingError,
    UnknownBindingError,
)
from attnir.facts import Tensor
from attnir.testing.meaning import matrix, picture
from tests.layouts import Laid
from tests.test_bad_input import wrong

ORDERED, OPEN, NEAR = an.causal(), an.full(), an.window(1, 0)
MASKS = [ORDERED, OPEN, NEAR, an.window(2), ~ORDERED]


def test_every_head_has_its_own_matrix() -> None:
    live = Laid(an.per_head([(0, ORDERED), (slice(1, 3), NEAR), (3, OPEN)]), 3, heads=4).live[0]
    assert [picture(head) for head in live] == [
        ["1..", "11.", "111"],
        ["1..", "11.", ".11"],
        ["1..", "11.", ".11"],
        ["111", "111", "111"],
    ]


@st.composite
def assigned(draw: st.DrawFn) -> tuple[list[tuple[slice, an.Mask]], list[an.Mask]]:
    """Slices with their masks, and the mask that each head should have."""
    heads = draw(st.integers(1, 8))
    step = draw(st.integers(1, 3))
    cuts = sorted(draw(st.sets(st.integers(1, heads), max_size=3)) - {heads}) if step == 1 else []
    if step > 1:
        slices = [slice(r, heads, step) for r in range(min(step, heads))]
    else:
        slices = [slice(a, b) for a, b in zip([0, *cuts], [*cuts, heads], strict=True)]
    given_masks = [(s, draw(st.sampled_from(MASKS))) for s in draw(st.permutations(slices))]
    return given_masks, [next(m for s, m in given_masks if h in range(heads)[s]) for h in range(heads)]


@given(assigned())
@settings(max_examples=40)
def test_each_head_gets_the_mask_of_its_slice(case: tuple[list[tuple[slice, an.Mask]], list[an.Mask]]) -> None:
    given_masks, expected = case
    pattern = an.per_head(given_masks)
    live = Laid(pattern, 5, heads=len(expected)).live[0]
    for head, mask in zip(live, expected, strict=True):
        assert torch.equal(head, Laid(mask, 5).live[0, 0])
    assert pattern.heads == len(expected)
    assert an.parse(str(pattern)) == pattern


def test_an_open_slice_takes_any_number_of_heads() -> None:
    pattern = an.per_head([(slice(0, 2), NEAR), (slice(2, None), ORDERED)])
    assert pattern.heads is None
    for heads in (1, 2, 3, 5):
        live = Laid(pattern, 4, heads=heads).live[0]
        assert [picture(x) for x in live] == [
            picture(Laid(NEAR if h < 2 else ORDERED, 4).live[0, 0]) for h in range(heads)
        ]
    turns = an.per_head([(slice(0, None, 2), OPEN), (slice(1, None, 2), ORDERED)])
    assert [int(x.sum()) for x in Laid(turns, 2, heads=4).live[0]] == [4, 3, 4, 3]


def test_masks_of_heads_in_an_open_slice_fix_the_number() -> None:
    inner = an.per_head([(0, ORDERED), (1, NEAR), (2, OPEN)])
    assert an.per_head([(0, OPEN), (slice(1, None), inner)]).heads == 3


def test_ranges_and_dictionaries_are_taken() -> None:
    pairs = an.per_head([(0, OPEN), (slice(1, 3), ORDERED)])
    assert an.per_head({0: OPEN, range(1, 3): ORDERED}) == pairs
    assert str(pairs) == "h = heads(3); (h == 0) | (h >= 1) & (k <= q)"


def test_masks_on_one_grid_keep_it() -> None:
    grid = an.grid(y=3, x=3)
    pattern = an.per_head([(0, an.neighborhood(grid, 3)), (1, an.causal())])
    assert pattern.spaces == (grid, grid)
    assert an.parse(str(pattern)) == pattern


def test_hundreds_of_masks_are_taken() -> None:
    pattern = an.per_head([(h, an.window(h, 0)) for h in range(250)])
    assert an.parse(str(pattern)) == pattern
    live = Laid(pattern, 6, heads=250).live[0]
    assert all(torch.equal(live[h], Laid(an.window(h, 0), 6).live[0, 0]) for h in range(250))


SLICED = [(slice(0, 2), ORDERED), (slice(1, 3), OPEN)]
ODD = an.grid(y=2)
BAD: dict[str, tuple[str, Callable[[], object]]] = {
    "overlapping": ("head 1 has 2 masks", lambda: an.per_head(SLICED)),
    "a gap": ("head 2 has no mask", lambda: an.per_head([(slice(0, 2), ORDERED), (slice(3, None), OPEN)])),
    "not from 0": ("head 0 has no mask", lambda: an.per_head([(slice(1, None), ORDERED)])),
    "every other": ("head 1 has no mask", lambda: an.per_head([(slice(0, None, 2), ORDERED)])),
    "steps that meet": (
        "head 4 has 2 masks",
        lambda: an.per_head(
            [(slice(0, None, 2), OPEN), (slice(1, None, 2), OPEN), (slice(4, None, 3), OPEN)],
        ),
    ),
    "an empty slice": ("not empty", lambda: an.per_head([(slice(2, 2), ORDERED)])),
    "from the end": ("from 0 on", lambda: an.per_head([(slice(-2, None), ORDERED)])),
    "backwards": ("a step from 1", lambda: an.per_head([(slice(0, 4, -1), ORDERED)])),
    "a step of 0": ("a step from 1", lambda: an.per_head([(slice(0, 4, 0), ORDERED)])),
    "too many": ("not slice(0, 1048577, None)", lambda: an.per_head([(slice(0, 2**20 + 1), ORDERED)])),
    "Boolean": ("not True", lambda: an.per_head([(True, ORDERED)])),
    "a name": ("not 'first'", lambda: an.per_head(wrong([("first", ORDERED)]))),
    "a float": ("not slice(0, 2.5, None)", lambda: an.per_head([(slice(0, 2.5), ORDERED)])),
    "none": ("heads are mapped to masks", lambda: an.per_head([])),
    "a mask": ("not <Mask k <= q>", lambda: an.per_head(wrong(ORDERED))),
    "a lambda": ("mapped to masks, not to <function", lambda: an.per_head(wrong([(0, lambda q, k: k <= q)]))),
    "two grids": (
        "arrange the queries differently",
        lambda: an.per_head([(0, an.neighborhood(ODD, 1)), (1, an.neighborhood(an.grid(y=3), 1))]),
    ),
    "masks for fewer heads among the masks": (
        "one mask is for 2 heads, the other for 4",
        lambda: an.per_head([(slice(0, 2), NEAR), (slice(2, 4), an.per_head([(0, ORDERED), (1, OPEN)]))]),
    ),
    "masks for other heads than the last": (
        "one mask is for 1 heads, the other for 2",
        lambda: an.per_head([(0, an.per_head([(0, OPEN)])), (slice(1, None), an.per_head([(0, OPEN), (1, NEAR)]))]),
    ),
    "more masks than a predicate holds": (
        "400 masks are too many: the predicate has 5599 operations, 35 inside one another; at most 4096 and 128 are "
        'taken; give numbers that differ from head to head: w = an.tensor("w", "h"), w[h]',
        lambda: an.per_head([(h, an.window(h + 1, 0)) for h in range(400)]),
    ),
    "two numbers of heads": (
        "one mask is for 1 heads, the other for 2",
        lambda: an.per_head([(0, ORDERED)]) & an.per_head([(0, ORDERED), (1, OPEN)]),
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused_and_why(name: str) -> None:
    words, declare = BAD[name]
    with pytest.raises(DeclarationError) as caught:
        declare()
    assert type(caught.value) is DeclarationError
    assert words in str(caught.value)


def test_a_call_with_another_number_of_heads_is_refused() -> None:
    q = torch.zeros(1, 4, 3, 16)
    with pytest.raises(HeadsError, match="masks for 2 query heads, but there are 4"):
        an.compile(an.per_head([(0, ORDERED), (1, OPEN)]))(q, q, q)


LENGTH, SINK, SHIFT = an.tensor("kv_len", "b"), an.tensor("sink", "h"), an.tensor("shift", "b", "h")
BOTH = an.mask(lambda q, k, b, h: (k < LENGTH[b]) & (k >= SINK[h]) & (k <= q + SHIFT[b, h]))
GIVEN: dict[str, object] = {
    "kv_len": torch.tensor([4, 2]),
    "sink": torch.tensor([0, 1, 2]),
    "shift": torch.tensor([[0, 1, -1], [2, 0, 0]]),
}


def test_tensors_are_read_at_their_sample_and_head() -> None:
    case = Laid(BOTH, 4, batch=2, heads=3, bindings=GIVEN)
    assert picture(case.live[0, 1]) == [".1..", ".11.", ".111", ".111"]
    assert picture(case.live[1, 0]) == ["11.."] * 4
    assert torch.equal(case.live, matrix(BOTH.predicate, case.call))


def test_patterns_of_tensors_read_back() -> None:
    assert an.parse(str(BOTH)) == BOTH
    assert str(an.mask(lambda k, b: k < LENGTH[b])) == "kv_len = tensor(b); k < kv_len[b]"
    assert [t.name for t in BOTH.tensors] == ["kv_len", "shift", "sink"]


def declared(tensor: Tensor, index: Callable[..., object]) -> Callable[[], object]:
    return lambda: an.mask(lambda q, k, b, h: k < tensor[index(q, k, b, h)])


TENSORS: dict[str, tuple[type[AttnirError], list[str], Callable[[], object]]] = {
    "no axes": (
        DeclarationError,
        ["'b', each head, 'h', or both", "()"],
        lambda: an.mask(lambda k: k < an.tensor("n")[()]),
    ),
    "another axis": (DeclarationError, ["('q',)"], lambda: an.mask(lambda q, k: k < an.tensor("n", "q")[q])),
    "the other order": (DeclarationError, ["('h', 'b')"], lambda: an.tensor("n", "h", "b", dtype=int)),
    "another dtype": (DeclarationError, ["int or float"], lambda: an.tensor("n", "h", dtype=str)),
    "real in a mask": (
        IntegerExpectedError,
        ["`n[h]` is a real number"],
        lambda: an.mask(lambda k, h: k < an.tensor("n", "h", dtype=float)[h]),
    ),
    "too few indices": (
        DeclarationError,
        ["one integer per axis: `t[h, n]`"],
        lambda: an.score(lambda s, h: s + an.tensor("t", "h", "n")[h]),
    ),
    "a real index": (
        IntegerExpectedError,
        ["`s` is a real number"],
        lambda: an.score(lambda s: an.tensor("t", "n")[s]),
    ),
    "a token's axis twice": (DeclarationError, ["one axis `h`, not 2"], lambda: an.tensor("t", "h", "h")),
    "an axis with a strange name": (DeclarationError, ["cannot name an axis"], lambda: an.tensor("t", "a b")),
    "too many axes": (DeclarationError, ["at most 8 axes"], lambda: an.tensor("t", *"abcdefghi")),
    "a name that calls take": (DeclarationError, ["'scale'"], lambda: an.tensor("scale", "b")),
    "read at a head": (DeclarationError, ["`kv_len[b]`"], declared(LENGTH, lambda q, k, b, h: h)),
    "read at a token": (DeclarationError, ["`kv_len[b]`"], declared(LENGTH, lambda q, k, b, h: q)),
    "read at a number": (DeclarationError, ["`kv_len[b]`"], declared(LENGTH, lambda q, k, b, h: 0)),
    "read at one of two": (DeclarationError, ["`shift[b, h]`"], declared(SHIFT, lambda q, k, b, h: b)),
    "iterated": (DeclarationError, ["`kv_len[b]`"], lambda: list(LENGTH)),
    "called": (DeclarationError, ["`kv_len[b]`"], lambda: an.mask(lambda k, b: k < wrong(LENGTH)(b))),
    "compared": (DeclarationError, ["`kv_len[b]`"], lambda: an.mask(lambda q, k: (k <= q) & (LENGTH == 3))),
    "compared from the right": (DeclarationError, ["`shift[b, h]`"], lambda: an.mask(lambda q, k: k <= wrong(SHIFT))),
    "given as a number": (DeclarationError, ["`sink[h]`", "lambda q, k, h"], lambda: an.window(wrong(SINK))),
    "given as a size": (DeclarationError, ["`sink[h]`"], lambda: an.grid(x=wrong(SINK))),
    "missing": (MissingBindingError, ["`kv_len`", "kv_len=..."], lambda: bound(kv_len=None)),
    "unknown": (UnknownBindingError, ["`kvlen`"], lambda: bound(kvlen=torch.tensor([1, 2]))),
    "shape": (FieldError, ["`kv_len` over 2 samples", "[2], not [3]"], lambda: bound(kv_len=torch.ones(3).int())),
    "rank": (FieldError, ["[2], not [2, 1]"], lambda: bound(kv_len=torch.ones(2, 1).int())),
    "heads": (FieldError, ["`sink` over 3 query heads", "[3], not [1]"], lambda: bound(sink=torch.ones(1).int())),
    "both": (
        FieldError,
        ["2 samples and 3 query heads", "[2, 3], not [3, 2]"],
        lambda: bound(shift=torch.ones(3, 2).int()),
    ),
    "float": (FieldError, ["`kv_len`", "torch.float32"], lambda: bound(kv_len=torch.ones(2))),
    "list": (FieldError, ["`kv_len`", "list"], lambda: bound(kv_len=[1, 2])),
    "device": (DeviceError, ["`kv_len` is on meta", "q on cpu"], lambda: bound(kv_len=torch.ones(2).int().to("meta"))),
}


def bound(**changed: object) -> object:
    """Bind with some of the values changed; None: left out."""
    given_now = {name: value for name, value in (GIVEN | changed).items() if value is not None}
    return Laid(BOTH, 4, batch=2, heads=3, bindings=given_now).call


@pytest.mark.parametrize("name", TENSORS)
def test_bad_tensors_are_refused(name: str) -> None:
    kind, words, call = TENSORS[name]
    with pytest.raises(AttnirError) as caught:
        call()
    assert type(caught.value) is kind
    assert [w for w in words if w not in str(caught.value)] == []


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool])
def test_every_integer_dtype_is_taken(dtype: torch.dtype) -> None:
    case = Laid(an.mask(lambda k, b: k < LENGTH[b]), 2, batch=2, bindings={"kv_len": torch.tensor([1, 0]).to(dtype)})
    assert case.live[:, 0, 0].tolist() == [[True, False], [False, False]]
