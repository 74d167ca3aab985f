"""Routes: what they choose, beside a search that is written down plainly, and what is computed of it."""

from __future__ import annotations

import itertools
import math
import pickle
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._dynamo.testing import CompileCounter

import attnir as an
from attnir import routing
from attnir.choices import Forced, Mass, Threshold, TopK, largest
from attnir.errors import (
    AttnirError,
    HeadsError,
    MissingBindingError,
    RouteError,
    SelectionError,
    ShapeError,
    UnknownBindingError,
)
from attnir.routing import Route
from attnir.unit_scores import Pooled


def test_a_share_of_forced_scores_is_not_strict() -> None:
    """A forced unit may hold later keys, whose score says how many others are chosen."""
    route = an.route.blocks(
        an.route.portion(0.5), block=8, query_block=1, forced=[an.route.own()], counted=True, causal=True
    )
    assert route.causality == "value-only" and replace(route, forced=()).causality == "strict"


def test_what_a_score_reads_as_well_is_kept() -> None:
    bias = an.tensor("bias", "b", "h", "k")
    route = an.route.topk_keys(k=4, score=an.route.values("bias"), causal=True)
    added = an.score(lambda s, b, h, k: s + bias[b, h, k])
    q, given = torch.randn(1, 2, 64, 16), torch.randn(1, 2, 64)
    found = an.compile(an.causal(), score=added, route=route)(q, q, q, bias=given)
    lists = route.lists(q, q, bias=given)
    listed = an.reference(an.causal() & route.mask, score=added)(q, q, q, bias=given, picks=lists)
    torch.testing.assert_close(found.double(), listed, atol=1e-5, rtol=1e-5)


def test_lists_are_no_wider_than_there_are_members() -> None:
    q, k = torch.randn(1, 1, 4, 8), torch.randn(1, 1, 8, 8)
    for forced in (an.route.first(10**6), an.route.window(10**6)):
        lists = an.route.topk_blocks(block=1, query_block=1, k=2, forced=[forced]).lists(q, k, q_start=0)
        assert lists.shape[-1] <= 10 and {0, 1, 2} <= set(lists[0, 0, 2].tolist())


def test_the_whole_mass_is_every_key() -> None:
    scores = torch.randn(1, 1, 4, 20000, generator=torch.Generator().manual_seed(0))
    route = an.route.blocks(an.route.mass(1.0), block=1, query_block=1, score=an.route.given("fit"))
    lists = route.lists(torch.zeros(1, 1, 4, 8), torch.zeros(1, 1, 20000, 8), q_start=0, fit=scores)
    assert ((lists >= 0).sum(-1) == 20000).all()


@pytest.mark.parametrize("name", ["v", "self", "scale", "two words"])
def test_scores_are_called_so_that_a_call_can_give_them(name: str) -> None:
    with pytest.raises(RouteError, match=name):
        an.route.topk_keys(k=2, score=an.route.values(name))


