"""The forward kernel: online softmax, in powers of two where q is not float32; or sums of other weights.

`m` is the largest score of each row so far, `l` the sum of p = exp2(score - m), `acc` that of p * v. `m`
starts from a finite number and masked probabilities are set to zero, so a row without a live key ends with l = 0 and
nothing is ever NaN. A sink is what a row starts from: its score is the largest, and l is 1.
"""

from __future__ import annotations

from collections.abc import Callable

from attnir.codegen.triton.frame import KEY, QUERY, Frame
from attnir.codegen.triton.loops import Body, write_loops
from attnir.codegen.triton.operands import Operand, lanes, lowered, operand, product_over_width, zeros
from attnir.codegen.triton.scores import Pairs, Values
from attnir.codegen.triton.spec import Spec
from attnir.codegen.triton.tiles import column_tile, row_coordinates, row_tile
from attnir.program import Programs, Status
from attnir.real import SCORE


def write_forward(programs: Programs, spec: Spec) -> Frame:
    """The body of `forward`."""
    f = Frame("forward", programs, spec)
    f.place()
    row_tile(f)
    f.metadata()
    load_rows(f, "q")
    head_offsets(f)
    score_unit(f)
    _begin(f)
    zeros(f.w, "acc", "BLOCK_Q", Operand("o", spec))
    write_loops(f, lambda: key_tiles(f, _tile))
    _finish(f)
    return f


def _begin(f: Frame) -> None:
    """What a row knows of weights before it meets a key."""
    weights = f.program.weights
    if weights.sink is not None:
        values = Values(f, "sink_")
        sink = values.printer.text(weights.sink)
        row_coordinates(f)
        values.write_before()
        f.w.let("m", f"tl.zeros([BLOCK_Q], tl.float32) + {sink.within(5)}{'' if f.spec.natural else ' * LOG2E'}")
        f.w.let("l", 'tl.where(m > float("-inf"), 1.0, 0.0)')
        f.w.let("m", "tl.maximum(m, MIN)")
        return
    if weights.is_softmax:
        f.w.let("m", "tl.full([BLOCK_Q], MIN, tl.float32)")
    if weights.divided:
        f.w.let("l", "tl.zeros([BLOCK_Q], tl.float32)")


def score_unit(f: Frame) -> None:
    """The factor from products to scores in powers of two; float32 scores stay in natural units, which round less."""
    if not f.spec.natural and f.program.weights.is_softmax and f.program.score is SCORE:
        f.w.let("to_log2", "scale * LOG2E")


def load_rows(f: Frame, *names: str) -> None:
    """The tensors that an instance keeps, for its rows."""
    f.w.line()
    f.w.line(f"# What stays: {' and '.join(names)} of these {f.rows.index}; then, what is summed up.")
    lanes(f.w, f.spec)
    for name in names:
        t = Operand(name, f.spec)
        t.place(f.w, f.indices(f.rows))
        t.load(f.w, f"{f.rows.one}_in")


def head_offsets(f: Frame) -> None:
    """Where the heads of k and v begin."""
    for name in ("k", "v"):
        f.w.let(f"{name}_head_at", Operand(name, f.spec).base())


def key_tiles(f: Frame, tile: Callable[[Frame, Pairs, Status], None]) -> Body:
    """Write what the column tiles of a program have in common; returns what writes one of them."""
    pairs = Pairs(f)
    column_tile(f)
    for name in () if f.ordered else ("k", "v"):
        f.w.let(f"{name}_rows", Operand(name, f.spec).rows("keys_in_tile"))
    pairs.write_before()
    return Body(pairs.write_before_partial, lambda status: tile(f, pairs, status))


def load_keys(f: Frame, name: str, status: Status) -> None:
    """A column tile of k or v. Full tiles lie inside, so nothing is masked."""
    t = Operand(name, f.spec)
    if f.ordered:
        f.w.let(f"{name}_at", f"{name}_head_at")
        f.w.let(f"{name}_rows", t.rows(f.indices(KEY)))
    else:
        f.w.let(f"{name}_at", f"{name}_head_at + {t.aligned(f'first_key * {name}_row')}")
    t.load(f.w, "key_in" if status is Status.PARTIAL else None)


def _tile(f: Frame, pairs: Pairs, status: Status) -> None:
    w, spec, weights = f.w, f.spec, f.program.weights
    pairs.write(status)
    load_keys(f, "k", status)
    product_over_width(w, "s", Operand("q", spec), Operand("k", spec))
    if weights.is_softmax:
        _softmax(f, pairs, status)
    else:
        pairs.write_weights(status)
        if weights.divided:
            w.let("l", "l + tl.sum(p, 1)")
    load_keys(f, "v", status)
    w.let("p_operand", lowered(pairs.write_counted(status, "p"), spec))
    for i in range(len(Operand("v", spec).chunks)):
        before = f"acc=acc_{i}{' * rescale[:, None]' if weights.is_softmax else ''}"
        w.let(f"acc_{i}", f"tl.dot(p_operand, {operand(f'v_{i}', spec)}, {before}{spec.precision})")


def _softmax(f: Frame, pairs: Pairs, status: Status) -> None:
    """p = exp(score - m), with m and l for all keys so far, and what fades of what is summed up."""
    w, spec, weighs = f.w, f.spec, pairs.weighing(status)
    exp = "tl.exp" if spec.natural else "tl.exp2"
    s, factor = pairs.write_score(status)
    if factor and (spec.natural or spec.signed):
        w.let(s, f"{s}{factor}")
        factor = ""
    if weighs:
        w.let(s, f"tl.where({weighs}, {s}, MIN)")
    w.let("m_new", f"tl.maximum(m, tl.max({s}, 1){factor})")
    w.let("p", f"{exp}({s}{factor} - m_new[:, None])")
    if weighs:
        w.let("p", f"tl.where({weighs}, p, 0.0)")
    w.let("rescale", f"{exp}(m - m_new)")
    w.let("l", "l * rescale + tl.sum(p, 1)")
    w.let("m", "m_new")


def _finish(f: Frame) -> None:
    w, weights = f.w, f.program.weights
    o = Operand("o", f.spec)
    w.line()
    if not weights.divided:
        o.place(w, f.indices(QUERY))
        o.store(w, "query_in", "acc_#")
        return
    w.line("# A row without a live key gives 0, and lse -inf.")
    w.let("any_live", "l != 0.0" if weights.is_softmax else "l > 0.0")
    w.let("total", "tl.where(any_live, l, 1.0)")
    o.place(w, f.indices(QUERY))
    o.store(
        w,
        "query_in",
        "acc_# / total[:, None]" if weights.is_softmax else "tl.where(any_live[:, None], acc_#, 0.0) / total[:, None]",
    )
    in_twos = weights.is_softmax and not f.spec.natural
    value = "(m + tl.log2(total)) * LN2" if in_twos else f"{'m + ' * weights.is_softmax}tl.log(total)"
    w.let("row_lse", f'tl.where(any_live, {value}, float("-inf"))')
    w.line(f"tl.store(lse + (b64 * heads + h) * q_len + {f.indices(QUERY)}, row_lse, mask=query_in)")
