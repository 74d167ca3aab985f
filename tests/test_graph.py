"""Graphs of stages: what they refuse, print and schedule, and what each stage makes of tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import attnir as an
from attnir.errors import (
    AttnirError,
    DtypeError,
    FieldError,
    GraphError,
    MissingBindingError,
    RouteError,
    SelectionError,
    ShapeError,
    UnknownBindingError,
)
from attnir.graph.graph import Node
from attnir.graph.inputs import Input
from attnir.graph.joining import Output
from tests.checks import refused

NEAR = an.window(3, 0)


def two_scales(q: Any, k: Any, v: Any, gate: Any) -> Any:
    near = an.attend(NEAR, q, k, v)
    far = an.attend(an.mask(lambda q, k: 4 * k + 3 <= q), q, an.summarise(k, 4), an.summarise(v, 4))
    return an.combine([(gate, near), (0.5, far)])


def test_a_graph_prints_its_stages_with_what_they_take_and_give() -> None:
    assert str(an.graph(two_scales)).splitlines() == [
        "q           = input                                                   # tokens q",
        "k           = input                                                   # tokens k",
        "v           = input                                                   # tokens k",
        "gate        = input                                                   # given",
        "attend_4    = attend((q - k <= 3) & (k <= q)) of q, k, v              # part q",
        "output_5    = o of attend_4                                           # tokens q",
        "summarise_6 = summarise(block=4, 'mean') of k                         # tokens k // 4",
        "summarise_7 = summarise(block=4, 'mean') of v                         # tokens k // 4",
        "attend_8    = attend(q >= k * 4 + 3) of q, summarise_6, summarise_7   # part q",
        "output_9    = o of attend_8                                           # tokens q",
        "combine_10  = gate * output_5 + 0.5 * output_9                        # tokens q",
        "return combine_10",
    ]


def test_equal_functions_give_equal_graphs_and_equal_stages_stand_once() -> None:
    assert an.graph(two_scales) == an.graph(two_scales)
    twice = an.graph(lambda q, k, v: an.combine([(1.0, an.attend(NEAR, q, k, v)), (1.0, an.attend(NEAR, q, k, v))]))
    assert [type(n.stage).__name__ for n in twice.nodes].count("Attend") == 1


def test_the_schedule_runs_each_stage_behind_what_it_takes_and_forgets_what_nobody_needs() -> None:
    graph = an.graph(two_scales)
    done: set[int] = set()
    alive: set[int] = set()
    most = 0
    for step in graph.schedule:
        assert set(graph.nodes[step.node].args) <= alive
        alive.add(step.node)
        most = max(most, len(alive))
        alive -= set(step.frees)
        done.add(step.node)
    assert done == set(range(len(graph.nodes))) and alive == set(graph.outputs) and most < len(graph.nodes)
    kinds = {str(data["kind"]) for *_, data in graph.network.edges(data=True)}
    assert kinds == {"tokens q", "tokens k", "given", "part q", "tokens k // 4"}


def traced(function: Any, **axes: str) -> Any:
    return lambda: an.graph(function, **axes)


@dataclass
class NoHash:
    """Equal by value and not frozen, so that it has no hash."""

    def __call__(self, x: Tensor) -> Tensor:
        return x


ROUTE = an.route.topk_blocks(block=4, k=2)
BAD: dict[str, tuple[type[AttnirError], str, Any]] = {
    "no function": (GraphError, "not 3", traced(3)),
    "no edge": (GraphError, "a graph gives what its stages give, not 3", traced(lambda q: 3)),
    "an axis of nothing": (GraphError, "no such argument", traced(lambda q, k, v: an.attend(NEAR, q, k, v), m="m")),
    "an idle input": (GraphError, "nothing comes of gate", traced(lambda q, k, v, gate: an.attend(NEAR, q, k, v))),
    "keys and values of other tokens": (
        GraphError,
        "keys and values of the same tokens; it is given k of tokens k // 4 and v of tokens k",
        traced(lambda q, k, v: an.attend(NEAR, q, an.summarise(k, 4), v)),
    ),
    "values are merged": (
        GraphError,
        "merge takes parts (o, lse), of an.attend(..., return_lse=True); it is given tokens q",
        traced(lambda q, k, v: an.merge([an.attend(NEAR, q, k, v), an.attend(NEAR, q, k, v)])),
    ),
    "parts are combined": (
        GraphError,
        "combine takes o alone, part[0]; it is given part q",
        traced(lambda q, k, v: an.combine([(1.0, an.attend(NEAR, q, k, v, return_lse=True))])),
    ),
    "parts of other queries": (
        GraphError,
        "parts of the same queries; it is given part q and part q // 2",
        traced(
            lambda q, k, v: an.merge(
                [an.attend(NEAR, x, k, v, return_lse=True) for x in (q, an.summarise(q, 2))],
            )
        ),
    ),
    "scattered by other lists": (
        GraphError,
        "what was gathered by `clusters_4`",
        traced(lambda q, k, v, a: an.scatter(q, an.clusters(q, a, 3), q)),
    ),
    "scattered by others of the same units": (
        GraphError,
        "what was gathered by `clusters_6`, and tokens q that it is like; it is given tokens q[clusters_4] per list of",
        traced(lambda q, k, v, a: an.scatter(an.gather(q, an.clusters(q, a, 3)), an.clusters(q, a, 4), q)),
    ),
    "keys and values by lists of their own": (
        GraphError,
        "keys and values of the same tokens; it is given k of tokens k[clusters_6] per list of a and v of tokens",
        traced(
            lambda q, k, v, a: an.attend(
                NEAR, *(an.gather(x, an.clusters(x, a, n)) for x, n in ((q, 3), (k, 3), (v, 4)))
            )
        ),
    ),
    "places of other lists": (
        GraphError,
        "`at` of k[clusters_4] with the samples of q; it is given facts k[clusters_7] per list of a",
        traced(
            lambda q, k, v, a: an.attend(
                an.mask(lambda q, k: an.field("at")(k) >= 0),
                *(an.gather(x, an.clusters(k, a, 3)) for x in (k, k, v)),
                at=an.places(an.clusters(k, a, 4), k),
            )
        ),
    ),
    "gathered keys, all queries": (
        GraphError,
        "q, k and v with the same samples",
        traced(lambda q, k, v, a: an.attend(NEAR, q, *(an.gather(x, an.clusters(k, a, 3)) for x in (k, v)))),
    ),
    "tokens gathered by lists of others": (
        GraphError,
        "tokens q by these lists; it is given tokens k",
        traced(lambda q, k, v, a: an.gather(k, an.clusters(q, a, 3))),
    ),
    "tensors": (GraphError, "made by an.graph", lambda: an.attend(NEAR, *(torch.zeros(1, 1, 2, 3),) * 3)),
    "bound to nothing": (
        GraphError,
        "`doc` is bound, but the pattern reads nothing",
        traced(lambda q, k, v, doc: an.attend(NEAR, q, k, v, doc=doc)),
    ),
    "a block of nothing": (GraphError, "from 1 on, not 0", traced(lambda q, k, v: an.summarise(k, 0))),
    "another way to pool": (GraphError, "mean, max, sum", traced(lambda q, k, v: an.summarise(k, 2, "median"))),
    "another way to scatter": (GraphError, "set, sum, mean, merge", traced(lambda q, a: an.scatter(q, a, q, "max"))),
    "an eps of no mean": (
        GraphError,
        'beside the count of a "mean"',
        traced(lambda q, a: an.scatter(q, a, q, eps=1.0)),
    ),
    "no route": (GraphError, "not 8", traced(lambda q, k, v: an.choose(8, q, k))),
    "two routes of one name": (
        GraphError,
        "several nodes have the name `picks`",
        traced(lambda q, k: (an.choose(ROUTE, q, k), an.choose(an.route.topk_keys(k=3), q, k))),
    ),
    "half of a part": (GraphError, "o at 0 and lse at 1", traced(lambda q, k, v: an.attend(NEAR, q, k, v)[1])),
    "the value of an edge": (GraphError, "has no value", traced(lambda q: bool(q))),
    "of two graphs": (
        GraphError,
        "what one graph gives",
        traced(lambda q: an.graph(lambda k, v: an.attend(NEAR, q, k, v))),
    ),
    "an lse of no sum": (
        GraphError,
        "have no lse",
        traced(lambda q, k, v: an.attend(NEAR, q, k, v, normalize=an.weights(an.relu2, divide=False), return_lse=True)),
    ),
    "a weight behind its attention": (
        GraphError,
        "a branch is (weight, attention)",
        traced(lambda q, k, v: an.combine([(an.attend(NEAR, q, k, v), 1.0)])),
    ),
    "a tensor as a weight": (
        GraphError,
        "a branch is (weight, attention)",
        traced(lambda q, k, v: an.combine([(torch.zeros(3), an.attend(NEAR, q, k, v))])),
    ),
    "a scale that is a list": (
        GraphError,
        "scale is a number",
        traced(lambda q, k, v: an.attend(NEAR, q, k, v, scale=[1])),
    ),
    "arithmetic": (GraphError, "compute with an.epilogue", traced(lambda q, k, v: an.attend(NEAR, q * 2, k, v))),
    "an epilogue without a hash": (GraphError, "can be hashed", traced(lambda q: an.epilogue(NoHash(), q))),
    "a default": (GraphError, "without stars or defaults", traced(lambda q, gate=1.0: q)),
    "stars": (GraphError, "without stars or defaults", traced(lambda q, **more: q)),
    "what is built in": (GraphError, "traced from a function", traced(max)),
    "an argument q_start": (GraphError, "name the argument otherwise", traced(lambda q, q_start: q)),
    "an axis of the call": (GraphError, "name another one", traced(lambda q, m: an.project(q, m, onto="k"))),
    "options of a pattern": (
        GraphError,
        "heads stands there",
        lambda: an.compile(an.graph(two_scales), heads=an.Heads((0,))),
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_refused(name: str) -> None:
    refused(*BAD[name])


Q = torch.zeros(1, 1, 8, 4)
CALLS: dict[str, tuple[type[AttnirError], str, Any]] = {
    "nothing for the gate": (MissingBindingError, "reads `gate`; give gate=", lambda a: a(Q, Q, Q)),
    "what nobody reads": (UnknownBindingError, "`gte` given", lambda a: a(Q, Q, Q, Q[..., 0], gte=3)),
    "twice": (UnknownBindingError, "`q` is given twice", lambda a: a(Q, Q, Q, q=Q, gate=Q[..., 0])),
    "too many": (UnknownBindingError, "5 values", lambda a: a(Q, Q, Q, Q, Q)),
    "no tokens": (ShapeError, "`k` are tokens k, [B, H, S, D], not [8, 4]", lambda a: a(Q, Q[0, 0], Q, gate=Q[..., 0])),
    "a gate of others": (ShapeError, "a weight has the shape", lambda a: a(Q, Q, Q, gate=torch.zeros(1, 1, 7))),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_does_not_fit_is_refused(name: str) -> None:
    kind, says, call = CALLS[name]
    refused(kind, says, lambda: call(an.compile(an.graph(two_scales))))


def test_a_verifier_sees_what_was_not_traced() -> None:
    q = Node(Input("q", an.Tokens("q")), (), an.Tokens("q"))
    with pytest.raises(GraphError, match="takes what comes behind it"):
        an.Graph((q, Node(Output("o"), (1,), an.Tokens("q"))), (1,))
    with pytest.raises(GraphError, match="is said to give tokens k"):
        an.Graph((Node(Input("q", an.Tokens("q")), (), an.Tokens("k")),), (0,))
    with pytest.raises(GraphError, match="some of its nodes"):
        an.Graph((q,), ())


@pytest.mark.parametrize("target", ["torch", "triton"])
def test_a_graph_and_its_gradients_are_its_dense_meaning(target: str) -> None:
    graph = an.graph(two_scales)
    g = torch.Generator().manual_seed(0)
    given = [torch.randn(2, 2, 50, 16, generator=g).requires_grad_() for _ in range(3)]
    given.append(torch.rand(2, 2, 50, generator=g).requires_grad_())
    do = torch.randn(2, 2, 50, 16, generator=g)
    o, dense = an.compile(graph, backend=target)(*given), an.reference(graph)(*given)
    torch.testing.assert_close(o.double(), dense, atol=1e-5, rtol=1e-5)
    found, wanted = (torch.autograd.grad(x, given, do.to(x.dtype)) for x in (o, dense))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b.float(), atol=2e-5, rtol=2e-5)


def test_queries_have_the_positions_of_the_call() -> None:
    """The last queries of a sequence see what they see in all of it."""
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 2, 40, 16, generator=g) for _ in range(3))
    gate = torch.rand(1, 2, 40, generator=g)
    attn = an.compile(an.graph(two_scales))
    whole = attn(q, k, v, gate)
    torch.testing.assert_close(attn(q[:, :, 30:], k, v, gate[:, :, 30:]), whole[:, :, 30:])
    torch.testing.assert_close(attn(q[:, :, 20:30], k, v, gate[:, :, 20:30], q_start=20), whole[:, :, 20:30])


def test_given_lists_take_the_place_of_chosen_ones() -> None:
    attn = an.compile(an.graph(lambda q, k, v: an.attend(an.causal(), q, k, v, route=ROUTE)))
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 2, 20, 8, generator=g) for _ in range(3))
    assert torch.equal(attn(q, k, v), attn(q, k, v, picks=ROUTE.lists(q, k)))
    other = torch.zeros(1, 2, 5, 1, dtype=torch.int32)
    expected = an.compile(an.causal() & an.mask(lambda k: k < 4))(q, k, v)
    torch.testing.assert_close(attn(q, k, v, picks=other), expected)


LISTS: dict[str, tuple[type[AttnirError], Any]] = {
    "real numbers": (FieldError, torch.zeros(1, 2, 20, 2)),
    "no tensor": (FieldError, [[0]]),
    "of other heads": (SelectionError, torch.zeros(1, 1, 20, 2, dtype=torch.int64)),
    "of other samples": (SelectionError, torch.zeros(2, 2, 20, 2, dtype=torch.int64)),
    "without heads": (SelectionError, torch.zeros(1, 20, 2, dtype=torch.int64)),
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("query_block", [1, 4])
def test_given_lists_that_do_not_fit_are_refused(name: str, query_block: int) -> None:
    kind, lists = LISTS[name]
    route = an.route.topk_blocks(block=16, query_block=query_block, k=2)
    attn = an.compile(an.graph(lambda q, k, v: an.attend(an.causal(), q, k, v, route=route)))
    x = torch.zeros(1, 2, 20, 8)
    refused(kind, "`picks`", lambda: attn(x, x, x, picks=lists))


def test_lists_that_are_given_need_nothing_that_only_their_route_reads() -> None:
    """Nor what stages make of it for the route alone."""
    q, k, v = (torch.randn(1, 2, 20, 8) for _ in range(3))
    tangnn = an.compile(an.catalog.build("tangnn", m=4))
    assert tangnn(q, k, v, picks=torch.tensor([0, 3, 5, 7]).expand(1, 2, 1, 4)).shape == q.shape
    with pytest.raises(MissingBindingError, match="direction"):
        tangnn(q, k, v)


def test_gathered_and_scattered_tokens_are_summed_in_a_fixed_order() -> None:
    """Bit for bit, forward and backward, whatever the threads do."""
    g = torch.Generator().manual_seed(0)
    attn = an.compile(an.catalog.build("routing-transformer", tokens=256))
    q, k, v = (torch.randn(1, 1, 512, 32, generator=g, requires_grad=True) for _ in range(3))
    c = torch.randn(64, 32, generator=g)

    def once() -> list[Tensor]:
        o = attn(q, k, v, centroids=c)
        return [o.detach(), *torch.autograd.grad(o.square().sum(), (q, k, v))]

    first = once()
    for _ in range(6):
        assert all(torch.equal(a, b) for a, b in zip(first, once(), strict=True))


def test_epilogues_that_draw_numbers_draw_their_own() -> None:
    noise = an.graph(lambda q: (an.epilogue(torch.rand_like, q), an.epilogue(torch.rand_like, q)))
    a, b = an.compile(noise)(torch.zeros(1, 1, 50, 8))
    assert not torch.equal(a, b)


def test_queries_among_themselves_stand_where_their_keys_do() -> None:
    """Causal among the queries of a call, wherever they begin among the keys."""
    q, k, v = (torch.randn(1, 1, n, 8) for n in (4, 10, 10))
    both = an.graph(lambda q, k, v: (an.attend(an.causal(), q, q, q), an.attend(an.causal(), q, k, v)))
    among, beyond = an.compile(both)(q, k, v)
    torch.testing.assert_close(among, an.compile(an.causal())(q, q, q))
    torch.testing.assert_close(beyond, an.compile(an.causal())(q, k, v))


def test_lists_of_other_units_than_the_pattern_reads_are_refused() -> None:
    route = an.route.topk_blocks(block=8, k=2)
    picks = an.selection("picks", "b", "h")

    def units(n: int) -> an.Mask:
        return an.mask(lambda q, k: picks(q // n, k // n) > 0)

    wide, own = units(16), units(8)

    def chosen(swapped: bool, seen: an.Mask, block: int = 1) -> Any:
        def stages(q: Any, k: Any, v: Any) -> Any:
            keys = an.summarise(k, block) if block > 1 else k
            lists = an.choose(route, keys, q) if swapped else an.choose(route, q, keys)
            return an.attend(seen, q, k, v, picks=lists)

        return stages

    an.graph(chosen(False, own))
    for wrong in (chosen(True, own), chosen(False, wide), chosen(False, own, 4)):
        with pytest.raises(GraphError, match="takes lists q"):
            an.graph(wrong)


def test_a_graph_is_compiled_by_torch_at_every_length() -> None:
    """Lists of single queries: units at the end that have fewer keys."""
    route = an.route.topk_blocks(block=16, k=2, query_block=1, forced=[an.route.own()], causal=True)
    attn = an.compile(an.graph(lambda q, k, v: an.attend(an.causal(), q, k, v, route=route)))
    q, k, v = (torch.randn(1, 1, 70, 16, generator=torch.Generator().manual_seed(i)) for i in range(3))
    compiled = torch.compile(attn, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(q, k, v), attn(q, k, v))


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda q, k, v: an.combine([(an.epilogue(torch.neg, q), an.attend(an.full(), q, k, v))]), "an.Rows"),
        (lambda q, k, v: an.combine([(1.0, an.attend(an.full(), q, k, v, return_lse=True))]), r"part\[0\]"),
        (lambda q, k, v: an.merge([an.attend(an.full(), q, k, v)]), "return_lse=True"),
        (lambda q, k, v, m: an.attend(an.full(), q, m, v), r"name='m'"),
        (lambda q, k, v, m: an.attend(an.full(), q, an.gather(k, m), v), r"gives=an.Lists"),
        (lambda q, k, v: an.epilogue(torch.neg, q, gives="q"), r"an.Tokens\('q'\)"),
        (lambda q, d: an.epilogue(torch.add, q, d), "name the argument otherwise"),
    ],
)
def test_errors_say_what_to_do(function: Any, says: str) -> None:
    with pytest.raises(GraphError, match=says):
        an.graph(function)


def test_a_pair_for_what_is_no_field_is_refused() -> None:
    route = an.route.topk_blocks(block=16, query_block=1, k=2)

    def stages(q: Any, k: Any, v: Any) -> Any:
        lists = an.choose(route, q, k)
        return an.attend(route.mask, q, k, v, picks=(lists, lists))

    with pytest.raises(GraphError, match="one value as `picks`, which is no field"):
        an.graph(stages)


def test_lists_are_turned_round_only_where_they_are_short_whatever_the_call() -> None:
    """Not with a window of forced units, nor where the rows of a head compete: queries would be copied for each."""
    for more, spread in (({}, True), ({"forced": [an.route.window(1024)]}, False), ({"scope": "head"}, False)):
        route = an.route.topk_blocks(block=16, query_block=1, k=2, **more)
        assert ("spread" in str(an.compile(an.graph(by(route))).graph)) is spread


def by(route: Any) -> Any:
    return lambda q, k, v: an.attend(an.full(), q, k, v, route=route)


def test_autocast_takes_tensors_of_several_dtypes_and_chooses_as_without() -> None:
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 2, 100, 16, generator=g) for _ in range(3))
    attn = an.compile(an.catalog.build("moba", chunk=16, k=3))
    route = an.route.topk_keys(k=8)
    lists = route.lists(q, k)
    with torch.autocast("cpu", torch.bfloat16):
        assert attn(q, k.bfloat16(), v.bfloat16()).dtype is torch.bfloat16
        assert torch.equal(route.lists(q, k), lists)


def test_lists_without_places_and_members_that_are_no_unit_give_nothing() -> None:
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 2, 20, 8, generator=g) for _ in range(3))
    tangnn = an.compile(an.catalog.build("tangnn", m=4))
    for lists in (torch.zeros(1, 2, 1, 0, dtype=torch.int64), torch.full((1, 2, 1, 4), 999)):
        assert not tangnn(q, k, v, torch.randn(8, generator=g), picks=lists).any()
    route = an.route.topk_blocks(block=16, query_block=1, k=2)
    part = an.compile(an.graph(lambda q, k, v: an.attend(an.causal(), q, k, v, route=route, return_lse=True)))
    for *tensors, lists in ((q, k, v, torch.zeros(1, 2, 20, 0).int()), (q, k[:, :, :0], v[:, :, :0], None)):
        o, lse = part(*tensors, **({} if lists is None else {"picks": lists}))
        assert not o.any() and bool((lse == -torch.inf).all())


@pytest.mark.parametrize("heads", ["each", "group", "all"])
@pytest.mark.parametrize("maps", [an.Heads(k=(1, 0)), an.Heads(k=(0, 1, 2, 0), v=(0, 0, 1, 1))])
def test_a_route_knows_head_maps(heads: str, maps: an.Heads) -> None:
    route = an.route.topk_blocks(block=16, k=1, heads=heads)
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, h, 64, 8, generator=g) for h in (len(maps.k), max(maps.k) + 1, max(maps.v) + 1))
    graph = an.graph(lambda q, k, v: an.attend(an.full(), q, k, v, route=route, heads=maps))
    expected = an.compile(an.full(), route=route, heads=maps)(q, k, v)
    torch.testing.assert_close(an.compile(graph)(q, k, v), expected)
    torch.testing.assert_close(an.reference(graph)(q, k, v).float(), expected, atol=1e-5, rtol=1e-5)


def test_an_input_that_is_called_as_a_stage_is_an_input() -> None:
    def gated(q: Any, k: Any, v: Any, combine_6: Any, output_5: Any) -> Any:
        return an.combine([(combine_6, an.attend(NEAR, q, k, v)), (output_5, an.attend(NEAR, q, k, v))])

    x, gate = torch.randn(1, 2, 20, 8, generator=torch.Generator().manual_seed(0)), torch.rand(1, 2, 20)
    expected = 2 * gate[..., None] * an.compile(NEAR)(x, x, x)
    torch.testing.assert_close(an.compile(an.graph(gated))(x, x, x, gate, gate), expected)


def test_an_epilogue_may_ask_where_queries_stand() -> None:
    def shifted(o: Tensor, q_start: int) -> Tensor:
        return o + q_start

    attn = an.compile(an.graph(lambda q, k, v: an.epilogue(shifted, an.attend(an.full(), q, k, v))))
    x = torch.randn(1, 2, 20, 8)
    torch.testing.assert_close(attn(x, x, x, q_start=7), an.compile(an.full())(x, x, x) + 7)
    assert an.compile(an.graph(lambda q: an.epilogue(torch.relu, q)))(x).min() == 0


BAD_TENSORS: dict[str, tuple[type[AttnirError], str, Any]] = {
    "three axes": (ShapeError, "tokens are real, [B, H, S, D]", lambda: an.summarise(torch.zeros(2, 3, 4), 2)),
    "integers": (ShapeError, "tokens are real", lambda: an.summarise(torch.zeros(1, 1, 3, 4).long(), 2)),
    "too few blocks": (
        ShapeError,
        "2 blocks of 4 do not stand for 20 tokens",
        lambda: an.repeat(torch.zeros(1, 1, 2, 3), 4, torch.zeros(1, 1, 20, 3)),
    ),
    "no places": (ShapeError, "from 1 on", lambda: an.csr(torch.tensor([0, 1]), torch.tensor([0]), most=-1)),
    "offsets that leave edges out": (
        ShapeError,
        "from 0 to the number of edges",
        lambda: an.csr(torch.tensor([2, 3]), torch.tensor([0, 1, 2])),
    ),
    "indices that are no integers": (DtypeError, "integers", lambda: an.csr(torch.tensor([0, 1]), torch.tensor([0.5]))),
    "a graph of two axes": (ShapeError, "offsets [nodes + 1]", lambda: an.csr(torch.zeros(2, 2), torch.tensor([0]))),
    "no directions": (RouteError, "[4, n]", lambda: an.hash_buckets(Q, torch.zeros(4, 0))),
    "directions of other heads": (
        RouteError,
        "[4, n]",
        lambda: an.hash_buckets(Q.expand(1, 2, 8, 4), torch.zeros(3, 4, 2)),
    ),
    "no heads for these": (
        ShapeError,
        "is no multiple of them",
        lambda: an.fold(Q.expand(1, 2, 8, 4), Q.expand(1, 3, 8, 4)),
    ),
}


@pytest.mark.parametrize("name", BAD_TENSORS)
def test_tensors_that_do_not_fit_are_refused(name: str) -> None:
    refused(*BAD_TENSORS[name])


def test_explain_takes_a_weight_of_integers() -> None:
    attn = an.compile(an.graph(lambda q, k, v, gate: an.combine([(gate, an.attend(an.causal(), q, k, v))])))
    assert attn.explain(64, gate=torch.tensor([1])).flops == attn.explain(64, gate=torch.tensor([1.0])).flops


def test_explain_says_what_every_stage_costs() -> None:
    explained = an.compile(an.graph(two_scales)).explain(
        256, heads=2, d=16, dtype=torch.float32, gate=torch.rand(1, 2, 256)
    )
    cost = {c.name: c for c in explained.costs}
    assert cost["summarise_6"].shape == (1, 2, 64, 16)
    assert cost["summarise_6"].bytes == 4 * 2 * 16 * (256 + 64)
    near = an.compile(NEAR).explain(256, heads=2, d=16, dtype=torch.float32)
    assert cost["attend_4"].flops == near.flops and explained.attentions[0].visited_pairs == near.visited_pairs
    assert explained.flops == sum(c.flops for c in explained.costs)
    assert "pairs visited" in str(explained) and str(an.graph(two_scales)) in str(explained)


@st.composite
def lists(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Tokens [2, 2, S, 3], and lists of them: some empty, with members twice, of each head or of all."""
    length, count, places = draw(st.integers(1, 6)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    g = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    shape = (2, 2, count, places) if draw(st.booleans()) else (2, count, places)
    return torch.randn(2, 2, length, 3, generator=g, dtype=torch.float64), torch.randint(-1, length, shape, generator=g)


@given(lists(), st.sampled_from(["set", "sum", "mean", "merge"]))
@settings(max_examples=120)
def test_gathered_and_scattered_one_by_one(drawn: tuple[Tensor, Tensor], how: str) -> None:
    """Token by token: what stands in a list once is gathered; what comes back is its first, its sum or its mean."""
    x, members = drawn
    wide = members if members.dim() == 4 else members[:, None].expand(-1, 2, -1, -1)
    rows, at = an.gather(x, members), an.places(members, x)
    assert rows.shape == (4 * wide.shape[2], 1, wide.shape[3], 3) and at.shape == (4 * wide.shape[2], wide.shape[3])
    g = torch.Generator().manual_seed(0)
    o, lse = (
        torch.randn(rows.shape, generator=g, dtype=torch.float64),
        torch.randn(rows.shape[:3], generator=g).double(),
    )
    found = an.scatter((o, lse) if how == "merge" else o, members, x, how, **({"eps": 0.5} if how == "mean" else {}))
    for b in range(2):
        for h in range(2):
            come: dict[int, list[tuple[Tensor, Tensor]]] = {}
            for n in range(wide.shape[2]):
                sample = (b * 2 + h) * wide.shape[2] + n
                seen: set[int] = set()
                for place, member in enumerate(wide[b, h, n].tolist()):
                    there = member >= 0 and member not in seen
                    assert at[sample, place] == (member if there else -1)
                    if there:
                        seen.add(member)
                        assert torch.equal(rows[sample, 0, place], x[b, h, member])
                        come.setdefault(member, []).append((o[sample, 0, place], lse[sample, 0, place]))
            for token in range(x.shape[2]):
                some = come.get(token, [])
                if how == "merge":
                    total = (
                        torch.stack([s for _, s in some]).logsumexp(0) if some else torch.tensor(-torch.inf).double()
                    )
                    each = [(s - total).exp() * r for r, s in some]
                    torch.testing.assert_close(found[1][b, h, token], total)
                    torch.testing.assert_close(found[0][b, h, token], sum(each, torch.zeros(3).double()))
                    continue
                total = sum((r for r, _ in some), torch.zeros(3).double())
                if how == "mean" and some:
                    total = total / (len(some) + 0.5)
                if how == "set" and some:
                    total = some[0][0]
                torch.testing.assert_close(found[b, h, token], total)


@given(lists(), st.sampled_from(["set", "sum", "mean", "merge"]))
@settings(max_examples=30)
def test_gathers_and_scatters_have_the_gradients_of_differences(drawn: tuple[Tensor, Tensor], how: str) -> None:
    x, members = drawn
    x = x.requires_grad_()

    def moved(x: Tensor) -> Tensor:
        rows = an.gather(x, members)
        if how != "merge":
            return an.scatter(rows * rows, members, x, how)
        o, lse = an.scatter((rows * rows, rows[..., 0]), members, x, how)
        return o + torch.where(lse > -torch.inf, lse, 0.0)[..., None]

    assert torch.autograd.gradcheck(moved, (x,))


@given(st.integers(1, 20), st.integers(1, 7), st.sampled_from(["mean", "max", "sum"]))
def test_summaries_of_every_block(length: int, block: int, how: str) -> None:
    x = torch.randn(1, 2, length, 3, generator=torch.Generator().manual_seed(length)).double()
    parts = x.split(block, 2)
    expected = torch.stack([{"mean": p.mean(2), "max": p.amax(2), "sum": p.sum(2)}[how] for p in parts], 2)
    torch.testing.assert_close(an.summarise(x, block, how), expected)
    torch.testing.assert_close(
        an.repeat(expected, block, x),
        torch.cat([e.repeat_interleave(p.shape[2], 2) for e, p in zip(expected.split(1, 2), parts, strict=True)], 2),
    )


def test_packed_tokens_stand_in_their_order() -> None:
    bits = torch.tensor([[[0, 1, 1, 0, 1], [0, 0, 0, 0, 0]]])
    like = torch.zeros(1, 2, 5, 3)
    assert an.pack(bits, like).tolist() == [[[[1, 2, 4, -1, -1]], [[-1] * 5]]]
    assert an.pack(bits, like, most=2).tolist() == [[[[1, 2]], [[-1, -1]]]]
    with pytest.raises(ShapeError, match=r"bits are \[1, 2, 5\]"):
        an.pack(bits[..., :4], like)
    with pytest.raises(GraphError, match="a number of places"):
        an.pack(bits, like, most=0)


def test_lists_that_do_not_fit_are_refused() -> None:
    x, lists = torch.zeros(1, 2, 5, 4), torch.zeros(1, 2, 3, 2, dtype=torch.int32)
    uses = lambda at: an.gather(x, at), lambda at: an.places(at, x), lambda at: an.scatter(x, at, x, "sum")
    for wrong in (lists[0, 0], [[0, 1]]):
        for use in uses:
            with pytest.raises(ShapeError, match=r"lists are \[B, H, n, places\]"):
                use(wrong)
    with pytest.raises(ShapeError, match=r"gathered tokens \[3, H, S, D\], not \[1, 2, 5, 4\]"):
        an.gather(x, lists.expand(3, -1, -1, -1))
    with pytest.raises(DtypeError, match="a graph are tensors, not list"):
        an.csr([0, 1], [0])


def test_hash_buckets_and_clusters_by_hand() -> None:
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])[None, None]
    assert an.hash_buckets(x, torch.eye(2)).tolist() == [[0, 2, 1, 3]]
    centroids = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    assert an.clusters(x, centroids, 2).tolist() == [[[[0, 2], [0, 1]]]]  # of equal products the lower token
    assert an.clusters(x[:, :, :1], centroids, 2).tolist() == [[[[0, -1], [0, -1]]]]
    with pytest.raises(RouteError, match=r"\[C, 2\]"):
        an.clusters(x, torch.zeros(3, 5), 2)
    with pytest.raises(RouteError, match=r"\[2, n\]"):
        an.hash_buckets(x, torch.zeros(3, 5))
