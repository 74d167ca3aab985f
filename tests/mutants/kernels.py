"""Mutants of the Triton kernels: what is written into their text, and what they are launched with."""

from tests.mutants.mutant import Mutant

DECLARED = "tests/test_selections.py::test_kernels_compute_what_is_declared"


def _kernel(name: str, module: str, old: str, new: str, test: str = "") -> Mutant:
    return Mutant(name, "kernel", f"attnir.codegen.triton.{module}", old, new, test)


def _listed(name: str, module: str, old: str, new: str) -> Mutant:
    return Mutant(name, "kernel, listed", f"attnir.codegen.{module}", old, new)


FORWARD = (
    _kernel("the sum is not rescaled", "forward", '"l * rescale + tl.sum(p, 1)"', '"l + tl.sum(p, 1)"'),
    _kernel(
        "what is summed up is not rescaled", "forward", "{' * rescale[:, None]' if weights.is_softmax else ''}", ""
    ),
    _kernel("masked pairs weigh something in dead rows", "forward", 'f"tl.where({weighs}, p, 0.0)"', '"p"'),
    _kernel("masked pairs enter the maximum", "forward", 'f"tl.where({weighs}, {s}, MIN)"', "s"),
    _kernel("lse stays in powers of two", "forward", '"(m + tl.log2(total)) * LN2"', '"m + tl.log2(total)"'),
    _kernel("a dead row divides by zero", "forward", '"tl.where(any_live, l, 1.0)"', '"l"'),
    _kernel("v has the strides of k", "forward", "first_key * {name}_row", "first_key * k_row"),
    _kernel("scores are not taken to powers of two", "forward", '"scale * LOG2E"', '"scale"'),
)
BACKWARD = (
    _kernel("dq is not scaled", "backward", '"acc_# * scale"', '"acc_#"'),
    _kernel("dk is not scaled", "backward", '"acc_k_# * scale"', '"acc_k_#"'),
    _kernel(
        "delta is not subtracted in a kernel",
        "recompute",
        "({pulled} - row_delta{of_row})",
        "({pulled})",
    ),
    _kernel(
        "delta is that of the first query of a tile in dk",
        "backward",
        '_gradient(f, pairs, "[None, :]"',
        '_gradient(f, pairs, "[:1][None, :]"',
    ),
    _kernel("lse is that of the first head", "recompute", '"(b64 * heads + h) * q_len"', '"b64 * heads * q_len"'),
    _kernel("the mask is lost in the backward", "backward", 'f"tl.where({weighs}, p, 0.0)"', '"p"'),
    _kernel(
        "the slope is lost in dk",
        "backward",
        '_gradient(f, pairs, "[None, :]", status)\n    pairs.write_slope(status)',
        '_gradient(f, pairs, "[None, :]", status)',
    ),
    _kernel("the slope is not a factor", "scores", 'f"ds * ({self.slope})"', '"ds"'),
    _kernel("the gradient of lse has the other sign", "backward", "total - tl.load(dlse", "total + tl.load(dlse"),
)
LOOPS = (
    _kernel("two key heads are taken for one", "frame", '"h64 // group"', '"h64 // group // 2"'),
    _kernel("a value head is that of the key", "frame", '"tl.load(value_head + h)', '"tl.load(key_head + h)'),
    _kernel(
        "the query heads of a key head lie apart",
        "loops",
        '        f.head("kv_head * group + member")\n        yield',
        '        f.head("kv_head + member * kv_heads")\n        yield',
    ),
    _kernel(
        "one query head of a group is visited",
        "loops",
        'f"for step in tl.range(0, {span} * group):"',
        'f"for step in tl.range(0, {span}):"',
    ),
    _kernel(
        "the last tile of a sweep is lost",
        "loops",
        '{show(sweep.stop[0])}):"',
        '{show(sweep.stop[0])} - 1):"',
    ),
    _kernel(
        "the second sweep of a loop begins late",
        "loops",
        'skipped = ["", *(f" - {r.end}" for r in runs)]',
        'skipped = ["", *("" for r in runs)]',
    ),
    _kernel(
        "the steps of a slab count those before it",
        "loops",
        'pick(["at", *(f"at - {r.end}" for r in runs[:-1])])',
        'pick(["at", *("at" for r in runs[:-1])])',
        test="tests/test_layout_kernels.py::test_float32[image-triton]",
    ),
)
SELECTIONS = (
    _kernel(
        "-1 is a member in a kernel",
        "operations",
        "(at >= 0) & (at < lists) & (member >= 0), found",
        "(at >= 0) & (at < lists), found",
        test=f"{DECLARED}[members from the 21st key on-triton]",
    ),
    _kernel(
        "lists past the last one are the last one",
        "operations",
        "(at < lists) & (member",
        "(member",
        test=f"{DECLARED}[lists from the 21st query on, and not for the last-triton]",
    ),
    _kernel("the last place of a member counts in a kernel", "operations", "place = places - 1 - i", "place = i"),
    _kernel(
        "every head has the lists of the first",
        "metadata",
        '_strided(name, given, "b", "h") |',
        '_strided(name, given[:, :1], "b", "h") |',
    ),
)
TILES = (
    Mutant(
        "the last row tile of an axis is not launched",
        "kernel",
        "attnir.walk",
        "counts.append(tiles_of(length, extent))",
        "counts.append(max(1, length // extent))",
    ),
    _kernel(
        "the end of the keys is one late",
        "tiles",
        "{columns.index} < {columns.length}",
        "{columns.index} <= {columns.length}",
    ),
    _kernel("the end of an axis is one late", "tiles", "< {show(axis.stop)})", "<= {show(axis.stop)})"),
    _kernel(
        "columns of a layout begin at the first token",
        "tiles",
        "    show = f.printer()\n    steps = [show.text(layout.origin).within(4)] * (layout.origin is not ZERO)\n",
        "    show = f.printer()\n    steps = []\n",
    ),
    _kernel("lanes run on along the last axis", "tiles", 'else f"{text} % {extent}"', "else text"),
    _kernel("pairs past the end of the keys are live", "scores", ".within(2)} & {inside}", ".within(2)}"),
    _kernel(
        "the transposed walk forgets where the queries start",
        "scores",
        'f"q_start + {columns.index}" if columns.side is Side.QUERIES else columns.index',
        "columns.index",
    ),
    _kernel(
        "reductions over rows are exchanged",
        "expressions",
        "'tl.min' if e.op is Op.ROWMIN",
        "'tl.min' if e.op is Op.ROWMAX",
    ),
)
VALUES = (
    _kernel("the sample is ignored", "operands", "b64 * {self.name}_batch + {self.head}", "{self.head}"),
    _kernel("the last column of an odd width is lost", "operands", "_{chunk} < {c.end})", "_{chunk} < {c.end - 1})"),
    _kernel("one chunk of the width makes the product", "operands", 'f", acc={name}" if i else ""', '""'),
    Mutant(
        "the width is rounded down",
        "kernel",
        "attnir.codegen.chunks",
        "rest, found = -(-width // 16) * 16, []",
        "rest, found = max(16, width // 16 * 16), []",
    ),
    _kernel(
        "a tensor over samples is read at the first", "frame", 'f"{a} * tensor_{name}_{a}"', 'f"0 * tensor_{name}_{a}"'
    ),
    _kernel(
        "fields of the queries are read at their positions",
        "frame",
        'f"({position} - q_start)"',
        'f"tl.minimum({position}, q_len - 1)"',  # held within the field: what lies behind it may be no memory
    ),
    _kernel(
        "every sample has the fields of the first",
        "frame",
        "field_{name}_{side} + b64 * field_{name}_{side}_batch",
        "field_{name}_{side}",
    ),
    _kernel(
        "every sample has the row tables of the first",
        "frame",
        'f"table_{i} + b64 * table_{i}_batch")',
        'f"table_{i}")',
        test="tests/test_metadata.py::test_row_tables_differ_from_sample_to_sample",
    ),
    _kernel(
        "every head has the row tables of the first",
        "frame",
        " + h64 * table_{i}_head",
        "",
        "tests/test_metadata.py::test_row_tables_differ_from_head_to_head",
    ),
    _kernel(
        "what reads the head is computed before the loop over heads",
        "scores",
        "(self.f.loops_over_heads and contains(e, H)) or any(",
        "any(",
    ),
    _kernel(
        "scores change before they are scaled",
        "units",
        "real.mul(PRODUCT, real.mul(SCALE, factor))",
        "real.mul(PRODUCT, factor)",
    ),
    _kernel(
        "a quotient is halved by its shift",
        "operations",
        "divisor.const.bit_length() - 1",
        "divisor.const.bit_length()",
    ),
    _kernel(
        "a remainder keeps one bit",
        "operations",
        '{a} & {divisor.const - 1}"',
        '{a} & {divisor.const}"',
    ),
    _kernel("< turned round is >=", "expressions", "FLIPPED = {Op.LT: Op.GT,", "FLIPPED = {Op.LT: Op.GE,"),
    _kernel("sums of 33 bits are computed in 32", "expressions", "INT32 = 2**31 - 1", "INT32 = 2**33 - 1"),
    _kernel(
        "as many instances as key heads are launched",
        "launch",
        '(v.shape[1] if kind in ("dkv", "pulled_dk") and maps is None else call.heads)',
        "v.shape[1]",
    ),
)
LEARNED = (
    _kernel("a slope by a tensor is lost", "scores", "{one.slope and f' * ({one.slope})'}", ""),
    _kernel(
        "sums are taken in units of two", "learned", "t.double() / self.units[n]", "t.double() / self.units[n] / 2"
    ),
    _kernel("the series of tanh turns too early", "operations", "-17.0 / 315.0", "17.0 / 315.0"),
    _kernel(
        "a quotient by a constant is a product with it",
        "expressions",
        "{1.0 / e.args[1].value!r}",
        "{e.args[1].value!r}",
    ),
    _kernel(
        "a real tensor begins with the first query's position",
        "expressions",
        'a - ex.Q_START if axis == "q" else a',
        "a",
    ),
)
LISTED = (
    _listed(
        "every head has the list of the first",
        "triton.loops",
        'head = "" if f.loops_over_heads and not f.walks_by_head else " + h * list_head"',
        'head = ""',
    ),
    _listed(
        "every sample has the list of the first",
        "triton.loops",
        'f"b * list_batch{head} + tile"',
        'f"tile{head}"',
    ),
    _listed(
        "the last tile of a list is lost",
        "triton.loops",
        "{name}_row + 1) - {name}_start",
        "{name}_row + 1) - {name}_start - 1",
    ),
    _listed(
        "the lists of the heads lie one row apart",
        "triton.metadata",
        '"list_head": rows if heads > 1 else 0',
        '"list_head": 1 if heads > 1 else 0',
    ),
)
MUTANTS = (*FORWARD, *BACKWARD, *LOOPS, *SELECTIONS, *TILES, *VALUES, *LEARNED, *LISTED)
