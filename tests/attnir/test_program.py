"""Tile programs: what makes one well formed, and what each broken rule says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from attnir import expr as ex
from attnir.axes import KEYS, QUERIES, sequence
from attnir.cover import cover
from attnir.errors import InvalidProgram
from attnir.expr import K_LEN, SIDES, Expr, H, K, Q, const, side_of, sym
from attnir.ops import FieldDecl, Op, ParamDecl, Searched, Side
from attnir.program import Listed, Status, Sweep, TileProgram
from tests.patterns import PATTERNS

CAUSAL = cover(K <= Q, (128, 64))
Q0, Q1 = sym("q0"), sym("q1")
DOC = FieldDecl("doc", sorted=True)
TABLE = ex.row_table(Op.LOWER_BOUND, Searched(DOC, Side.KEYS), ex.field(DOC, Q), Q0)
ROWMAX = ex.build(Op.ROWMAX, (Q % 3,))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("name", PATTERNS)
def test_covers_are_well_formed(name: str, transposed: bool) -> None:
    program = cover(PATTERNS[name].mask(3).predicate, (16, 8), transposed=transposed)
    program.verify()
    assert program.transposed is transposed
    assert program.rows.axes == ((KEYS if transposed else QUERIES),)


def sweep(start: Expr | int, stop: Expr | int) -> tuple[Sweep, ...]:
    return (Sweep((ex.wrap(start),), (ex.wrap(stop),), Status.PARTIAL),)


@pytest.mark.parametrize(
    "change, problem",
    [
        ({"rows": sequence(Side.QUERIES, 0)}, r"tile \(0, 64\) is empty"),
        ({"predicate": Q - K}, "`q - k` is not Boolean"),
        ({"predicate": Q0 < K}, "the predicate reads q0"),
        ({"predicate": Q < K_LEN}, "the predicate reads k_len"),
        ({"visits": sweep(0, K)}, "`k` reads `k`, which is not known there"),
        ({"visits": sweep(0, Q)}, "`q` reads `q`, which is not known there"),
        ({"visits": sweep(0, sym("stop"))}, "reads `stop`"),
        ({"visits": sweep(0, sym("k0"))}, "reads `k0`"),
        ({"visits": sweep(0, ROWMAX + Q)}, "reads `q`"),  # known under the reduction, not beside it
        ({"visits": sweep(0, ex.build(Op.ROWMAX, (K,)))}, "reads `k`"),
        ({"visits": sweep(0, ex.row_table(Op.LOWER_BOUND, Searched(DOC, Side.KEYS), Q, Q))}, "reads `q`"),
        ({"visits": sweep(0, ex.row_table(Op.LOWER_BOUND, Searched(DOC, Side.KEYS), K, Q0))}, "reads `k`"),
        ({"lets": (("a", sym("b_") + 1), ("b_", Q0)), "visits": sweep(0, 1)}, "reads `b_`"),  # defined later
        ({"lets": (("a", Q0), ("a", Q1)), "visits": sweep(0, 1)}, "`a` is defined twice"),
        ({"lets": (("q0", const(0)),), "visits": sweep(0, 1)}, "`q0` is defined twice"),
        ({"lets": (("k0", const(0)),), "visits": sweep(0, 1)}, "`k0` is defined twice"),  # the other side's tile end
        ({"visits": (Listed(Status.FULL), *sweep(0, 1))}, "do not mix"),
    ],
)
def test_what_breaks_a_rule(change: dict[str, object], problem: str) -> None:
    broken = replace(CAUSAL, **{"lets": (), "visits": (), **change})  # type: ignore[arg-type]
    with pytest.raises(InvalidProgram, match=problem):
        broken.verify()


@pytest.mark.parametrize(
    "visits",
    [
        sweep(0, ROWMAX + Q0),
        sweep(0, TABLE),
        sweep(H, ex.param(ParamDecl("w")) + K_LEN),
        sweep(0, ex.field(DOC, Q1)),
        sweep(0, ex.build(Op.ROWMIN, (ex.field(FieldDecl("kind"), Q),))),
    ],
)
def test_what_keeps_the_rules(visits: tuple[Sweep, ...]) -> None:
    replace(CAUSAL, lets=(), visits=visits).verify()


def test_a_scalar_may_be_named_like_a_side() -> None:
    lets = (("q0_", Q0 + 1), ("quota", sym("q0_") * 2), ("keys", sym("quota") + 1))
    program = replace(CAUSAL, lets=lets, visits=sweep(0, sym("keys")))
    program.verify()
    assert not {sym(name) for name, _ in lets} & SIDES.keys()


def test_positions_know_their_side() -> None:
    assert {side_of(e) for e in (Q, Q0, Q1)} == {Side.QUERIES}
    assert {side_of(e) for e in (K, ex.K0, ex.K1)} == {Side.KEYS}
    assert (QUERIES.side, KEYS.side) == (Side.QUERIES, Side.KEYS) == (Side.KEYS.other, Side.QUERIES.other)


def test_the_error_shows_the_program() -> None:
    with pytest.raises(InvalidProgram, match="tiles of 128 q by 64 k\n"):
        replace(CAUSAL, visits=sweep(0, K)).verify()


def test_the_row_tables_of_a_program() -> None:
    same = cover(ex.eq(ex.field(DOC, Q), ex.field(DOC, K)), (128, 64))
    assert sorted(map(str, same.tables())) == ["lower_bound(doc(k), doc(q), q)", "upper_bound(doc(k), doc(q), q)"]
    turned = cover(ex.eq(ex.field(DOC, Q), ex.field(DOC, K)), (128, 64), transposed=True)
    assert sorted(map(str, turned.tables())) == ["lower_bound(doc(q), doc(k), k)", "upper_bound(doc(q), doc(k), k)"]
    assert CAUSAL.tables() == ()


def test_programs_are_values() -> None:
    assert CAUSAL == cover(K <= Q, (128, 64))
    assert hash(CAUSAL) == hash(cover(K <= Q, (128, 64)))
    assert CAUSAL != cover(K <= Q, (64, 64))
    assert isinstance(CAUSAL, TileProgram)
