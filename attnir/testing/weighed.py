"""Random normalisers and factors: sinks, landmarks, weights that are functions of scores, dropout, learned factors."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

import attnir as an
from attnir import expr as ex
from attnir import real
from attnir.expr import Expr
from attnir.ops import TensorDecl
from attnir.real import SCORE, tensors_read
from attnir.testing.drawing import often
from attnir.testing.expressions import bare_row_values, bounds, chance, read
from attnir.traverse import reads
from attnir.value import Value

SINK, RESTS = an.tensor("sink", "h"), an.tensor("rests", "b", "h", "q")
SHARE = TensorDecl("share", ("h",), real=True)
KEEP = TensorDecl("keep", ("b", "h", "q", "k"), real=True)

sinks = st.one_of(
    st.sampled_from([SINK, RESTS, 0.0, -1.5]),
    bare_row_values(ex.Q).map(lambda e: lambda q: 0.125 * an.clip(Value(e), -40, 40)),
    st.just(lambda h, q: SINK[h] - 0.125 * (q % 5)),
)


def _positive(s: Expr) -> list[Expr]:
    """Weights that are never negative."""
    square = real.mul(real.maximum(s, real.ZERO), real.maximum(s, real.ZERO))
    return [
        real.sigmoid(s),
        square,
        real.exp(real.minimum(s, real.real(3.0))),
        real.add(real.ONE, real.add(s, real.mul(s, real.mul(s, real.real(0.5))))),
        real.maximum(real.add(real.tanh(s), real.real(0.25)), real.ZERO),
    ]


scaled = st.sampled_from([1.0, 1.0, 0.5, -1.0]).map(lambda n: real.mul(SCORE, real.real(n)))
moved = st.builds(real.add, scaled, st.one_of(st.sampled_from([-1.0, 0.5]).map(real.real), read))
positive = often(scaled, scaled, moved).flatmap(lambda s: st.sampled_from(_positive(s)))
marked = st.builds(an.softmax, sink=often(st.none(), sinks), landmarks=st.sampled_from([16, 16, 32, 64, 128]))
divided = positive.map(lambda e: an.Weights(e, divided=True))
normalizers = often(
    sinks.map(lambda sink: an.softmax(sink=sink)),
    marked,
    marked,
    marked,
    divided,
    divided,
    positive.map(lambda e: an.Weights(e, divided=False)),
    scaled.map(lambda e: an.Weights(e, divided=False)),
)


def normalizers_of(score: Expr) -> st.SearchStrategy[Any]:
    """A normaliser; where a score reads tensors by row, half of them have a sink that reads one of these as well."""
    of_rows = [n for _, n in tensors_read(score) if "k" not in reads(n)]
    if not of_rows:
        return normalizers
    return often(normalizers, st.sampled_from(of_rows).map(lambda n: an.softmax(sink=lambda: Value(n))))


numbers = st.one_of(
    st.sampled_from([0.0, 1.0, 2.0, -0.5]).map(real.real),
    st.just(ex.read(SHARE, [ex.H])),
    st.just(real.sigmoid(ex.read(KEEP, [ex.B, ex.H, ex.Q, ex.K]))),
    read.map(real.tanh),
)
factors = st.one_of(
    st.sampled_from([0.25, 0.5]).map(an.dropout),
    chance.map(an.Factor),
    st.builds(real.where, bounds, numbers, numbers).map(lambda e: an.Factor(real.of_integer(e))),
    numbers.map(an.Factor),
)
