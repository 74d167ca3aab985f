"""Expressions: interned nodes, constructors that fold without changing the meaning, replacement."""

from __future__ import annotations

import copy
import gc
import operator
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from attnir import expr as ex
from attnir.expr import FALSE, TRUE, ZERO, B, Expr, H, K, Q, const, sym
from attnir.ops import FieldDecl, Op, ParamDecl, Searched, Side
from attnir.testing import expressions as some
from attnir.testing.meaning import meaning
from attnir.traverse import at_position, contains, fields_of, nodes, params_of, reads, rebuild, substitute

TOKENS = {"q": 11, "k": 6, "b": 1, "h": 3, "w": 17, "shift": -4, "stop": 5, "wide": -(2**30)}
W = ex.param(ParamDecl("w"))


def test_equal_structure_is_the_same_node() -> None:
    assert (Q - K <= W) is (sym("q") - sym("k") <= ex.param(ParamDecl("w")))
    assert (Q - K <= W) is not (Q - K < W)
    assert ex.field(FieldDecl("doc"), Q) is not ex.field(FieldDecl("doc", sorted=True), Q)
    assert ex.param(ParamDecl("w")) is not ex.param(ParamDecl("w", low=0))
    assert const(1) is not TRUE  # 1 == True in Python, and hashes alike
    assert const(0) is not FALSE


def test_nodes_are_immutable() -> None:
    with pytest.raises(AttributeError):
        Q.value = "k"  # type: ignore[misc]


def test_nodes_that_nobody_holds_are_forgotten() -> None:
    gc.collect()
    before = len(ex._table)
    e = Q
    for i in range(100):
        e = e * const(1000 + i) + K
    assert len(ex._table) >= before + 200
    del e
    gc.collect()
    assert len(ex._table) <= before + 2


def test_threads_build_the_same_nodes() -> None:
    def build(_: int) -> list[Expr]:
        return [(Q * i - K) % (i + 7) for i in range(300)]

    with ThreadPoolExecutor(8) as pool:
        first, *others = pool.map(build, range(16))
    assert all(a is b for other in others for a, b in zip(first, other, strict=True))


@given(some.predicates)
def test_pickled_and_copied_nodes_are_the_same_nodes(p: Expr) -> None:
    assert pickle.loads(pickle.dumps(p)) is p
    assert copy.copy(p) is p
    assert copy.deepcopy(p) is p


def test_a_pickle_does_not_need_the_original() -> None:
    text = pickle.dumps(ex.row_table(Op.LOWER_BOUND, Searched(FieldDecl("doc", True), Side.KEYS), Q + 12345, Q))
    gc.collect()
    assert str(pickle.loads(text)) == "lower_bound(doc(k), q + 12345, q)"


def test_an_expression_has_no_truth_value() -> None:
    with pytest.raises(TypeError, match="no truth value"):
        bool(K <= Q)


@pytest.mark.parametrize(
    "folded, expected",
    [
        (Q + 0, Q),
        (0 + Q, Q),
        (Q - 0, Q),
        (Q - Q, ZERO),
        (Q * 1, Q),
        (1 * Q, Q),
        (Q * 0, ZERO),
        (Q // 1, Q),
        (Q % 1, ZERO),
        (Q + -3, Q - 3),
        (Q - -3, Q + 3),
        (ex.neg(ex.neg(Q)), Q),
        (ex.absolute(ex.absolute(Q)), ex.absolute(Q)),
        (ex.minimum(Q, Q), Q),
        (ex.maximum(Q, Q), Q),
        (ex.where(TRUE, Q, K), Q),
        (ex.where(FALSE, Q, K), K),
        (ex.where(Q < K, B, B), B),
        (~(~(Q < K)), Q < K),
        ((Q < K) & TRUE, Q < K),
        (FALSE | (Q < K), Q < K),
        ((Q < K) & FALSE, FALSE),
        ((Q < K) | TRUE, TRUE),
        ((Q < K) & (Q < K), Q < K),
        (Q <= Q, TRUE),
        (Q < Q, FALSE),
        (ex.eq(Q, Q), TRUE),
        (ex.ne(Q, Q), FALSE),
    ],
)
def test_what_constructors_fold(folded: Expr, expected: Expr) -> None:
    assert folded is expected


_INTEGERS = {Op.ADD: operator.add, Op.SUB: operator.sub, Op.MUL: operator.mul, Op.MIN: min, Op.MAX: max}
_INTEGERS |= {Op.FLOORDIV: operator.floordiv, Op.MOD: operator.mod}


@given(st.sampled_from(sorted(_INTEGERS, key=lambda op: op.name)), st.integers(-50, 50), st.integers(-50, 50))
def test_constants_fold_as_python_computes(op: Op, a: int, b: int) -> None:
    assume(b or op not in (Op.FLOORDIV, Op.MOD))
    assert ex.build(op, (const(a), const(b))) is const(_INTEGERS[op](a, b))


@pytest.mark.parametrize("a, b, quotient, remainder", [(7, 2, 3, 1), (-7, 2, -4, 1), (7, -2, -4, -1), (-7, -2, 3, -1)])
def test_division_rounds_down(a: int, b: int, quotient: int, remainder: int) -> None:
    assert const(a) // b is const(quotient)
    assert const(a) % b is const(remainder)


@pytest.mark.parametrize("make", [ex.floordiv, ex.mod])
def test_division_by_the_constant_zero(make: object) -> None:
    with pytest.raises(ZeroDivisionError):
        make(Q, ZERO)  # type: ignore[operator]


@given(some.bare)
def test_rebuilding_changes_nothing(e: Expr) -> None:
    assert rebuild(e, lambda _: None) is e
    assert substitute(e, {}) is e


@given(some.bare, some.bare, some.bare)
@settings(max_examples=100)
def test_substitution_is_evaluation_in_changed_tokens(e: Expr, for_q: Expr, for_k: Expr) -> None:
    changed = substitute(e, {Q: for_q, K: for_k})
    tokens = {**TOKENS, "q": meaning(for_q, TOKENS), "k": meaning(for_k, TOKENS)}
    assert meaning(changed, TOKENS) == meaning(e, tokens)


def test_substitution_replaces_all_at_once() -> None:
    assert substitute(Q - K, {Q: K, K: Q}) is K - Q
    assert substitute(Q - K + 1, {Q - K: H}) is H + 1


def test_a_position_reads_a_table_there_and_leaves_its_definition() -> None:
    doc = FieldDecl("doc", sorted=True)
    table = ex.row_table(Op.LOWER_BOUND, Searched(doc, Side.KEYS), ex.field(doc, Q), Q)
    moved = at_position(table + Q, Q, sym("q0"))
    assert str(moved) == "lower_bound(doc(k), doc(q), q0) + q0"


@given(some.predicates)
def test_a_walk_yields_every_node_once_and_arguments_first(p: Expr) -> None:
    order = list(nodes(p))
    assert len(order) == len(set(order))
    assert order[-1] is p
    place = {n: i for i, n in enumerate(order)}
    assert all(place[a] < place[n] for n in order for a in n.args)


def test_what_an_expression_reads() -> None:
    doc, kind = FieldDecl("doc", True), FieldDecl("kind")
    e = (ex.field(kind, Q) < W) & ex.eq(ex.field(doc, K), H)
    assert fields_of(e) == (doc, kind)
    assert params_of(e) == (ParamDecl("w"),)
    assert reads(e) == {"q", "k", "h"}
    assert contains(e, W)
    assert not contains(e, B)
    table = ex.row_table(Op.UPPER_BOUND, Searched(doc, Side.KEYS), Q, Q)
    assert fields_of(table) == (doc,)
