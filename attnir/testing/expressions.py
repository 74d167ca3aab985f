"""Random predicates over the whole language, and random calls for them.

Two kinds of predicate are drawn: trees over every operation, and conjunctions and unions of bounds like those that
people write, which the solver turns into bands. Values stay small enough that no product leaves 64 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch
from hypothesis import strategies as st
from torch import Tensor

from attnir import expr as ex
from attnir import real
from attnir.call import Call
from attnir.expr import Expr
from attnir.limits import predicate_problem
from attnir.ops import COMPARISONS, FieldDecl, Op, ParamDecl, SelectionDecl, TensorDecl
from attnir.signature import Signature
from attnir.testing.drawing import often, one_of_these
from attnir.traverse import fields_of, numbers_of, params_of, reals_of, selections_of

WIDTH = ParamDecl("w", 0, 40)
SHIFT = ParamDecl("shift", -20, 20)
BLOCK = ParamDecl("stop", 1, 9)  # a name that tile programs use as well
WIDE = ParamDecl("wide")  # anything up to +- 2**30, whose multiples leave 32 bits
DOC = FieldDecl("doc", sorted=True)
START = FieldDecl("start", sorted=True)  # so is this one
KIND = FieldDecl("kind")

_COMPARISONS = sorted(COMPARISONS, key=lambda op: op.value)
tokens = st.sampled_from([ex.Q, ex.K])
fields = st.sampled_from([DOC, START, KIND])
reads = st.builds(ex.field, fields, tokens)
small_params = st.sampled_from([WIDTH, SHIFT, BLOCK]).map(ex.param)
constants = st.integers(-9, 30).map(ex.const)
others = st.one_of(constants, st.sampled_from([ex.B, ex.H]), small_params)
leaves = often(tokens, tokens, others, reads)


def _divisors(integers: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    """Divisors that cannot be zero, of either sign."""
    return st.one_of(
        st.integers(-8, 8).filter(bool).map(ex.const),
        st.just(ex.param(BLOCK)),
        st.just(ex.H + 1),
        integers.map(lambda e: ex.absolute(e) + 1),
        integers.map(lambda e: -1 - ex.absolute(e)),
    )


def _compare(integers: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    return st.builds(ex.compare, st.sampled_from(_COMPARISONS), integers, integers)


def _larger(integers: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    return st.one_of(
        st.builds(ex.add, integers, integers),
        st.builds(ex.sub, integers, integers),
        st.builds(ex.mul, integers, st.one_of(constants, integers)),
        st.builds(ex.minimum, integers, integers),
        st.builds(ex.maximum, integers, integers),
        st.builds(ex.floordiv, integers, _divisors(integers)),
        st.builds(ex.mod, integers, _divisors(integers)),
        integers.map(ex.neg),
        integers.map(ex.absolute),
        st.builds(ex.where, _compare(integers), integers, integers),
    )


integers = st.recursive(leaves, _larger, max_leaves=5)
bare = st.recursive(often(tokens, tokens, others), _larger, max_leaves=6)  # of no field


@cache
def row_values(row: Expr) -> st.SearchStrategy[Expr]:
    """Integers that read no column: what bounds a row's columns."""
    token = st.just(row)
    return st.recursive(often(token, token, others, st.builds(ex.field, fields, token)), _larger, max_leaves=4)


@cache
def bare_row_values(row: Expr) -> st.SearchStrategy[Expr]:
    """Those that read no field either."""
    return st.recursive(often(st.just(row), st.just(row), others), _larger, max_leaves=4)


