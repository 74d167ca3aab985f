"""Expressions as Triton text: what is computed once, what is computed for every pair, and that it is right."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import attnir as an
from attnir import expr as ex
from attnir.codegen.triton.expressions import Printer, Shape, Text, separated
from attnir.codegen.triton.operations import ATOM
from attnir.expr import Expr, K, Q
from attnir.ops import FieldDecl, ParamDecl
from attnir.testing.case import Case
from attnir.traverse import substitute
from tests.checks import check

W = ex.param(ParamDecl("w"))
DOC = FieldDecl("doc", sorted=True)
SHAPES = {"q": Shape.ROW, "k": Shape.COLUMN}


class Names:
    """A printer of tiles with query rows, and what it computed once."""

    def __init__(self) -> None:
        self.defined: list[str] = []
        self.show = Printer(self.leaf, self.define)

    def leaf(self, e: Expr) -> Text:
        if isinstance(e.value, FieldDecl):
            return Text(f"f_doc_{e.args[0].value}", ATOM, SHAPES[str(e.args[0].value)])
        name = e.value.name if isinstance(e.value, ParamDecl) else str(e.value)
        return Text(name, ATOM, SHAPES.get(name, Shape.SCALAR))

    def define(self, e: Expr, source: str, shape: Shape) -> str:
        self.defined.append(source)
        return f"{'row' if shape is Shape.ROW else 'column'}_{len(self.defined) - 1}"


@pytest.mark.parametrize(
    ("e", "text", "once"),
    [
        (K <= Q, "q[:, None] >= k[None, :]", []),
        (Q - K <= 9, "row_0[:, None] <= k[None, :]", ["q - 9"]),
        (Q - K < W, "row_0[:, None] < k[None, :]", ["q - w"]),
        (ex.eq((Q - K) % 3, 0), "row_0[:, None] == column_1[None, :]", ["q % 3", "k % 3"]),
        (ex.eq(ex.field(DOC, Q), ex.field(DOC, K)), "f_doc_q[:, None] == f_doc_k[None, :]", []),
        (ex.absolute(Q - K) <= 4, "tl.abs(q[:, None] - k[None, :]) <= 4", []),
        ((Q < 8) & (K <= Q), "row_0[:, None] & (q[:, None] >= k[None, :])", ["q < 8"]),
        (~((K <= Q) & (K < 5)), "~((q[:, None] >= k[None, :]) & column_0[None, :])", ["k < 5"]),
        ((Q + K) // 8 < 3, "(q[:, None] + k[None, :]) // 8 < 3", []),
        ((Q - K) // 8 < 3, "(q[:, None] - k[None, :]) >> 3 < 3", []),
    ],
)
def test_what_costs_something_for_every_pair(e: Expr, text: str, once: list[str]) -> None:
    names = Names()
    shown = names.show.tile(e).source
    assert (shown, names.defined) == (text, once)


@pytest.mark.parametrize(
    ("e", "text"),
    [
        ((Q - 100) // 8, "(q - 100) >> 3"),
        ((Q - 100) // 7, "floor_div((q - 100), 7)"),
        ((Q - 100) % 8, "(q - 100) & 7"),
        ((Q - 100) % 7, "floor_mod((q - 100), 7)"),
        (ex.maximum(Q - 100, 0) // 7, "tl.maximum(q - 100, 0) // 7"),
        ((ex.maximum(ex.Q_START, Q) - ex.Q_START) // 7, "(tl.maximum(q_start, q) - q_start) // 7"),
        (Q * 16, "q.to(tl.int64) * 16"),
        (Q - W * 2, "q.to(tl.int64) - w.to(tl.int64) * 2"),
        (ex.field(DOC, Q) + 1, "f_doc_q.to(tl.int64) + 1"),
    ],
)
def test_rounding_and_width(e: Expr, text: str) -> None:
    assert Names().show(e) == text


def test_separating_keeps_the_meaning() -> None:
    shape: Callable[[Expr], Shape] = Names().show.shape
    for e in (Q - K <= 3, K - Q < 2, 2 * Q - 3 * K >= 1, ex.ne((Q + 2 * K) % 5, 0), ex.eq((K - Q) % 4, 0), K <= Q):
        apart = separated(e, shape)
        for q in range(12):
            for k in range(12):
                at = {Q: ex.const(q), K: ex.const(k)}
                assert substitute(apart, at) is substitute(e, at), (e, apart)


ODD = {
    "floor of negatives": an.mask(lambda q, k: ((q - k - 100) // 7 % 2 == 0) & ((k - 70) // 16 < 2)),
    "remainder of negatives": an.mask(lambda q, k: (q - 2 * k) % 5 < 3),
    "a negative divisor": an.mask(lambda q, k: (q - k) % -3 > -2),
    "beyond 32 bits": an.mask(lambda q, k: (q * 1_000_003 * 7919 - k) % 11 < 6),
    "per head and sample": an.mask(lambda q, k, b, h: (q + b) // (h + 1) % 2 == k // (h + 1) % 2),
}


@pytest.mark.skipif(torch.cuda.is_available(), reason="the GPU suite has its own cases")
@pytest.mark.parametrize("name", ODD)
def test_odd_arithmetic_in_a_kernel(name: str) -> None:
    config = {kind: an.Config(64, 64, 4, 1) for kind in ("forward", "dq", "dkv")}
    check("triton", Case(ODD[name], q_len=130, batch=2, heads=2, d=16), config=config)