def test_a_route_whose_lists_a_score_alone_reads_still_chooses() -> None:
    picks = an.selection("picks", "b", "h")
    near = an.score(lambda s, q, k: s - 0.5 * picks(q // 16, k // 16))
    attn = an.compile(an.causal(), score=near, route=an.route.topk_blocks(block=16, k=3))
    assert "picks(q // 16, k // 16) > 0" in str(attn.pattern.mask)


def test_a_mask_is_no_list() -> None:
    attn = an.compile(an.full(), route=an.route.topk_blocks(block=8, k=1))
    q = torch.randn(1, 2, 64, 16)
    with pytest.raises(SelectionError, match="not a mask"):
        attn(q, q, q, picks=torch.eye(8, dtype=torch.bool).expand(1, 2, 8, 8))


@pytest.mark.parametrize("scope", ["row", "head", "overall"])
def test_lists_have_at_most_as_many_places_as_is_said(scope: str) -> None:
    route = an.route.blocks(an.route.threshold(-100.0, most=2), block=8, scope=scope)
    q = torch.randn(1, 2, 64, 16)
    assert ((route.lists(q, q) >= 0).sum(-1) == 2).all()


def test_a_unit_may_be_larger_than_the_sequence() -> None:
    """One list for all queries, by their mean; and one member, which is all keys."""
    q, k = (torch.randn(1, 2, n, 4, generator=torch.Generator().manual_seed(0)) for n in (5, 7))
    lists = an.route.topk_keys(k=2, query_block=2**28).lists(q, k)
    assert lists.shape == (1, 2, 1, 2)
    assert torch.equal(lists[:, :, 0], (q.mean(2, keepdim=True) @ k.mT)[:, :, 0].topk(2).indices.int())
    assert an.route.topk_blocks(block=2**28, k=2).lists(q, k).tolist() == [[[[0]]] * 2] * 1


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 3e38, -3e38, -torch.inf, torch.inf]), min_size=1),
    st.integers(1, 12),
)
def test_of_equal_scores_the_lower_unit_comes_first(scores: list[float], places: int) -> None:
    given = torch.tensor(scores)
    values, units = largest(given, places)
    order = sorted(range(len(scores)), key=lambda i: -given[i].item())[:places]  # that of equal ones is kept
    assert units.tolist()[:places] == order and torch.equal(values[:places], given[order])


