"""The kernels of statistics: sums over the rows and columns of P, and the backward of these sums.

With p = exp(score - lse) recomputed, `rows` sums up p times something of each pair over the keys of a query, `columns`
over the queries of a key, for one query head: there nothing is rescaled, as lse is known. Their backward is that of an
attention with another expression instead of dP = dO v^T: dS = p * (pull - delta), in `pulled_dq` and `pulled_dk`.
`rows` and `pulled_dq` walk the forward's tiles, the others the transposed program's; each result is summed by one
instance, in a fixed order.
"""

from __future__ import annotations

from collections.abc import Callable

from attnir.codegen.triton.expressions import Shape
from attnir.codegen.triton.forward import load_keys, load_rows
from attnir.codegen.triton.frame import KEY, QUERY, Frame
from attnir.codegen.triton.loops import Body, write_loops
from attnir.codegen.triton.operands import Operand, lowered, operand, product_over_width, zeros
from attnir.codegen.triton.operations import ATOM
from attnir.codegen.triton.recompute import gradient, load_rows_of_lse, write_divided
from attnir.codegen.triton.scores import Pairs
from attnir.codegen.triton.spec import Spec
from attnir.codegen.triton.tiles import column_tile, row_tile
from attnir.program import Programs, Status
from attnir.real import ONE, is_unbounded
from attnir.terms import LOG_P, Term
from attnir.traverse import contains

NO_KEY = "2147483647"  # an index behind every key
Tile = Callable[["Terms", Status], None]


class Terms:
    """The terms of a program over its pairs, as text."""

    def __init__(self, f: Frame) -> None:
        self.f = f
        self.pairs = Pairs(f)
        self.terms = f.program.terms
        self.texts = [self._text(t) for t in self.terms]

    def _text(self, term: Term) -> str:
        """The value of a term, such that it spreads to a tile in a product."""
        found = self.pairs.changed.printer.text(term.value)
        spread = {Shape.ROW: "[:, None]", Shape.COLUMN: "[None, :]"}.get(found.shape, "")
        return found.within(ATOM) + spread

    def write_probability(self, status: Status) -> None:
        """The scores of a tile, the logarithm of its probabilities, and these, 0 on dead pairs."""
        w, of_rows = self.f.w, self.f.rows is QUERY
        if not self.f.program.weights.is_softmax:
            write_divided(self.f, self.pairs, "[:, None]" if of_rows else "[None, :]", status)
            return
        w.let("score", self.pairs.weighed or "s * scale")
        w.let("log_p", f"score - row_lse{'[:, None]' if of_rows else '[None, :]'}")
        w.let("p", "tl.exp(log_p)")
        if status is Status.PARTIAL:
            w.let("p", "tl.where(live, p, 0.0)")
        if self.pairs.unbounded and any(contains(t.value, LOG_P) for t in self.terms):
            w.let("log_p", "tl.where(p > 0.0, log_p, 0.0)")
        if reads_first(self.f):
            of_key = f"{self.f.indices(KEY)}{'[None, :]' if of_rows else '[:, None]'}"
            w.let("is_first", f"({of_key} == row_first{'[:, None]' if of_rows else '[None, :]'}).to(tl.float32)")

    def summand(self, i: int, status: Status) -> str:
        """What a pair adds to the sum of a term."""
        term, text, partial = self.terms[i], self.texts[i], status is Status.PARTIAL
        if term.counted:
            return f"tl.where(live, {text}, 0.0)" if partial else f"tl.zeros_like(p) + {text}"
        if term.value is ONE:
            return "p"
        return self.masked(f"p * {text}", i, status)

    def masked(self, given: str, i: int, status: Status) -> str:
        """A product with p, which is 0 on dead pairs, where the other factor may be infinite there."""
        e = self.terms[i].value
        guarded = status is Status.PARTIAL and (is_unbounded(e) or contains(e, LOG_P))
        return f"tl.where(live, {given}, 0.0)" if guarded else given


def write_rows(programs: Programs, spec: Spec) -> Frame:
    """The body of `rows`."""
    return _write_sums(Frame("rows", programs, spec))


def write_columns(programs: Programs, spec: Spec) -> Frame:
    """The body of `columns`."""
    return _write_sums(Frame("columns", programs, spec))


def _write_sums(f: Frame) -> Frame:
    w, pulls = f.w, any(t.pulls for t in f.program.terms)
    _begin(f, *(["q"] if f.rows is QUERY else ["k", "v"] if pulls else ["k"]))
    for i, term in enumerate(f.program.terms):
        w.line(f"# {term}")
        w.let(f"summed_{i}", f"tl.zeros([{f.rows.block}], tl.float32)")
    if f.spec.largest:
        w.line("# The largest score of each row so far, and the first key that has it.")
        w.let("highest_score", "tl.full([BLOCK_Q], MIN, tl.float32)")
        w.let("first_key_of_it", f"tl.full([BLOCK_Q], {NO_KEY}, tl.int32)")
    moving = ["k"] if f.rows is QUERY else ["q", "do"] if pulls else ["q"]
    write_loops(f, lambda: _tiles(f, moving, lambda terms, status: _sum(f, terms, status, pulls)))
    w.line()
    w.let("row_at", f"(b64 * heads + h) * {f.rows.length} + {f.indices(f.rows)}")
    for i in range(len(f.program.terms)):
        w.line(f"tl.store(sum_{i} + row_at, summed_{i}, mask={f.rows.one}_in)")
    if f.spec.largest:
        w.let("any_live", "highest_score > MIN")
        w.line('tl.store(highest + row_at, tl.where(any_live, highest_score, float("-inf")), mask=query_in)')
        w.line("tl.store(first + row_at, tl.where(any_live, first_key_of_it, -1), mask=query_in)")
    return f