def _joined(conditions: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    return st.one_of(
        st.builds(ex.and_, conditions, conditions),
        st.builds(ex.or_, conditions, conditions),
        conditions.map(ex.not_),
    )


trees = st.recursive(_compare(integers), _joined, max_leaves=4)


@st.composite
def _bound(draw: st.DrawFn) -> Expr:
    """A comparison that bounds one token by the other, in one of the usual shapes."""
    c = st.integers(-12, 24).map(ex.const)
    limit = draw(st.one_of(c, st.sampled_from([WIDTH, SHIFT, WIDE]).map(ex.param), st.just((ex.H + 1) * 3)))
    gap = draw(
        st.sampled_from([ex.Q - ex.K, ex.K - ex.Q, ex.K + ex.Q, ex.K, ex.Q, 2 * ex.K - ex.Q, 3 * ex.Q - 2 * ex.K])
    )
    op = draw(st.sampled_from(_COMPARISONS))
    size = draw(st.integers(1, 9))
    field = draw(fields)
    shapes = [
        ex.compare(op, gap, limit),
        ex.compare(op, gap, limit),
        ex.compare(op, ex.absolute(gap), limit),
        ex.compare(op, ex.Q // ex.const(size), ex.K // ex.const(size)),
        ex.compare(op, gap // ex.const(size), limit),
        ex.compare(op, (gap + draw(c)) % ex.const(size), draw(c)),
        ex.compare(op, ex.field(field, ex.Q), ex.field(field, ex.K)),
        ex.compare(op, ex.field(field, draw(tokens)), draw(c)),
        ex.compare(op, ex.K - ex.field(START, ex.Q), limit),
        ex.compare(op, gap * gap, limit),
        ex.compare(op, draw(tokens) % ex.const(size), draw(st.integers(0, 4).map(ex.const))),
        ex.compare(op, ex.K, ex.minimum(limit, ex.Q + draw(c))),
        ex.compare(op, ex.where(ex.Q % ex.const(size) < 2, gap, limit), draw(c)),
    ]
    return draw(st.sampled_from(shapes))


bounds = _bound()
bounded = st.recursive(bounds, _joined, max_leaves=5)
predicates = often(bounded, bounded, trees).filter(lambda e: not predicate_problem(e))
tiles = st.tuples(st.integers(1, 9), st.integers(1, 9))

_DTYPES = {
    DOC: [torch.int32, torch.int64],
    START: [torch.int64, torch.int16],
    KIND: [torch.int8, torch.bool, torch.int64],
}


@st.composite
def _values(draw: st.DrawFn, decl: FieldDecl, shape: tuple[int, ...]) -> Tensor:
    dtype = draw(st.sampled_from(_DTYPES[decl]))
    low, high = (0, 1) if dtype is torch.bool else (-6, 12)
    count = shape[0] if len(shape) == 1 else shape[0] * shape[1]
    flat = draw(st.lists(st.integers(low, high), min_size=count, max_size=count))
    values = torch.tensor(flat, dtype=torch.int64).view(shape)
    return (values.sort(-1).values if decl.sorted else values).to(dtype)


def _in_range(decl: ParamDecl) -> st.SearchStrategy[int]:
    near = st.integers(max(decl.low, -12), min(decl.high, 24))
    return often(near, near, st.sampled_from([decl.low, decl.high]))


@st.composite
def lists_of(draw: st.DrawFn, s: SelectionDecl, sizes: Mapping[str, int], most: int) -> Tensor:
    """Lists of members up to `most`: some are none, some stand there twice."""
    shape = (*(sizes[a] for a in s.axes), draw(st.integers(1, 6)), draw(st.integers(1, 4)))
    return torch.randint(-1, most + 1, shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 9))))


@st.composite
def calls(draw: st.DrawFn, *roots: Expr, longest: int = 12, batch: int | None = None, heads: int | None = None) -> Call:
    """A call for the fields and parameters below the roots: also q_len > k_len, and queries past the keys."""
    q_len, k_len = draw(st.integers(1, longest)), draw(st.integers(1, longest))
    batch = draw(st.integers(1, 2)) if batch is None else batch
    heads = draw(st.integers(1, 2)) if heads is None else heads
    q_start = draw(st.one_of(st.none(), st.integers(0, 15)))
    start = max(0, k_len - q_len) if q_start is None else q_start
    given: dict[str, object] = {p.name: draw(_in_range(p)) for p in params_of(*roots)}
    for f in fields_of(*roots):
        samples = draw(st.sampled_from([(), (1,), (batch,)]))
        keys = draw(_values(f, (*samples, k_len)))
        alone = start + q_len <= k_len and draw(st.booleans())
        given[f.name] = keys if alone else (draw(_values(f, (*draw(st.sampled_from([(), (batch,)])), q_len))), keys)
    sizes = {"b": batch, "h": heads, "q": q_len, "k": k_len}
    for t in reals_of(*roots):
        shape = [draw(st.sampled_from([sizes[a], 1])) if a in sizes else draw(st.integers(1, 9)) for a in t.axes]
        generator = torch.Generator().manual_seed(draw(st.integers(0, 9)))
        given[t.name] = torch.randn(shape, dtype=torch.float32, generator=generator)
    for s in selections_of(*roots):
        given[s.name] = draw(lists_of(s, sizes, 8))
    given |= {p.name: draw(st.integers(-8, 8)) / 4 for p in numbers_of(*roots)}
    reals, numbers, chosen = reals_of(*roots), numbers_of(*roots), selections_of(*roots)
    signature = Signature(fields_of(*roots), params_of(*roots), reals=reals, numbers=numbers, selections=chosen)
    return signature.bind(given, batch=batch, heads=heads, q_len=q_len, k_len=k_len, q_start=q_start, check=True)


