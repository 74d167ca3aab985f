"""Tokens in the order of a label: which predicates have one, the facts about places, and exact walks over them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import attnir as an
from attnir import expr as ex
from attnir.arrange import arrange
from attnir.call import Call
from attnir.evaluate import dense_mask
from attnir.labels import BASE, ORDER, STEP, TOKEN, in_order, label_of, ranges_of
from attnir.live import live_pairs_of
from attnir.ops import Side
from attnir.program_text import read_program
from attnir.testing.expressions import KIND, bounds, calls
from attnir.walk import pair_map

C, D, DOC = an.field("c"), an.field("mark"), an.field("doc", sorted=True)
W = an.param("w")
SAME = an.mask(lambda q, k: C(q) == C(k))

LABELLED: dict[str, tuple[an.Mask, str | None]] = {
    "equal": (SAME, "c(k)"),
    "the other way round": (an.mask(lambda q, k: C(k) == C(q)), "c(k)"),
    "with bounds": (SAME & an.window(9, 0), "c(k)"),
    "of several": (an.mask(lambda q, k: C(q) // 2 + D(q) == C(k) // 2 + D(k)), "c(k) // 2 + mark(k)"),
    "in every disjunct": ((SAME & an.causal()) | (SAME & an.mask(lambda k: k < 4)), "c(k)"),
    "in one disjunct alone": (SAME | an.mask(lambda k: k < 4), None),
    "not equal": (~SAME, None),
    "two fields": (an.mask(lambda q, k: C(q) == D(k)), None),
    "shifted": (an.mask(lambda q, k: C(q) == C(k) + 1), None),
    "with positions": (an.mask(lambda q, k: C(q) + q == C(k) + k), None),
    "with a parameter": (an.mask(lambda q, k: C(q) // an.param("n", low=1) == C(k) // an.param("n", low=1)), None),
    "sorted": (an.mask(lambda q, k: DOC(q) == DOC(k)), None),
    "no fields": (an.mask(lambda q, k: q // 4 == k // 4), None),
    "everything": (an.full(), None),
}


@pytest.mark.parametrize("name", LABELLED)
def test_what_has_a_label(name: str) -> None:
    mask, expected = LABELLED[name]
    found = label_of(mask.predicate)
    assert (None if found is None else str(found)) == expected


def bound(c: tuple[torch.Tensor, torch.Tensor], batch: int = 1, q_start: int | None = None) -> Call:
    sizes = {"q_len": c[0].shape[-1], "k_len": c[1].shape[-1]}
    return SAME.signature.bind({"c": c}, batch=batch, heads=1, q_start=q_start, **sizes)


def test_the_facts_about_places() -> None:
    queries, keys = torch.tensor([7, 2, 5, 2]), torch.tensor([5, 2, 9, 5, 2])
    placed = in_order(bound((queries, keys), q_start=10), ex.field(C.decl, ex.K))
    token, order, base = (placed.fields[d.name] for d in (TOKEN, ORDER, BASE))
    assert placed.fields["c"].keys.tolist() == [[2, 2, 5, 5, 9]]
    assert placed.fields["c"].queries.tolist() == [[2, 2, 5, 7]]
    assert token.keys.tolist() == [[1, 4, 0, 3, 2]]
    assert token.queries.tolist() == [[11, 13, 12, 10]]
    assert order.keys.tolist() == [[1, 4, 2 * STEP, 2 * STEP + 3, 4 * STEP + 2]]
    assert base.queries.tolist() == [[0, 0, 2 * STEP, 4 * STEP - STEP // 2]]  # no key has the label 7
    assert base.keys.tolist() == [[0, 0, 2 * STEP, 2 * STEP, 4 * STEP - STEP // 2]]  # no query has the label 9


@given(st.data())
def test_facts_ascend_and_name_every_token_once(data: st.DataObject) -> None:
    values = st.lists(st.integers(-3, 3), min_size=1, max_size=9)
    queries, keys = (torch.tensor(data.draw(values)) for _ in range(2))
    placed = in_order(bound((queries, keys)), ex.field(C.decl, ex.K))
    for side in Side:
        for decl in (ORDER, BASE):
            assert bool((placed.fields[decl.name].on(side).diff() >= 0).all())
        token = placed.fields[TOKEN.name].on(side)[0]
        assert sorted(token.tolist()) == placed.positions(side).tolist()


WALKED = {
    "equal": SAME,
    "causal": SAME & an.causal(),
    "window": SAME & an.window(9, 2),
    "window at run time": SAME & an.window(W, 0),
    "per head": SAME & an.mask(lambda q, k, h: q - k < 8 * (h + 1)) & an.causal(),
    "two ranges": (SAME & an.causal() & an.window(3, 0)) | (SAME & an.mask(lambda k: k < 9)),
    "marked keys": SAME & an.causal() & an.mask(lambda k: D(k) != 0),
    "sorted facts of keys": SAME & an.mask(lambda k: (DOC(k) > 1) & (DOC(k) < 9)),
    "coarser": an.mask(lambda q, k: C(q) // 2 == C(k) // 2),
}


def bindings_of(mask: an.Mask, q: torch.Tensor, k: torch.Tensor) -> dict[str, object]:
    """What a mask reads, where these are the labels."""
    in_runs = torch.arange(q.shape[-1]) // 3, torch.arange(k.shape[-1]) // 3
    given: dict[str, object] = {"c": (q, k), "mark": (q % 2, k % 2), "w": 7, "doc": in_runs}
    return {d.name: given[d.name] for d in (*mask.fields, *mask.params)}


SHAPES = [(1, 1, 40, 40, None), (2, 2, 33, 50, None), (2, 1, 50, 33, 3), (1, 1, 7, 20, 5), (1, 2, 20, 7, 0)]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", WALKED)
def test_walks_are_exact(name: str, shared: bool, transposed: bool) -> None:
    mask, g = WALKED[name], torch.Generator().manual_seed(0)
    for batch, heads, q_len, k_len, q_start in SHAPES:
        samples = (1,) if shared else (batch,)
        q, k = (torch.randint(-2, 5, (*samples, n), generator=g) for n in (q_len, k_len))
        call = mask.signature.bind(
            bindings_of(mask, q, k),
            batch=batch,
            heads=heads,
            q_len=q_len,
            k_len=k_len,
            q_start=q_start,
        )
        found = arrange(mask.predicate, mask.spaces, (8, 4), transposed)
        (ordered,) = (c for c in (found.taken, *found.others) if c.ordered)
        assert ordered is found.taken and not ordered.listed
        ((program,),) = ordered.launches
        assert read_program(str(program)) == program
        live = dense_mask(mask.predicate, call).expand(batch, heads, -1, -1)
        assert torch.equal(pair_map((program,), call).live, live.long())


@given(st.data())
def test_random_conditions_beside_a_label(data: st.DataObject) -> None:
    rest = data.draw(st.one_of(bounds, st.builds(ex.and_, bounds, bounds)))
    predicate = ex.eq(ex.field(KIND, ex.Q), ex.field(KIND, ex.K)) & rest
    call = data.draw(calls(predicate, longest=12))
    for transposed in (False, True):
        found = arrange(predicate, (None, None), (4, 2), transposed)
        for candidate in (found.taken, *found.others):
            live = dense_mask(predicate, call).expand(call.batch, call.heads, -1, -1)
            walked = pair_map([p for programs in candidate.launches for p in programs], call)
            assert torch.equal(walked.live, live.long()), candidate.name


def test_scattered_labels_cost_what_sorted_ones_do() -> None:
    labels = torch.randint(0, 16, (4096,), generator=torch.Generator().manual_seed(0))
    scattered = an.compile(SAME & an.causal()).explain(4096, tile=(64, 64), c=labels)
    in_runs = an.compile(an.mask(lambda q, k: DOC(q) == DOC(k)) & an.causal())
    aligned = in_runs.explain(4096, tile=(64, 64), doc=labels.sort().values)
    assert scattered.live_pairs == aligned.live_pairs
    assert scattered.over_compute < 1.1 * aligned.over_compute < 3
    assert "order by c(k)" in str(scattered) and scattered.metadata_bytes <= 4096 * 48


@pytest.mark.parametrize("name", WALKED)
def test_live_pairs_are_counted_by_ranges(name: str) -> None:
    mask, g = WALKED[name], torch.Generator().manual_seed(1)
    for batch, heads, q_len, k_len, q_start in SHAPES:
        q, k = (torch.randint(-2, 5, (batch, n), generator=g) for n in (q_len, k_len))
        bindings = bindings_of(mask, q, k)
        call = mask.signature.bind(bindings, batch=batch, heads=heads, q_len=q_len, k_len=k_len, q_start=q_start)
        live = dense_mask(mask.predicate, call).expand(batch, heads, -1, -1)
        assert live_pairs_of(mask.predicate, mask.spaces, call) == int(live.sum())


@pytest.mark.parametrize("rest", [lambda q, k: D(k) <= D(q), lambda q, k: DOC(k) == DOC(q)])
def test_facts_that_lie_closer_in_another_order_are_listed(rest: Callable[..., object]) -> None:
    mask = SAME & an.mask(rest)
    assert ranges_of(mask.predicate, ex.field(C.decl, ex.K), Side.QUERIES) is None
    assert arrange(mask.predicate, mask.spaces, (64, 64), False).taken.listed
