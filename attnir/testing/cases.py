"""Random cases: sizes, dtypes, layouts and bindings for a pattern, as far as its arrangement and its promises allow.

Sizes are small, so that every pair can be looked at; the lengths at which tiles, words and rounding change come now and
then. A case costs at most MOST_PAIRS pairs, and in the Triton interpreter MOST_TILES tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from hypothesis import assume
from hypothesis import strategies as st

import attnir as an
from attnir.heads import Heads, spread
from attnir.ops import FieldDecl, ParamDecl, SelectionDecl, TensorDecl
from attnir.real import SCORE
from attnir.signature import value_of
from attnir.testing.case import LAYOUTS, Case, takes
from attnir.testing.drawing import often
from attnir.testing.executor import MOST_TILES
from attnir.testing.patterns import patterns
from attnir.testing.values import Drawn, Normal, Runs, Values

LENGTHS = (1, 2, 31, 127, 129, 257, 521, 700, 1025)
WIDTHS = (16, 64, 72, 80, 96, 128, 192, 1, 5, 24, 256)
WIDEST = (320, 576)  # now and then, of few pairs
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
DRAWN = ("normal", "peaked", "offset")  # kinds of inputs; what constant ones show, counting shows without a tolerance
HEADS = (*4 * [(1, 1)], (1, 2), (2, 1), *2 * [(2, 2)], (3, 1), (3, 2), (7, 1), (8, 1), (8, 2))  # a group's, of keys
SEVERAL_HEADS = HEADS[3:]  # more often several, where heads may differ
TILES = (16, 32, 64, 128)
MOST_PAIRS = 600_000
PAIRS_OF_WIDEST = 20_000
MANY_ROWS = 64  # of results: over fewer, the largest error of the yardstick says little where errors are large
ANY = 1 << 30  # a parameter that ranges over more was not bounded
LARGEST_SCORE = 1e3  # beyond, rounding of the score itself decides which key weighs how much

lengths = st.one_of(st.integers(1, 24), st.integers(9, 80), st.integers(100, 300), st.sampled_from(LENGTHS))


@st.composite
def cases(
    draw: st.DrawFn,
    pattern: an.Mask | an.Pattern | None = None,
    *,
    own_tiles: bool = False,
    maps: Heads | None = None,
) -> Case:
    """A call of a pattern, or of a random one. own_tiles: with the tiles that the compiler chooses; maps: with these.

    >>> from hypothesis import find
    >>> find(cases(an.causal()), lambda case: case.q_len > 3).q_len
    4
    """
    declared = draw(patterns()) if pattern is None else an.pattern(pattern)
    params = {p.name: draw(_param(p)) for p in declared.params}
    q_len, k_len, q_start = draw(_lengths(declared, params))
    by_head = any("h" in t.axes for t in (*declared.tensors, *declared.reals))
    groups = SEVERAL_HEADS if by_head or any("h" in s.axes for s in declared.selections) else HEADS
    heads, kv_heads, of_heads = draw(_heads(declared.heads if maps is None else len(maps.k), maps, groups))
    differs = bool(declared.fields or declared.selections)  # from sample to sample, perhaps
    batch = draw(st.sampled_from([1, 2, 2, 3] if differs else [1, 1, 2, 3]))
    sizes: dict[str, Any] = {"batch": batch, "heads": heads, "q_len": q_len, "k_len": k_len}
    assume(batch * heads * q_len * k_len <= MOST_PAIRS)
    given = {t.name: Values(draw(_per_copy(t, batch, heads, k_len))) for t in declared.tensors}
    long = {"b": batch, "h": heads, "q": q_len, "k": k_len}
    given |= {t.name: draw(_real(t, long)) for t in declared.reals}
    given |= {s.name: draw(_lists(s, long)) for s in declared.selections}
    numbers = {p.name: draw(st.integers(-16, 16)) / 4 for p in declared.numbers}
    for decl in declared.fields:
        given[decl.name] = draw(_field(decl, batch, q_len, k_len, q_start))
    rows = batch * min(kv_heads, of_heads.get("v_heads", kv_heads)) * min(q_len, k_len)
    widths = WIDEST if heads * q_len * k_len < PAIRS_OF_WIDEST and draw(st.integers(0, 19)) == 19 else WIDTHS
    d = draw(st.sampled_from(widths))
    measured = rows >= MANY_ROWS
    dtype = draw(st.sampled_from(DTYPES if measured else DTYPES[:1]))
    plain = declared.score is SCORE and declared.weights.is_softmax and dtype is torch.float32
    kind = draw(st.sampled_from(DRAWN)) if measured and plain and d >= 16 else "normal"
    case = Case(
        declared,
        **sizes,
        kv_heads=kv_heads,
        d=d,
        dv=draw(st.sampled_from([None, None, None, *widths])),
        dtype=dtype,
        kind=kind,
        layout=draw(st.sampled_from(LAYOUTS)),
        q_start=q_start,
        scale=draw(st.sampled_from([None, None, None, 0.7, -0.3])) if kind == "normal" else None,
        seed=draw(st.integers(0, 99)),
        bindings={**params, **numbers, **given},
        tile=None if own_tiles else draw(_tile(batch * heads, q_len, k_len, declared.weights.landmarks)),
        **of_heads,
    )
    assume(allowed(case))
    return case


def allowed(case: Case) -> bool:
    """Whether a call takes a case, and float32 holds what its score makes of scores."""
    plain = case.score is SCORE and case.weights.is_softmax
    return takes(case) and (plain or _largest(case) < LARGEST_SCORE)


def _largest(case: Case) -> float:
    """About the largest size of a score, or of a weight that is no softmax's."""
    q, k, *_ = (t.double() for t in case.tensors())
    s = q @ spread(k, case.heads_of.k).transpose(-1, -2) * case.factor
    return max(float(case.of_pairs(e, s).abs().max()) for e in {case.score, case.weights.of(case.score)})