def plain_lists(r: Route, q: Tensor, k: Tensor, q_start: int) -> list[list[list[set[int]]]]:
    """The members of every list, [B][H][units]: token by token, unit by unit."""
    group = q.shape[1] // k.shape[1]
    q_len, k_len = q.shape[2], k.shape[2]
    lists, members = -(-(q_start + q_len) // r.queries), -(-k_len // r.keys)
    of_query = {
        u: [t - q_start for t in range(u * r.queries, (u + 1) * r.queries) if q_start <= t < q_start + q_len]
        for u in range(lists)
    }
    of_key = {m: [t for t in range(m * r.keys, (m + 1) * r.keys) if t < k_len] for m in range(members)}
    assert isinstance(r.score, Pooled)
    how = r.score.how

    def pooled(t: Tensor, tokens: list[int]) -> Tensor:
        return t[tokens].float().mean(0) if how == "mean" else t[tokens].float().amax(0)

    found = []
    for b in range(q.shape[0]):
        alone = [
            [
                [float(pooled(q[b, h], of_query[u]) @ pooled(k[b, h // group], of_key[m])) for m in range(members)]
                if of_query[u]
                else []
                for u in range(lists)
            ]
            for h in range(q.shape[1])
        ]
        heads = []
        for h in range(q.shape[1]):
            together = {
                "each": [h],
                "all": range(q.shape[1]),
                "group": [g for g in range(q.shape[1]) if g // group == h // group],
            }[r.heads]
            chosen = []
            for u in range(lists):
                if not of_query[u]:
                    chosen.append(set())
                    continue
                low, high = of_query[u][0] + q_start, of_query[u][-1] + q_start
                forced = set()
                for f in r.forced:
                    reach = {"own": (low // r.keys, high // r.keys), "first": (0, f.n - 1)}.get(f.what)
                    first, last = reach or (max(0, low - f.n) // r.keys, high // r.keys)
                    forced |= {m for m in range(members) if first <= m <= last}
                score = {m: sum(alone[g][u][m] for g in together) for m in range(members)}
                candidates = [
                    m for m in range(members) if m not in forced and not (r.causal and (m + 1) * r.keys - 1 > low)
                ]
                ordered = sorted(candidates, key=lambda m: (-score[m], m))
                if isinstance(r.choice, TopK):
                    picked = ordered[: max(0, r.choice.k - (len(forced) if r.counted else 0))]
                elif isinstance(r.choice, Threshold):
                    picked = [m for m in ordered if score[m] >= r.choice.tau]
                else:
                    assert isinstance(r.choice, Mass)
                    shares = torch.tensor([score[m] for m in ordered]).softmax(0).tolist()
                    before = [0.0, *itertools.accumulate(shares)]
                    picked = [m for m, sofar in zip(ordered, before, strict=False) if sofar < r.choice.p]
                chosen.append(forced | set(picked))
            heads.append(chosen)
        found.append(heads)
    return found


def as_sets(lists: Tensor, heads: int) -> list[list[list[set[int]]]]:
    wide = lists if lists.dim() == 4 else lists[:, None].expand(-1, heads, -1, -1)
    return [[[{m for m in row if m >= 0} for row in head] for head in sample] for sample in wide.tolist()]


@st.composite
def routes(draw: st.DrawFn) -> Route:
    choice = draw(
        st.sampled_from(
            [an.route.topk(1), an.route.topk(3), an.route.topk(99), an.route.threshold(0), an.route.mass(0.6)]
        )
    )
    forced = draw(st.lists(st.sampled_from([an.route.own(), an.route.first(2), an.route.window(5)]), max_size=2))
    return Route(
        draw(st.sampled_from([an.route.mean_pool(), an.route.max_pool()])),
        choice,
        draw(st.integers(1, 5)),
        draw(st.integers(1, 5)),
        draw(st.sampled_from(["each", "group", "all"])),
        tuple(forced),
        draw(st.booleans()),
        draw(st.booleans()),
    )


@given(routes(), st.integers(1, 14), st.integers(1, 14), st.sampled_from([None, 0, 3]), st.integers(0, 9))
@settings(max_examples=150)
def test_lists_are_those_of_a_plain_search(r: Route, q_len: int, k_len: int, q_start: int | None, seed: int) -> None:
    """Small integers: many scores are equal, and sums are exact in any order, means nearly so."""
    g = torch.Generator().manual_seed(seed)
    q, k = (torch.randint(-2, 3, (2, h, n, 2), generator=g).double() for h, n in ((4, q_len), (2, k_len)))
    if r.queries in (3, 5) or r.keys in (3, 5):  # whose means are rounded: no scores are equal then
        q, k = (t + torch.randn(t.shape, generator=g) for t in (q, k))
    start = max(0, k_len - q_len) if q_start is None else q_start
    assert as_sets(r.lists(q.float(), k.float(), q_start=q_start), 4) == plain_lists(r, q.float(), k.float(), start)


def test_moba_of_the_paper() -> None:
    """Six tokens in chunks of two, two chunks each, the own one counted; the gates say which."""
    gates = torch.full((1, 1, 6, 3), -9.0)
    gates[0, 0, 4, :2], gates[0, 0, 5, :2] = torch.tensor([3.0, 3.0]), torch.tensor([1.0, 5.0])
    r = an.route.topk_blocks(
        block=2, query_block=1, k=2, score=an.route.given("gates"), forced=[an.route.own()], counted=True, causal=True
    )
    q = k = torch.zeros(1, 1, 6, 4)
    assert as_sets(r.lists(q, k, gates=gates), 1)[0][0] == [{0}, {0}, {0, 1}, {0, 1}, {0, 2}, {1, 2}]


@pytest.mark.parametrize("target", ["torch", "triton"])
@pytest.mark.parametrize("heads", ["each", "group", "all"])
def test_a_routed_attention_is_that_of_its_lists(target: str, heads: str) -> None:
    """Forward and gradients: those of a dense attention with the same lists, which pass no gradient on."""
    r = an.route.topk_blocks(block=32, k=2, heads=heads, forced=[an.route.own()], causal=True)
    attn = an.compile(an.causal(), route=r, backend=target)
    g = torch.Generator().manual_seed(0)
    q, k, v, do = (torch.randn(2, h, 200, 16, generator=g) for h in (4, 2, 2, 4))
    for t in (q, k, v):
        t.requires_grad_()
    o = attn(q, k, v)
    found = torch.autograd.grad(o, (q, k, v), do)
    expected_o = an.reference(attn.pattern)(q, k, v, picks=r.lists(q, k))
    assert isinstance(expected_o, Tensor)
    expected = torch.autograd.grad(expected_o, (q, k, v), do.double())
    torch.testing.assert_close(o.double(), expected_o, rtol=1e-5, atol=1e-5)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@given(st.sampled_from(["mean", "low", "random"]), st.integers(1, 60), st.integers(0, 9))
@settings(max_examples=40)
def test_a_strict_route_does_not_look_ahead(kind: str, cut: int, seed: int) -> None:
    """Whatever comes later, the lists of earlier queries stay."""
    score = {"mean": an.route.mean_pool(), "low": an.route.low_rank("p"), "random": an.route.random(3)}[kind]
    r = an.route.topk_blocks(block=8, query_block=1, k=2, score=score, causal=True)
    assert r.causality == "strict"
    g = torch.Generator().manual_seed(seed)
    more = {"p": torch.randn(4, 2, generator=g)} if kind == "low" else {}
    q, k = (torch.randn(1, 2, 64, 4, generator=g) for _ in range(2))
    before = r.lists(q, k, **more)
    for t in (q, k):
        t[:, :, cut:] = torch.randn(1, 2, 64 - cut, 4, generator=g)
    assert bool((before[:, :, :cut] == r.lists(q, k, **more)[:, :, :cut]).all())


def test_what_a_route_says_of_later_tokens() -> None:
    assert an.route.topk_blocks(block=8, k=2).causality == "none"
    assert an.route.topk_blocks(block=8, k=2, causal=True).causality == "value-only"
    assert an.route.topk_keys(k=4, causal=True).causality == "strict"


def test_given_lists_take_the_place_of_computed_ones() -> None:
    attn = an.compile(an.full(), route=an.route.topk_blocks(block=4, k=1))
    q, k, v = (torch.randn(1, 1, 8, 16) for _ in range(3))
    o, lse = attn(q, k, v, picks=torch.full((1, 1, 2, 1), -1), return_lse=True)
    assert not o.any() and bool((lse == -torch.inf).all())


def test_a_pattern_may_read_its_route_itself() -> None:
    r = an.route.topk_blocks(block=16, k=1, name="far")
    pattern = an.causal() & (an.window(7) | r.mask)
    attn = an.compile(pattern, route=r)
    assert attn.pattern.mask == pattern
    q, k, v = (torch.randn(1, 1, 64, 16) for _ in range(3))
    expected = an.reference(pattern)(q, k, v, far=r.lists(q, k))
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(attn(q, k, v).double(), expected, rtol=1e-5, atol=1e-5)


def test_decoding_chooses_as_the_whole_does() -> None:
    """Three last queries alone have the lists that they have among all of them."""
    r = an.route.topk_blocks(block=8, query_block=1, k=2, causal=True)
    attn = an.compile(an.causal(), route=r)
    q, k, v = (torch.randn(1, 2, 50, 16) for _ in range(3))
    torch.testing.assert_close(attn(q[:, :, -3:], k, v), attn(q, k, v)[:, :, -3:])


def test_statistics_and_explanations_know_the_route() -> None:
    attn = an.compile(an.causal(), route=an.route.topk_blocks(block=64, k=4, forced=[an.route.own()], causal=True))
    q, k, v = (torch.randn(1, 2, 256, 16) for _ in range(3))
    mass = attn.statistics(q, k, v, an.received_mass())["received-mass"]
    assert float(mass.sum()) == pytest.approx(2 * 256, rel=1e-5)
    found = attn.explain(8192, heads=2, tile=(64, 64))
    assert found.tiles.partial == 2 * 128
    assert found.tiles.full == 2 * sum(min(4, u) for u in range(128))


def test_a_second_call_of_another_length_generates_nothing() -> None:
    attn = an.compile(an.causal(), route=an.route.topk_blocks(block=32, k=2), backend="triton")
    q = torch.randn(1, 1, 64, 16)
    attn(q, q, q)
    before = an.cache_info().generated
    q = torch.randn(1, 1, 128, 16)
    attn(q, q, q)
    assert an.cache_info().generated == before


def test_graphs_hold_a_route() -> None:
    attn = an.compile(an.causal(), route=an.route.topk_blocks(block=16, k=2))
    q, k, v = (torch.randn(1, 2, 64, 16) for _ in range(3))
    traced = torch.compile(attn, backend="eager", fullgraph=True)
    torch.testing.assert_close(traced(q, k, v), attn(q, k, v))


TRACED: dict[str, tuple[Route, dict[str, Tensor]]] = {
    "blocks": (an.route.topk_blocks(block=8, k=2, causal=True), {}),
    "forced and counted": (
        an.route.topk_blocks(block=8, k=3, forced=[an.route.own(), an.route.first(2)], counted=True, heads="group"),
        {},
    ),
    "all that there are": (an.route.blocks(an.route.threshold(-math.inf), block=8, forced=an.route.own()), {}),
    "of a head": (an.route.blocks(an.route.mass(0.5, most=3), block=8, scope="head", heads="all"), {}),
    "a projection": (
        an.route.topk_blocks(block=8, k=2, query_block=1, score=an.route.relative(an.route.low_rank("p"))),
        {"p": torch.randn(16, 4, requires_grad=True)},
    ),
}


@pytest.mark.parametrize("name", TRACED)
def test_one_graph_chooses_for_every_length(name: str) -> None:
    route, bindings = TRACED[name]
    torch._dynamo.reset()  # which counts the lengths of other cases, else
    counter = CompileCounter()
    traced = torch.compile(lambda q, k, s: route.lists(q, k, q_start=s, **bindings), backend=counter, fullgraph=True)
    for i, (q_len, k_len) in enumerate(((33, 40), (41, 50), (64, 80), (57, 88), (30, 96), (0, 40))):
        q, k = torch.randn(1 + i, 4, q_len, 16, requires_grad=True), torch.randn(1 + i, 2, k_len, 16)
        lists, expected = traced(q, k, k_len - q_len), route.lists(q, k, q_start=k_len - q_len, **bindings)
        assert lists.shape == expected.shape and torch.equal(lists, expected)
    assert counter.frame_count == 3  # of the first call, of others, and of none


def test_a_route_of_a_pickle_is_known_to_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    route = an.route.topk_blocks(block=8, k=2, forced=[an.route.own()])
    written = pickle.dumps(route)
    monkeypatch.setattr(routing, "_WRITTEN", {})  # as in another process
    assert pickle.loads(written) == route and routing._WRITTEN == {route.written: route}


def _of_widths(*widths: int) -> list[Tensor]:
    return [torch.zeros(1, 2, 8, width) for width in widths]


PICKED = an.mask(lambda q, k: an.selection("picks", "b", "h")(q // 8, k // 16) > 0)
BAD: list[tuple[type[AttnirError], str, Any]] = [
    (RouteError, "from 1", lambda: an.route.topk_blocks(block=4, k=0)),
    (RouteError, "from 1", lambda: an.route.topk_blocks(block=4, k=-2)),
    (RouteError, "from 1", lambda: an.route.topk_blocks(block=4, k=1.5)),
    (RouteError, "from 1", lambda: an.route.topk_blocks(block=0, k=1)),
    (RouteError, "each", lambda: an.route.topk_blocks(block=4, k=1, heads="some")),
    (RouteError, "cannot name", lambda: an.route.topk_blocks(block=4, k=1, name="q")),
    (RouteError, r"\(0, 1\]", lambda: an.route.mass(0.0)),
    (RouteError, "a number", lambda: an.route.threshold(float("nan"))),
    (RouteError, "from 1", lambda: an.route.first(0)),
    (RouteError, "made by an.route", lambda: an.compile(an.causal(), route=3)),  # type: ignore[arg-type]  # a wrong type is tried
    (RouteError, "one name", lambda: an.compile(an.causal(), route=[an.route.topk_keys(k=1)] * 2)),
    (
        RouteError,
        "the route has lists over",
        lambda: an.compile(an.route.topk_keys(k=1).mask, route=an.route.topk_keys(k=1, heads="all")),
    ),
    (
        RouteError,
        "by units of 16 keys, the route has lists of units of 32",
        lambda: an.compile(PICKED, route=an.route.topk_blocks(block=32, query_block=8, k=1)),
    ),
    (
        RouteError,
        "by units of 8 queries, the route has lists of units of 1",
        lambda: an.compile(PICKED, route=an.route.topk_blocks(block=16, query_block=1, k=1)),
    ),
    (ShapeError, r"\[1, 2, 8, 4\] and \[1, 2, 8, 6\]", lambda: an.route.topk_keys(k=1).lists(*_of_widths(4, 6))),
    (
        ShapeError,
        r"\[1, 2, 8, 4\] and \[1, 2, 8, 6\]",
        lambda: an.compile(an.graph(lambda q, k, v: an.attend(an.full(), q, k, v, route=an.route.topk_keys(k=1))))(
            *_of_widths(4, 6, 6)
        ),
    ),
]


@pytest.mark.parametrize(("error", "said", "make"), BAD)
def test_bad_routes(error: type[AttnirError], said: str, make: Any) -> None:
    with pytest.raises(error, match=said):
        make()


def test_bad_tensors_of_routes() -> None:
    q = k = v = torch.randn(1, 2, 8, 4)
    low = an.compile(an.full(), route=an.route.topk_blocks(block=4, k=1, score=an.route.low_rank("p")))
    with pytest.raises(MissingBindingError, match="give p="):
        low(q, k, v)
    for p in (torch.randn(5, 2), torch.randn(3, 4, 2), torch.ones(4, 2).int(), [1.0]):
        with pytest.raises(RouteError, match="projection `p`"):
            low(q, k, v, p=p)
    own = an.compile(an.full(), route=an.route.topk_blocks(block=4, k=1, score=an.route.given("gates")))
    with pytest.raises(RouteError, match=r"\[1, 2, 2, 2\]"):
        own(q, k, v, gates=torch.ones(1, 2, 3, 2))
    assert Forced("own") == an.route.own()


def test_a_route_follows_head_maps() -> None:
    """Heads that share a key head need not lie beside each other."""
    maps = an.Heads(k=(1, 0, 1, 0))
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, h, 64, 16, generator=g) for h in (4, 2, 2))
    for heads in ("each", "group"):
        r = an.route.topk_blocks(block=16, k=1, heads=heads)
        found = an.compile(an.causal(), route=r, heads=maps)(q, k, v)
        wide = [t[:, list(maps.k)] for t in (k, v)]
        lists = r.lists(q, k, maps=maps)
        torch.testing.assert_close(found, an.compile(an.causal() & r.mask)(q, *wide, picks=lists))
        order = [1, 3, 0, 2]  # in which they do
        assert torch.equal(lists[:, order], r.lists(q[:, order], k))


def test_a_projection_is_of_key_heads() -> None:
    q, k, p = torch.randn(1, 4, 32, 8), torch.randn(1, 2, 32, 8), torch.randn(2, 8, 3)
    r = an.route.topk_blocks(block=8, k=2, score=an.route.low_rank("p"))
    expected = an.route.topk_blocks(block=8, k=2).lists(q @ p[[0, 0, 1, 1]], k @ p)
    assert torch.equal(r.lists(q, k, p=p), expected)


def test_summaries_that_are_arranged_apart_move_no_queries() -> None:
    """Queries of the call are its last ones, whatever an attention of others says of its own."""
    apart = an.parse("q = grid(rank=2); k = grid(token=32); True")

    def stages(q: Any, k: Any, v: Any) -> Any:
        few = an.attend(apart, an.summarise(q, 4), k, v)
        return an.attend(an.causal(), q, k, v), few

    q, k, v = (torch.randn(1, 2, n, 16, generator=torch.Generator().manual_seed(n)) for n in (8, 32, 32))
    found, _ = an.compile(an.graph(stages))(q, k, v)
    torch.testing.assert_close(found, an.compile(an.causal())(q, k, v))


def test_queries_that_are_arranged_apart_begin_at_0() -> None:
    """Alone and in a graph: 8 queries are the first ones, whatever the number of keys."""
    pattern = an.parse("q = grid(rank=8); k = grid(token=32); True")
    route = an.route.topk_blocks(block=8, k=2, causal=True, forced=[an.route.own()])
    q, k, v = (torch.randn(1, 2, n, 16, generator=torch.Generator().manual_seed(n)) for n in (8, 32, 32))
    attn = an.compile(pattern, route=route)
    graph = an.compile(an.graph(lambda q, k, v: an.attend(pattern, q, k, v, route=route)))
    expected = attn(q, k, v, picks=route.lists(q, k, q_start=0))
    torch.testing.assert_close(attn(q, k, v), expected)
    torch.testing.assert_close(graph(q, k, v), expected)
    assert attn.explain(8, 32, heads=2).call.q_start == 0
    mass = attn.statistics(q, k, v, "received-mass")["received-mass"]
    given = attn.statistics(q, k, v, "received-mass", picks=route.lists(q, k, q_start=0))["received-mass"]
    torch.testing.assert_close(mass, given)
    assert float(mass.sum()) == pytest.approx(16)


@pytest.mark.parametrize("heads", ["each", "group"])
@pytest.mark.parametrize("maps", [None, an.Heads(k=(1, 0, 1, 0), v=(0, 1, 1, 0))])
def test_statistics_are_of_the_keys_that_a_call_chooses(maps: an.Heads | None, heads: str) -> None:
    """Keys and values have heads of their own, so that statistics spread them: after the route has chosen."""
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, h, 64, 16, generator=g) for h in (4, 2, 2 if maps else 4))
    attn = an.compile(an.causal(), route=an.route.topk_blocks(block=8, k=2, heads=heads, causal=True), heads=maps)
    lists = attn.routes[0].lists(q, k, maps=maps)
    found, given = (attn.statistics(q, k, v, "received-mass", **more) for more in ({}, {"picks": lists}))
    torch.testing.assert_close(found["received-mass"], given["received-mass"])


@pytest.mark.parametrize(
    "choice", [an.route.topk(2), an.route.mass(0.5), an.route.portion(0.5), an.route.threshold(1.0)]
)
def test_an_infinite_score_is_the_largest(choice: Any) -> None:
    r = an.route.blocks(choice, block=4, score=an.route.given("fit"))
    q = torch.randn(1, 1, 16, 8)
    fit = torch.tensor([0.5, torch.inf, -torch.inf, torch.inf]).expand(1, 1, 4, 4)
    lists = r.lists(q, q, fit=fit)
    assert lists[0, 0, 0, 0] == 1, "the lower of two"
    assert not (lists == 2).any()
    relative = an.route.blocks(choice, block=4, score=an.route.relative(an.route.given("fit")))
    assert relative.lists(q, q, fit=fit)[0, 0, 0, 0] == (-1 if isinstance(choice, Threshold) else 1), "0 is the largest"


@pytest.mark.parametrize(
    "choice", [an.route.topk(2), an.route.mass(0.5), an.route.portion(0.5), an.route.threshold(1.0)]
)
def test_of_no_keys_none_is_chosen(choice: Any) -> None:
    lists = an.route.blocks(choice, block=4).lists(torch.randn(1, 2, 8, 4), torch.randn(1, 2, 0, 4), q_start=0)
    assert not (lists >= 0).any()


def test_what_a_route_does_not_read_is_refused() -> None:
    q, k = torch.randn(1, 4, 32, 8), torch.randn(1, 2, 32, 8)
    r = an.route.topk_blocks(block=8, k=2)
    with pytest.raises(UnknownBindingError, match="`q_strat` given, but the route reads nothing"):
        r.lists(q, k, q_strat=0)
    with pytest.raises(HeadsError):
        r.lists(q, k, maps=an.Heads(k=(0, 1, 5, 0)))
    with pytest.raises(HeadsError):
        r.lists(q[:, :1], k, maps=an.Heads(k=(0, 1, 0, 1)))
    with pytest.raises(RouteError, match="most is how many"):
        an.route.threshold(0.5, most=0)


def test_what_a_route_knows_of_later_tokens_is_said() -> None:
    for score in (an.route.last_key(), an.route.values("fit"), an.route.mean_pool()):
        r = an.route.topk_blocks(block=8, query_block=1, k=2, score=score, causal=True)
        assert (r.causality, replace(r, causal=False).causality) == ("strict", "none")