FIELDS = [f"{d.name}({t})" for d in (DOC, START, KIND) for t in "qk"]


def either(low: int, high: int) -> st.SearchStrategy[int]:
    """A value in [low, high]: any, a small one, or an end."""
    return st.one_of(st.integers(low, high), st.integers(max(low, -9), min(high, 40)), st.sampled_from([low, high]))


every_call = st.fixed_dictionaries(
    {name: either(0, 2**28 - 1) for name in "qk"}
    | {name: either(0, 2**20) for name in "bh"}
    | {"w": either(0, 40), "shift": either(-20, 20), "stop": either(1, 9), "wide": either(-(2**30), 2**30)}
    | {name: either(-(2**63), 2**63 - 1) for name in FIELDS}
)


SLOPES, GATE = TensorDecl("slopes", ("h",), real=True), TensorDecl("gate", (), real=True)
TABLE = TensorDecl("table", ("h", "offset"), real=True)
BIAS = TensorDecl("bias", ("b", "h", "q", "k"), real=True)
TIME = TensorDecl("time", ("b", "k"), real=True)
ROWS = TensorDecl("rows", ("q",), real=True)
GAIN, SEED = ParamDecl("gain", real=True), ParamDecl("seed")

read = st.one_of(
    st.just(ex.read(SLOPES, [ex.H])),
    st.just(ex.read(GATE, [])),
    st.just(ex.read(BIAS, [ex.B, ex.H, ex.Q, ex.K])),
    st.just(ex.read(ROWS, [ex.Q])),
    tokens.map(lambda t: ex.read(TIME, [ex.B, t])),
    st.integers(0, 30).map(lambda n: ex.read(TABLE, [ex.H, ex.minimum(ex.absolute(ex.Q - ex.K), n)])),
    st.integers(1, 9).map(lambda n: ex.read(TABLE, [ex.H, ex.K % n])),
    bare_row_values(ex.Q).map(lambda e: ex.read(TABLE, [ex.const(0), e])),
    st.just(ex.read(TABLE, [ex.H, ex.Q - ex.K])),  # which often lies outside
)


