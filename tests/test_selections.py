"""Selections: lists that a call gives, as a part of the language, on every target."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import attnir as an
from attnir import blocks
from attnir.blocks import BlockList, list_blocks
from attnir.codegen.cache import CACHE
from attnir.cover import cover
from attnir.errors import AttnirError, DeclarationError, FieldError, MissingBindingError, SelectionError, TextError
from attnir.evaluate import dense_mask
from attnir.expr import K, Q, rank
from attnir.listing import listing_of
from attnir.ops import SelectionDecl, Side
from attnir.selections import rank as place_of
from attnir.testing import Case, check
from attnir.testing.case import takes
from attnir.testing.meaning import meaning
from attnir.testing.values import Drawn, Values

PICKS, OWN = an.selection("picks"), an.selection("own", "b", "h")


def drawn(*shape: int, most: int, seed: int = 0) -> Values:
    return Values(Drawn(shape, -1, most, seed))


CASES: dict[str, tuple[an.Mask, dict[str, Any]]] = {
    "blocks of 32, causal": (
        an.causal() & an.mask(lambda q, k: PICKS(q // 32, k // 32) > 0),
        {"picks": drawn(7, 4, most=6)},
    ),
    "lists of samples and heads": (
        an.mask(lambda q, k: OWN(q // 64, k // 32) > 0),
        {"own": drawn(2, 2, 4, 3, most=6)},
    ),
    "lists of queries": (an.causal() & an.mask(lambda q, k: OWN(q, k // 32) > 0), {"own": drawn(2, 2, 200, 2, most=6)}),
    "lists of keys": (an.mask(lambda q, k: PICKS(k // 16, q // 32) > 0), {"picks": drawn(13, 3, most=6)}),
    "a union": (an.window(9, 0) | an.mask(lambda q, k: PICKS(q // 32, k // 16) > 0), {"picks": drawn(7, 2, most=12)}),
    "all but": (an.causal() & ~an.mask(lambda q, k: PICKS(q // 32, k // 32) > 0), {"picks": drawn(7, 4, most=6)}),
    "the first places": (
        an.mask(lambda q, k: (PICKS(q // 32, k // 32) > 0) & (PICKS(q // 32, k // 32) <= 2)),
        {"picks": drawn(7, 6, most=6)},
    ),
    "tokens": (an.mask(lambda q, k: OWN(q, k) > 0), {"own": drawn(2, 2, 200, 8, most=199)}),
    "members from the 21st key on": (
        an.mask(lambda q, k: PICKS(q // 32, (k - 20) // 32) > 0),
        {"picks": drawn(7, 4, most=5)},
    ),
    "lists from the 21st query on, and not for the last": (
        an.mask(lambda q, k: PICKS((q - 20) // 32, k // 32) > 0),
        {"picks": drawn(4, 3, most=6)},
    ),
    "lists by head": (
        an.mask(lambda q, k, h: PICKS(2 * (q // 64) + h, k // 32) > 0),
        {"picks": drawn(9, 3, most=6)},
    ),
}


@pytest.mark.parametrize("target", ["torch", "triton"])
@pytest.mark.parametrize("name", CASES)
def test_kernels_compute_what_is_declared(name: str, target: str) -> None:
    pattern, bindings = CASES[name]
    case = Case(pattern, q_len=200, batch=2, heads=2, kv_heads=1, d=16, bindings=bindings, tile=(64, 32))
    for property in ("text", "walks", "numbers", "keys"):
        check(case, target, property)


@pytest.mark.parametrize("target", ["torch", "triton"])
def test_a_score_reads_places(target: str) -> None:
    """Keys that were chosen first weigh more."""
    score = an.score(lambda s, q, k: s - PICKS(q // 32, k // 32) / 4)
    pattern = an.pattern(an.mask(lambda q, k: PICKS(q // 32, k // 32) > 0), score=score)
    case = Case(pattern, q_len=128, heads=2, d=16, bindings={"picks": drawn(4, 3, most=3)}, tile=(32, 32))
    check(case, target, "numbers")


@given(st.data())
@settings(max_examples=60)
def test_the_place_is_that_of_plain_lists(data: st.DataObject) -> None:
    decl = SelectionDecl("picks", data.draw(st.sampled_from([(), ("b",), ("h",), ("b", "h")])))
    sizes = {"b": 2, "h": 3}
    lists = torch.randint(
        -2,
        6,
        (*(sizes[a] for a in decl.axes), 4, 3),
        generator=torch.Generator().manual_seed(data.draw(st.integers(0, 99))),
    )
    e = rank(decl, Q - data.draw(st.integers(0, 2)), K * 2 - 1)
    signature = an.Mask(e > 0).signature
    call = signature.bind({"picks": lists}, batch=2, heads=3, q_len=6, k_len=5, q_start=0)
    found = dense_mask(e > 0, call).expand(2, 3, 6, 5)
    for b in range(2):
        for h in range(3):
            for q in range(6):
                for k in range(5):
                    place = meaning(e, {"b": b, "h": h, "q": q, "k": k}, call)
                    assert (place > 0) == bool(found[b, h, q, k])


def test_the_first_place_counts_and_nothing_below_zero_is_a_member() -> None:
    lists = torch.tensor([[3, 1, 3, -1]], dtype=torch.int32)[None, None]
    zero, members = torch.zeros(1, dtype=torch.int64), torch.tensor([3, 1, -1, 7])
    assert place_of(lists, zero, zero, zero, members).tolist() == [1, 2, 0, 0]
    assert place_of(lists, zero, zero, zero + 1, members).tolist() == [0, 0, 0, 0]


@st.composite
def listed(draw: st.DrawFn) -> tuple[an.Mask, tuple[int, int], Any]:
    """A mask with a listing, a tile, and a call."""
    unit_q, unit_k = draw(st.sampled_from([1, 2, 3, 4, 6, 8])), draw(st.sampled_from([1, 2, 3, 4, 6, 8]))
    turned, more = (
        draw(st.booleans()),
        draw(st.sampled_from([None, an.causal(), an.window(5), an.mask(lambda q, k: (q + k) % 3 > 0)])),
    )
    decl = SelectionDecl("picks", draw(st.sampled_from([(), ("b",), ("h",), ("b", "h")])))
    args = (K // unit_q, Q // unit_k) if turned else (Q // unit_q, K // unit_k)
    pattern = an.Mask(rank(decl, *args) > 0)
    pattern = pattern if more is None else pattern & more
    sizes = {"b": 2, "h": 2}
    g = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    shape = (*(sizes[a] for a in decl.axes), draw(st.integers(1, 9)), draw(st.integers(1, 4)))
    lists = torch.randint(-1, draw(st.integers(1, 9)), shape, generator=g)
    call = pattern.signature.bind(
        {"picks": lists},
        batch=2,
        heads=2,
        q_len=draw(st.integers(1, 20)),
        k_len=draw(st.integers(1, 20)),
        q_start=draw(st.sampled_from([None, 0, 3])),
    )
    return pattern, (draw(st.integers(1, 8)), draw(st.integers(1, 8))), call


def pairs_of(found: BlockList, part: tuple[Tensor, Tensor]) -> list[tuple[int, int]]:
    offsets, indices = (t.tolist() for t in part)
    rows = range(len(offsets) - 1)
    return [(r, c) for r in rows for c in indices[offsets[r] : offsets[r + 1]]]


@given(listed(), st.booleans())
@settings(max_examples=150)
def test_listed_tiles_are_those_of_a_search_through_all(
    given: tuple[an.Mask, tuple[int, int], Any], transposed: bool
) -> None:
    pattern, tile, call = given
    assert listing_of(pattern.predicate) is not None
    program = cover(pattern.predicate, tile, transposed=transposed)
    found = list_blocks(program, call)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "listing_of", lambda predicate: None)
        expected = list_blocks(program, call)
    assert found.shape == expected.shape
    full, partial = pairs_of(found, found.full), pairs_of(found, found.partial)
    assert len(set(full + partial)) == len(full + partial)
    assert full == sorted(full) and partial == sorted(partial)
    assert set(full) <= set(pairs_of(expected, expected.full))
    live = set(pairs_of(expected, expected.full) + pairs_of(expected, expected.partial))
    assert live <= set(full + partial)
    listing = listing_of(pattern.predicate)
    assert listing is not None
    fits = all(
        listing.unit(side) % size == 0 for side, size in zip(Side, tile[::-1] if transposed else tile, strict=True)
    )
    if fits and call.q_start % tile[transposed] == 0 and "%" not in str(pattern):
        assert live == set(full + partial)


@pytest.mark.parametrize("transposed", [False, True])
def test_what_is_not_proved_is_partial(transposed: bool) -> None:
    """No listed tile is evaluated, as that would wait for a device; each live one is visited once."""
    pattern, tile = an.mask(lambda q, k: (PICKS(q // 4, k // 4) > 0) & ((q + k) % 3 > 0)), (4, 4)
    lists = torch.tensor([[0, 1, 1], [2, -1, 0], [1, 2, 3]])
    call = pattern.signature.bind({"picks": lists}, batch=1, heads=1, q_len=12, k_len=16, q_start=0)
    found = list_blocks(cover(pattern.predicate, tile, transposed=transposed), call)
    chosen = {(0, 0), (0, 1), (1, 2), (1, 0), (2, 1), (2, 2), (2, 3)}
    visited = pairs_of(found, found.partial)
    assert sorted(visited) == sorted((c, r) if transposed else (r, c) for r, c in chosen)
    assert not pairs_of(found, found.full)


def test_only_what_is_listed_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time and memory are linear: 64 times as many tokens look at 64 times as many tiles."""
    pattern = an.causal() & an.mask(lambda q, k: PICKS(q // 64, k // 64) > 0)
    looked_at: list[int] = []
    classify = blocks._Lister.classify

    def spy(self: blocks._Lister, tiles: blocks._Tiles) -> Tensor:
        looked_at.append(tiles.shape.numel())
        return classify(self, tiles)

    monkeypatch.setattr(blocks._Lister, "classify", spy)
    for length in (1024, 65536):
        lists = torch.randint(0, length // 64, (length // 64, 4), generator=torch.Generator().manual_seed(0))
        call = pattern.signature.bind({"picks": lists}, batch=1, heads=1, q_len=length)
        list_blocks(cover(pattern.predicate, (64, 64)), call)
    assert looked_at == [16 * 4, 1024 * 4]


def test_tiles_visited_are_those_selected() -> None:
    picks = torch.stack([torch.randperm(32, generator=torch.Generator().manual_seed(i))[:8] for i in range(32)])
    attn = an.compile(an.mask(lambda q, k: PICKS(q // 64, k // 64) > 0))
    found = attn.explain(2048, tile=(64, 64), picks=picks)
    assert (found.tiles.full, found.tiles.partial) == (32 * 8, 0)
    assert found.over_compute == 1.0
    assert "because block lists: those of `picks`, which has all live pairs" in str(found)


def test_other_lists_and_more_places_generate_nothing() -> None:
    attn = an.compile(an.causal() & an.mask(lambda q, k: PICKS(q // 32, k // 32) > 0), backend="triton")
    q = k = v = torch.randn(1, 1, 64, 16)
    attn(q, k, v, picks=torch.tensor([[0], [1]]))
    before = CACHE.info()
    attn(q, k, v, picks=torch.tensor([[1, 0, -1], [1, 0, 1], [2, 2, 2]]))
    assert CACHE.info().generated == before.generated


def test_an_empty_selection_selects_nothing() -> None:
    attn = an.compile(an.mask(lambda q, k: PICKS(q // 32, k // 32) > 0))
    q = k = v = torch.randn(1, 1, 64, 16, requires_grad=True)
    for shape in ((0, 3), (2, 0), (0, 0)):
        o, lse = attn(q, k, v, picks=torch.zeros(shape, dtype=torch.int64), return_lse=True)
        assert not o.any() and bool((lse == -torch.inf).all())


def test_its_text_reads_back() -> None:
    pattern = an.causal() & an.mask(lambda q, k: OWN(q // 64, k // 32) > 0)
    assert str(pattern) == "own = selection(b, h); (k <= q) & (own(q // 64, k // 32) > 0)"
    assert an.parse(str(pattern)) == pattern
    assert an.transpose(pattern) == an.mask(lambda q, k: (q <= k) & (OWN(k // 64, q // 32) > 0))


def test_what_lists_a_predicate() -> None:
    a, b = rank(SelectionDecl("a"), Q // 8, K // 8), rank(SelectionDecl("b"), K // 4, Q // 4)
    found = listing_of((a > 0) & (K <= Q))
    assert found is not None and (found.selection.name, found.side) == ("a", Side.QUERIES)
    found = listing_of((K <= Q) & (b > 2))
    assert found is not None and found.side is Side.KEYS
    assert listing_of((a > 0) | (b > 0)) is None
    assert listing_of(~(a > 0)) is None
    assert listing_of(rank(SelectionDecl("a"), Q % 8, K) > 0) is None
    assert listing_of((a > 0) & (b > 0)) is not None


BAD: list[tuple[type[AttnirError], str, dict[str, Any]]] = [
    (MissingBindingError, "`own`", {}),
    (SelectionError, "2 samples, 2 query heads, lists, places", {"own": torch.zeros(3, 4, dtype=torch.int64)}),
    (SelectionError, "2 samples", {"own": torch.zeros(1, 2, 3, 4, dtype=torch.int64)}),
    (FieldError, "tensor of integers", {"own": torch.zeros(2, 2, 3, 4)}),
    (FieldError, "tensor of integers", {"own": [[0]]}),
]


@pytest.mark.parametrize(("error", "said", "bindings"), BAD)
def test_bad_lists(error: type[AttnirError], said: str, bindings: dict[str, Any]) -> None:
    attn = an.compile(an.mask(lambda q, k: OWN(q // 4, k // 4) > 0))
    q = k = v = torch.randn(2, 2, 8, 16)
    with pytest.raises(error, match=said):
        attn(q, k, v, **bindings)


def test_bad_declarations() -> None:
    with pytest.raises(DeclarationError, match="lists for all"):
        an.selection("picks", "q")
    with pytest.raises(DeclarationError, match="place of a member"):
        an.mask(lambda q, k: PICKS > 0)  # type: ignore[operator]  # a wrong type is tried
    with pytest.raises(DeclarationError, match="a condition over tokens"):
        an.mask(lambda q, k: PICKS(q, k))
    for text, said in (
        ("picks = selection(q); picks(q, k) > 0", "lists for all"),
        ("picks = selection(); picks(q) > 0", "a list and a member"),
        ("picks = selection(); picks > 0", "unknown name"),
    ):
        with pytest.raises(TextError, match=said):
            an.parse(text)


def test_members_wider_than_32_bits_are_no_small_ones() -> None:
    attn = an.compile(an.mask(lambda q, k: PICKS(q // 32, k // 32) > 0))
    q = k = v = torch.randn(1, 1, 64, 16)
    _, lse = attn(q, k, v, picks=torch.tensor([[2**32], [-(2**32) + 1]]), return_lse=True)
    assert bool((lse == -torch.inf).all())


def test_the_cases_are_taken() -> None:
    assert all(takes(Case(p, q_len=200, batch=2, bindings=b)) for p, b in CASES.values())