def _begin(f: Frame, *stays: str, delta: bool = False) -> None:
    """The instance's place, what stays, and the lse of its rows where these are queries."""
    f.place()
    row_tile(f)
    f.metadata()
    load_rows(f, *stays)
    if f.rows is QUERY:
        f.w.let("k_head_at", Operand("k", f.spec).base())
        load_rows_of_lse(f, ", mask=query_in, other=0.0", delta=delta, first=reads_first(f))


def reads_first(f: Frame) -> bool:
    """Whether a term asks which key of a row has the largest score."""
    return any(t.reads_first for t in f.program.terms)


def _tiles(f: Frame, moving: list[str], tile: Tile, *, delta: bool = False) -> Body:
    """Write what the column tiles of a program have in common; returns what writes one of them."""
    terms = Terms(f)
    column_tile(f)
    for name in [] if f.ordered else moving:
        f.w.let(f"{name}_rows", Operand(name, f.spec).rows(f"{f.columns.index}_in_tile"))
    terms.pairs.write_before()

    def one(status: Status) -> None:
        terms.pairs.write(status)
        if status is Status.FULL and not (f.program.reads_pairs or f.ordered):
            f.w.let(f.columns.index, f"first_{f.columns.one} + {f.columns.index}_in_tile")
        _load_columns(f, moving, status, delta=delta)
        product_over_width(f.w, "s", *(Operand(n, f.spec) for n in ("qk" if f.rows is QUERY else "kq")))
        terms.write_probability(status)
        tile(terms, status)

    return Body(terms.pairs.write_before_partial, one)


def _load_columns(f: Frame, moving: list[str], status: Status, *, delta: bool) -> None:
    """A column tile of what moves; with q come the lse of its rows, and delta."""
    if moving == ["k"]:
        load_keys(f, "k", status)
        return
    partial = status is Status.PARTIAL
    for name in moving:
        t = Operand(name, f.spec)
        f.w.let(f"{name}_at", t.base("" if f.ordered else "first_query"))
        if f.ordered:
            f.w.let(f"{name}_rows", t.rows(f.indices(QUERY)))
        t.load(f.w, "query_in" if partial else None)
    load_rows_of_lse(f, ", mask=query_in, other=0.0" if partial else "", delta=delta, first=reads_first(f))


def _sum(f: Frame, terms: Terms, status: Status, pulls: bool) -> None:
    if pulls:
        product_over_width(f.w, "dp", Operand("v", f.spec), Operand("do", f.spec))
    for i in range(len(terms.terms)):
        f.w.let(f"summed_{i}", f"summed_{i} + tl.sum({terms.summand(i, status)}, 1)")
    if f.spec.largest:
        _meet(f, "score", status)


def _meet(f: Frame, score: str, status: Status) -> None:
    """Take in the largest scores of a tile; of equal ones the first key's, in whatever order tiles come."""
    w = f.w
    if status is Status.PARTIAL:
        w.let("candidate", f"tl.where(live, {score}, MIN)")
        score = "candidate"
    w.let("highest_here", f"tl.max({score}, 1)")
    w.let("first_here", f"tl.where({score} == highest_here[:, None], {f.indices(KEY)}[None, :], {NO_KEY})")
    w.let("first_here", "tl.min(first_here, 1)")
    w.let("is_first", "(highest_here == highest_score) & (first_here < first_key_of_it)")
    w.let("first_key_of_it", "tl.where((highest_here > highest_score) | is_first, first_here, first_key_of_it)")
    w.let("highest_score", "tl.maximum(highest_score, highest_here)")


def write_pulled_dq(programs: Programs, spec: Spec) -> Frame:
    """The body of `pulled_dq`, whose one term is the pull."""
    f = Frame("pulled_dq", programs, spec)
    _begin(f, "q", delta=True)
    if not spec.measures:
        zeros(f.w, "acc", "BLOCK_Q", Operand("dq", spec))
    write_loops(f, lambda: _tiles(f, ["k"], lambda terms, status: _pull(f, terms, status, "k", "[:, None]")))
    if not spec.measures:
        _store(f, "dq", "query_in")
    return f


def write_pulled_dk(programs: Programs, spec: Spec) -> Frame:
    """The body of `pulled_dk`, whose one term is the pull."""
    f = Frame("pulled_dk", programs, spec)
    _begin(f, "k")
    zeros(f.w, "acc", "BLOCK_K", Operand("dk", spec))
    write_loops(
        f, lambda: _tiles(f, ["q"], lambda terms, status: _pull(f, terms, status, "q", "[None, :]"), delta=True)
    )
    _store(f, "dk", "key_in")
    return f


def _pull(f: Frame, terms: Terms, status: Status, moving: str, spread: str) -> None:
    """Add the gradients of a tile's scores, times what moves."""
    w, spec, weights = f.w, f.spec, f.program.weights
    given = gradient(weights, terms.texts[0], spread)
    if weights.is_softmax:
        w.let("ds", terms.masked(given, 0, status))
    else:
        w.let("ds", f"tl.where(live, {given}, 0.0)" if status is Status.PARTIAL else f"tl.zeros_like(s) + {given}")
    terms.pairs.write_learned(status)
    if spec.measures:
        return
    terms.pairs.write_slope(status)
    w.let("ds_operand", lowered("ds", spec))
    for i in range(len(Operand(moving, spec).chunks)):
        w.let(f"acc_{i}", f"tl.dot(ds_operand, {operand(f'{moving}_{i}', spec)}, acc=acc_{i}{spec.precision})")


def _store(f: Frame, name: str, inside: str) -> None:
    f.w.line()
    out = Operand(name, f.spec)
    out.place(f.w, f.indices(f.rows))
    out.store(f.w, inside, "acc_# * scale")
