"""The backward kernels. With p = exp(score - lse) recomputed, dP = dO v^T and dS = p * (dP - delta):

dV = p^T dO, dQ = scale * dS k, dK = scale * dS^T q; delta = rowsum(dO * o) - dlse comes from a kernel of its own.
Factors of weights that meet values multiply p in dV, and dP. Of weights that are no softmax p is divided by its sum,
whose inverse exp(-lse) stands for p in dS, or by nothing.

dQ walks the forward's tiles; dK and dV walk the transposed program's, with scores transposed as well, so that no tile
is transposed in registers. Each result is summed by one instance, in a fixed order.
"""

from __future__ import annotations

from attnir.codegen.triton.forward import head_offsets, key_tiles, load_keys, load_rows, score_unit
from attnir.codegen.triton.frame import KEY, QUERY, Frame
from attnir.codegen.triton.landmarks import write_through_landmarks
from attnir.codegen.triton.loops import Body, write_loops
from attnir.codegen.triton.operands import Operand, lanes, lowered, operand, product_over_width, zeros
from attnir.codegen.triton.recompute import gradient, load_rows_of_lse, write_divided
from attnir.codegen.triton.scores import Pairs
from attnir.codegen.triton.spec import Spec
from attnir.codegen.triton.tiles import column_tile, row_tile
from attnir.program import Programs, Status


def write_dq(programs: Programs, spec: Spec) -> Frame:
    """The body of `dq`."""
    f = Frame("dq", programs, spec)
    f.place()
    row_tile(f)
    f.metadata()
    load_rows(f, "q", "do")
    head_offsets(f)
    score_unit(f)
    _load_rows(f, ", mask=query_in, other=0.0")
    if not spec.measures:
        zeros(f.w, "acc", "BLOCK_Q", Operand("dq", spec))
    write_loops(f, lambda: key_tiles(f, _dq_tile))
    if spec.measures:  # what is summed up is all that is wanted
        return f
    f.w.line()
    out = Operand("dq", spec)
    out.place(f.w, f.indices(QUERY))
    out.store(f.w, "query_in", "acc_# * scale")
    return f


def _load_rows(f: Frame, mask: str) -> None:
    """What is known of each query, lse in the unit of the scores."""
    load_rows_of_lse(f, mask, unit="" if f.spec.natural else " * LOG2E")


def _probability(f: Frame, pairs: Pairs, of_row: str, status: Status) -> None:
    """The weights `p` of a tile, divided; of_row spreads what is known of queries over it."""
    if not f.program.weights.is_softmax:
        write_divided(f, pairs, of_row, status)
        return
    s, factor = pairs.write_score(status)
    f.w.let("p", f"{'tl.exp' if f.spec.natural else 'tl.exp2'}({s}{factor} - row_lse{of_row})")
    if weighs := pairs.weighing(status):
        f.w.let("p", f"tl.where({weighs}, p, 0.0)")


def _gradient(f: Frame, pairs: Pairs, of_row: str, status: Status) -> None:
    """The gradients `ds` of the scores behind their change, or of the weights, from those of what these count."""
    weights = f.program.weights
    given = gradient(weights, pairs.write_counted(status, "dp"), of_row)
    # On a pair without a weight p is 0; where it is no factor, or dP may be infinite, ds has to be made so.
    weighs = "" if weights.is_softmax and not pairs.unbounded_factor else pairs.weighing(status)
    f.w.let("ds", f"tl.where({weighs}, {given}, 0.0)" if weighs else given)
    if weights.landmarks is not None:
        write_through_landmarks(f)


def _dq_tile(f: Frame, pairs: Pairs, status: Status) -> None:
    w, spec = f.w, f.spec
    pairs.write(status)
    load_keys(f, "k", status)
    load_keys(f, "v", status)
    product_over_width(w, "s", Operand("q", spec), Operand("k", spec))
    _probability(f, pairs, "[:, None]", status)
    product_over_width(w, "dp", Operand("do", spec), Operand("v", spec))
    _gradient(f, pairs, "[:, None]", status)
    pairs.write_learned(status)
    if spec.measures:
        return
    pairs.write_slope(status)
    w.let("ds_operand", lowered("ds", spec))
    for i in range(len(Operand("k", spec).chunks)):
        w.let(f"acc_{i}", f"tl.dot(ds_operand, {operand(f'k_{i}', spec)}, acc=acc_{i}{spec.precision})")


