"""Mutants of the language: what a text says, what a call binds, what a score's slope is, what an expression means."""

from tests.mutants.mutant import Mutant


def _language(name: str, module: str, old: str, new: str, test: str = "") -> Mutant:
    return Mutant(name, "language", f"attnir.{module}", old, new, test)


MUTANTS = (
    _language(
        "a difference on the right loses its parentheses",
        "printing",
        "{_format(e.args[1], binding + 1, names)}",
        "{_format(e.args[1], binding, names)}",
    ),
    _language("a sorted field is printed unsorted", "printing", "'sorted=True' if f.sorted else ''", "''"),
    _language("> is read as >=", "reading", "ast.Gt: Op.GT", "ast.Gt: Op.GE"),
    _language("~ of < is >", "ops", "Op.LT: Op.GE, Op.LE: Op.GT", "Op.LT: Op.GT, Op.LE: Op.GT"),
    _language(
        "the slope of a difference is that of a sum",
        "real",
        "return sub(x, y)",
        "return add(x, y)",
    ),
    _language(
        "the slope of a choice is that of its first case",
        "real",
        "return where(condition, x, y)",
        "return x",
    ),
    _language("a factor is lost in the slope", "real", "return add(mul(x, b), mul(a, y))", "return x"),
    _language("the slope of a quotient is that of its dividend", "real", "div(sub(x, mul(e, y)), b)", "div(x, b)"),
    _language("tanh falls off too slowly", "real", "mul(sub(ONE, mul(e, e)), x)", "mul(sub(ONE, e), x)"),
    _language("a sigmoid rises too fast", "real", "mul(mul(e, sub(ONE, e)), x)", "mul(sub(ONE, e), x)"),
    _language(
        "the slope of an extreme is that of the other one",
        "real",
        "(a, b) if op is Op.REAL_MAX else (b, a)",
        "(b, a) if op is Op.REAL_MAX else (a, b)",
    ),
    _language(
        "outside of a tensor its border is read",
        "evaluate",
        "return found if inside is None else torch.where(inside, found, torch.zeros_like(found))",
        "return found",
    ),
    _language(
        "a tensor of queries is read at their positions",
        "evaluate",
        'self(e) - (self.call.q_start if axis == "q" else 0)',
        "self(e)",
    ),
    _language("remainders have the sign of what is divided", "evaluate", "torch.remainder", "torch.fmod"),
    _language(
        "quotients are cut off",
        "evaluate",
        'torch.div(a, b, rounding_mode="floor")',
        'torch.div(a, b, rounding_mode="trunc")',
    ),
    _language(
        "fields of the queries begin at the first key",
        "signature",
        "FieldValues(keys[:, q_start : q_start + q_len], keys)",
        "FieldValues(keys[:, :q_len], keys)",
        "tests/attnir/test_call.py::test_a_single_field_is_read_at_the_positions_of_the_queries",
    ),
    _language(
        "the first query stands at 0 unless said otherwise",
        "signature",
        "start = max(0, k_len - q_len) if q_start is None",
        "start = 0 if q_start is None",
        "tests/attnir/test_call.py::test_the_queries_are_the_last_positions_unless_said_otherwise",
    ),
    _language(
        "a tensor over heads is that of the first head",
        "evaluate",
        "return values[batch, head].long()",
        "return values[batch, head * 0].long()",
    ),
)