def _functions(numbers: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    """Real functions, of arguments with which their values stay small."""
    positive = numbers.map(lambda e: real.add(real.absolute(e), real.real(0.5)))
    return st.one_of(
        numbers.map(real.tanh),
        numbers.map(real.sigmoid),
        numbers.map(lambda e: real.exp(real.minimum(e, real.ONE))),
        positive.map(real.log),
        positive.map(real.sqrt),
        numbers.map(real.absolute),
        st.builds(real.minimum, numbers, numbers),
        st.builds(real.maximum, numbers, numbers),
        st.builds(real.div, numbers, positive),
        numbers.map(lambda e: real.div(e, real.real(4.0))),
        st.builds(
            lambda op, a, x, y: real.where(real.compare(op, a, real.real(0.25)), x, y),
            st.sampled_from([Op.LT, Op.GE]),
            numbers,
            numbers,
            numbers,
        ),
    )


def _scores(numbers: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    real_or_integer = often(numbers, numbers, others, reads)
    return st.one_of(
        st.builds(real.add, numbers, real_or_integer),
        st.builds(real.sub, real_or_integer, numbers),
        st.builds(real.mul, numbers, st.integers(-16, 16).map(lambda n: real.real(n / 8))),
        st.builds(real.where, bounds, numbers, numbers),
        st.builds(real.add, numbers, st.builds(real.log, integers)),
        st.builds(real.where, bounds, numbers, integers.map(real.of_integer)),
        numbers.map(real.neg),
        _functions(numbers),
        _functions(numbers),
    )


@st.composite
def guarded(draw: st.DrawFn) -> tuple[Expr, Expr]:
    """A condition, and a score that is a number where it holds: elsewhere it, or its slope, is infinite or none."""
    n, size = draw(st.integers(0, 12)), draw(st.integers(2, 9))
    gaps = [ex.Q - ex.K + n, ex.K - ex.Q + n, n + 9 - ex.absolute(ex.Q - ex.K), ex.K - n, (ex.Q + ex.K) % size]
    gap = draw(one_of_these(gaps))
    s, size_of = real.SCORE, real.of_integer(gap)
    found = [
        real.div(s, size_of),
        real.sub(s, real.div(real.ONE, size_of)),
        real.add(s, real.log(size_of)),
        real.mul(s, real.log(real.add(size_of, real.ONE))),
        real.mul(s, real.sqrt(size_of)),
        real.div(real.add(s, draw(read)), size_of),
    ]
    return gap > 0, draw(one_of_these(found))


chance = st.sampled_from([(ex.B, ex.H, ex.Q, ex.K), (ex.B, ex.H, ex.K), (ex.Q,), (ex.H, ex.Q - ex.K)]).map(
    lambda counters: real.random(ex.param(SEED), *counters)
)
amounts = st.integers(-32, 32).map(lambda n: real.real(n / 8))
given_numbers = often(read, read, st.just(ex.number(GAIN)), chance)
leaves_of_scores = often(st.just(real.SCORE), st.just(real.SCORE), amounts, given_numbers)
shares = given_numbers.map(lambda e: real.div(e, real.real(4.0)))
added = often(st.just(real.SCORE), amounts, given_numbers, shares)


@st.composite
def _chained(draw: st.DrawFn) -> Expr:
    """What one to three steps make of the score: each operation is as likely as the others."""
    found = real.SCORE
    for _ in range(draw(st.integers(1, 3))):
        steps = _steps(found, draw(added), draw(small), draw(bounds))
        found = draw(one_of_these(steps))
    return found


small = st.sampled_from([ex.K % 4, ex.Q % 3, ex.where(ex.eq(ex.Q % 2, ex.K % 2), 1, 0), ex.minimum(ex.K, 2), ex.H])


def _steps(e: Expr, other: Expr, integer: Expr, condition: Expr) -> list[Expr]:
    positive = real.add(real.absolute(other), real.real(0.5))
    return [
        real.tanh(e),
        real.sigmoid(e),
        real.exp(real.minimum(e, real.ONE)),
        real.log(real.add(real.absolute(e), real.real(0.5))),
        real.sqrt(real.add(real.absolute(e), real.real(0.5))),
        real.absolute(e),
        real.minimum(e, other),
        real.maximum(e, other),
        real.where(real.compare(Op.LT, e, other), other, e),
        real.where(condition, e, other),
        real.where(condition, other, e),
        real.add(e, other),
        real.sub(e, other),
        real.sub(other, e),
        real.mul(e, other),
        real.div(e, positive),
        real.div(other, real.add(real.absolute(e), real.real(0.5))),
        real.div(e, real.real(4.0)),
        real.mul(real.tanh(real.div(e, real.real(2.0))), real.real(2.0)),
        real.mul(real.tanh(real.div(e, real.real(1e6))), real.real(1e6)),
        real.add(e, real.div(other, real.real(4.0))),
        real.sub(e, real.div(real.of_integer(integer), real.real(2.0))),
        real.sub(e, integer),
        real.mul(e, integer),
        real.where(condition, e, integer),
        real.where(condition, real.of_integer(integer), other),
        real.maximum(e, real.of_integer(integer)),
    ]


scores = often(_chained(), _chained(), st.recursive(leaves_of_scores, _scores, max_leaves=4))
scores = scores.map(real.of_integer).filter(lambda e: not predicate_problem(e))