def write_dkv(programs: Programs, spec: Spec) -> Frame:
    """The body of `dkv`."""
    f = Frame("dkv", programs, spec)
    f.place()
    row_tile(f)
    f.metadata()
    load_rows(f, "k", "v")
    score_unit(f)
    zeros(f.w, "acc_k", "BLOCK_K", Operand("dk", spec))
    zeros(f.w, "acc_v", "BLOCK_K", Operand("dv", spec))
    write_loops(f, lambda: query_tiles(f))
    f.w.line()
    for name, value in (("dk", "acc_k_# * scale"), ("dv", "acc_v_#")):
        out = Operand(name, spec)
        out.place(f.w, f.indices(KEY))
        out.store(f.w, "key_in", value)
    return f


def query_tiles(f: Frame) -> Body:
    """Write what the column tiles of a transposed program have in common; returns what writes one of them."""
    pairs = Pairs(f)
    column_tile(f)
    for name in () if f.ordered else ("q", "do"):
        f.w.let(f"{name}_rows", Operand(name, f.spec).rows("queries_in_tile"))
    pairs.write_before()
    return Body(pairs.write_before_partial, lambda status: _dkv_tile(f, pairs, status))


def _load_queries(f: Frame, status: Status) -> None:
    """A column tile of q and dO, and its rows of lse and delta."""
    w, partial = f.w, status is Status.PARTIAL
    for name in ("q", "do"):
        t = Operand(name, f.spec)
        w.let(f"{name}_at", t.base("" if f.ordered else "first_query"))
        if f.ordered:
            w.let(f"{name}_rows", t.rows(f.indices(QUERY)))
        t.load(w, "query_in" if partial else None)
    _load_rows(f, ", mask=query_in, other=0.0" if partial else "")


def _dkv_tile(f: Frame, pairs: Pairs, status: Status) -> None:
    w, spec = f.w, f.spec
    pairs.write(status)
    if status is Status.FULL and not (f.program.of_pairs or f.ordered):
        w.let("queries", "first_query + queries_in_tile")
    _load_queries(f, status)
    product_over_width(w, "s", Operand("k", spec), Operand("q", spec))
    _probability(f, pairs, "[None, :]", status)
    w.let("p_operand", lowered(pairs.write_counted(status, "p"), spec))
    for i in range(len(Operand("do", spec).chunks)):
        w.let(f"acc_v_{i}", f"tl.dot(p_operand, {operand(f'do_{i}', spec)}, acc=acc_v_{i}{spec.precision})")
    product_over_width(w, "dp", Operand("v", spec), Operand("do", spec))
    _gradient(f, pairs, "[None, :]", status)
    pairs.write_slope(status)
    w.let("ds_operand", lowered("ds", spec))
    for i in range(len(Operand("q", spec).chunks)):
        w.let(f"acc_k_{i}", f"tl.dot(ds_operand, {operand(f'q_{i}', spec)}, acc=acc_k_{i}{spec.precision})")


def write_delta(spec: Spec) -> str:
    """The body of `delta`: rowsum(dO * o) - dlse, and 0 for a row without a live key."""
    from attnir.codegen.triton.writer import Writer

    w = Writer()
    w.let("tiles", "tl.cdiv(q_len, BLOCK_Q)")
    w.let("queries", "tl.program_id(0) % tiles * BLOCK_Q + tl.arange(0, BLOCK_Q)")
    w.let("query_in", "queries < q_len")
    w.let("pair", "(tl.program_id(0) // tiles).to(tl.int64)")
    w.let("b64", "pair // heads")
    w.let("h64", "pair % heads")
    lanes(w, spec)
    for name in ("o", "do"):
        t = Operand(name, spec)
        t.place(w, "queries")
        t.load(w, "query_in")
    w.line("# A row that met no key has an o of 0, and whatever its dO is, no delta.")
    products = (f"o_{i}.to(tl.float32) * do_{i}.to(tl.float32)" for i in range(len(Operand("o", spec).chunks)))
    terms = [f"tl.sum(tl.where(o_{i} != 0.0, {product}, 0.0), 1)" for i, product in enumerate(products)]
    w.let("total", " + ".join(terms))
    w.let("row_at", "pair * q_len + queries")
    with w.block("if dlse is not None:"):
        w.let("total", "total - tl.load(dlse + row_at, mask=query_in, other=0.0)")
    w.let("any_live", 'tl.load(lse + row_at, mask=query_in, other=0.0) > float("-inf")')
    w.line("tl.store(delta + row_at, tl.where(any_live, total, 0.0), mask=query_in)")
    return w.text()