def _param(p: ParamDecl) -> st.SearchStrategy[int]:
    near = st.integers(max(p.low, min(p.high, 0)), max(p.low, min(p.high, 24)))
    wide = st.integers(max(p.low, -12), min(p.high, max(p.low, 100)))
    ends = st.sampled_from([p.low, p.high])
    return often(near, ends, ends) if p.high - p.low > ANY else often(near, near, wide, ends)


@st.composite
def _lengths(draw: st.DrawFn, p: an.Pattern, params: dict[str, int]) -> tuple[int, int, int | None]:
    """(q_len, k_len, q_start): those of the spaces, where there are some."""
    queries, keys = (None if space is None else value_of(space.length, params) for space in p.spaces)
    k_len = draw(lengths) if keys is None else keys
    if queries is None:
        q_len = k_len if draw(st.integers(0, 2)) == 0 else draw(lengths)
        start = draw(often(st.none(), st.none(), st.integers(0, 70)))
        return q_len, k_len, start
    if draw(st.integers(0, 2)) and queries * k_len <= MOST_PAIRS:
        return queries, k_len, draw(st.sampled_from([None, 0]))
    q_len = draw(st.integers(1, min(queries, max(1, MOST_PAIRS // (4 * k_len)))))
    return q_len, k_len, draw(st.integers(0, queries - q_len))


@st.composite
def _heads(
    draw: st.DrawFn, fixed: int | None, maps: Heads | None, groups: Sequence[tuple[int, int]]
) -> tuple[int, int, dict[str, Any]]:
    """(query heads, key heads, value heads and maps where they are not contiguous groups of both)."""
    if maps is None and draw(st.integers(0, 5)) < 5:
        if fixed is not None:
            return fixed, fixed // draw(st.sampled_from([g for g in range(1, fixed + 1) if fixed % g == 0])), {}
        group, kv_heads = draw(st.sampled_from(groups))
        return group * kv_heads, kv_heads, {}
    if maps is None:
        heads = draw(st.sampled_from([1, 2, 3, 4])) if fixed is None else fixed
        named = st.lists(st.integers(0, 2), min_size=heads, max_size=heads).map(tuple)
        maps = Heads(draw(named), draw(named))
    more = st.sampled_from([1, 1, 2])  # one more than are named is not used
    kv_heads, v_heads = max(maps.k) + draw(more), max(maps.v) + draw(more)
    return len(maps.k), kv_heads, {"v_heads": v_heads, "maps": maps}


@st.composite
def _per_copy(draw: st.DrawFn, t: TensorDecl, batch: int, heads: int, k_len: int) -> Drawn:
    shape = tuple({"b": batch, "h": heads}[a] for a in t.axes)
    return Drawn(shape, 0, draw(st.integers(0, k_len)), draw(st.integers(0, 99)))


@st.composite
def _lists(draw: st.DrawFn, s: SelectionDecl, sizes: dict[str, int]) -> Values:
    """The lists of a selection: few members or many, some of them none, or twice in a list."""
    lists = draw(st.one_of(st.integers(1, 12), st.integers(1, sizes["q"])))
    shape = (*(sizes[a] for a in s.axes), lists, draw(often(st.integers(1, 6), st.integers(3, 6))))
    few = st.integers(0, 2)  # so that some stand twice in a list
    most = draw(often(few, few, few, st.integers(0, 8), st.integers(0, sizes["k"])))
    return Values(Drawn(shape, -1, most, draw(st.integers(0, 99))), draw(st.sampled_from([torch.int64, torch.int32])))


@st.composite
def _real(draw: st.DrawFn, t: TensorDecl, sizes: dict[str, int]) -> Values:
    """A real tensor; now and then one whose values hold for all tokens of an axis."""
    shape = tuple(
        draw(st.sampled_from([sizes[a], sizes[a], 1])) if a in sizes else draw(st.integers(1, 40)) for a in t.axes
    )
    return Values(Normal(shape, draw(st.integers(0, 99))), torch.float32)


@st.composite
def _field(draw: st.DrawFn, f: FieldDecl, batch: int, q_len: int, k_len: int, q_start: int | None) -> Any:
    """Values for the keys, or for queries and keys."""
    start = max(0, k_len - q_len) if q_start is None else q_start
    keys = draw(_tokens(f, batch, k_len, k_len))
    if start + q_len <= k_len and draw(st.booleans()):
        return keys
    return draw(_tokens(f, batch, q_len, k_len)), keys


@st.composite
def _tokens(draw: st.DrawFn, f: FieldDecl, batch: int, length: int, k_len: int) -> Values:
    """Values of a field: runs, or by chance, up to the number of keys; for all samples, or for each."""
    dtype = draw(st.sampled_from([torch.int64, torch.int64, torch.int32, torch.int16, torch.int8, torch.bool]))
    low = draw(st.integers(-3, 3))
    if draw(st.booleans()):
        run = draw(st.one_of(st.integers(1, 8), st.integers(1, 60)))
        modulus = 0 if f.sorted else draw(st.sampled_from([0, 2, 3, 5]))
        if length // run + 3 < 127:
            return Values(Runs(length, run, low, modulus), torch.int64 if dtype is torch.bool else dtype)
    shape = draw(st.sampled_from([(length,), (1, length), *4 * [(batch, length)]]))
    most = 60 if dtype in (torch.bool, torch.int8) else max(60, k_len)
    high = 1 if dtype is torch.bool else low + draw(st.one_of(st.integers(0, 4), st.integers(0, 60), st.just(most)))
    return Values(Drawn(shape, 0 if dtype is torch.bool else low, high, draw(st.integers(0, 99)), f.sorted), dtype)


def _tile(copies: int, q_len: int, k_len: int, keys: int | None) -> st.SearchStrategy[tuple[int, int] | None]:
    """Tiles of the Triton kernels, of so many keys where it is said: the compiler's choice, or not too many of them."""
    sizes = TILES if keys is None else (keys,)

    def within(most: int) -> list[tuple[int, int]]:
        return [(m, n) for m in TILES for n in sizes if copies * -(-q_len // m) * -(-k_len // n) <= most]

    many = within(4 * MOST_TILES) if q_len == k_len else []  # a window on a grid visits few of its tiles
    return st.sampled_from([*within(MOST_TILES)[:6], *many[:6], None])
