"""Mutants of the analysis: bounds, congruences and proofs that are too good, bounds of the solver that are one off."""

from tests.mutants.mutant import Mutant


def _analysis(name: str, module: str, old: str, new: str, test: str = "") -> Mutant:
    return Mutant(name, "analysis", f"attnir.{module}", old, new, test)


INTERVALS = (
    _analysis(
        "a remainder over several periods is taken for one of a single period",
        "interval",
        "known = (b.low == b.high) & (a.low // b.low == a.high // b.low) & self._finite(a)",
        "known = (b.low == b.high) & self._finite(a)",
    ),
    _analysis(
        "the least of a minimum is the larger of both",
        "interval",
        "return Interval(self.least(a.low, b.low), self.least(a.high, b.high))",
        "return Interval(self.greatest(a.low, b.low), self.least(a.high, b.high))",
    ),
    _analysis(
        "an absolute value is never 0",
        "interval",
        "self.choose(crosses, self.number(0), self.least(low, high))",
        "self.least(low, high)",
    ),
    _analysis(
        "a negative factor keeps the ends in place",
        "interval",
        "return Interval(low, high) if factor >= 0 else Interval(high, low)",
        "return Interval(low, high)",
    ),
    _analysis(
        "two corners of a product are left out",
        "interval",
        "values = [f(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]",
        "values = [f(x, y) for x, y in ((a.low, b.low), (a.high, b.high))]",
    ),
    _analysis("<= is proved one too early", "bounder", "gap.low <= 0, gap.high > 0", "gap.low <= 0, gap.high > 1"),
    _analysis(
        "a conjunction fails only where both parts do",
        "bounder",
        "return a & b, not_a | not_b",
        "return a & b, not_a & not_b",
    ),
    _analysis(
        "what may be equal is equal",
        "bounder",
        "can_differ = (gap.low != 0) | (gap.high != 0)",
        "can_differ = (gap.low != 0) & (gap.high != 0)",
    ),
    _analysis(
        "a choice is at least its first case",
        "interval",
        "self.choose(cannot, self.least(a.low, b.low), a.low), b.low)",
        "a.low, b.low)",
    ),
    _analysis(
        "a sum has the largest modulus of its parts",
        "congruence",
        "math.gcd(modulus, m * c), remainder",
        "max(modulus, m * c), remainder",
    ),
    _analysis(
        "a remainder is congruent to what is known of its divisor alone",
        "congruence",
        "g = math.gcd(m, atom.args[1].const)",
        "g = atom.args[1].const",
    ),
    _analysis("the least of many tiles is the greatest", "tile_bounds", "torch.minimum(a, b)", "torch.maximum(a, b)"),
)
ORDERS = (
    _analysis(
        "one case of a minimum or maximum is enough",
        "order",
        "quantifier = any if (atom.op is Op.MAX) == (c > 0) else all",
        "quantifier = any",
    ),
    _analysis(
        "one case of a choice is enough",
        "order",
        "return all(self._with(form, atom, x,",
        "return any(self._with(form, atom, x,",
    ),
    _analysis("an order is proved one too early", "order", "bounds(gap).low >= 0:", "bounds(gap).low >= -1:"),
    _analysis(
        "a quotient is compared with a limit of its dividend",
        "order",
        "rest.constant * d.const",
        "rest.constant",
        "tests/attnir/test_order.py::test_a_quotient_is_held_against_multiples_of_its_divisor",
    ),
    _analysis(
        "two extremes over rows may stand at one row",
        "order",
        "if not (takes and row_taken):",
        "if True:",
        "tests/attnir/test_order.py::test_a_proved_order_holds_in_every_call",
    ),
)
BOUNDS = (
    _analysis(
        "rounding down is forgotten on the right of a quotient",
        "solve",
        "linear(x - (d * limit + d - 1))",
        "linear(x - d * limit)",
    ),
    _analysis(
        "rounding up is forgotten in a lower bound", "solve", "(rest + (-c - 1)) // const(-c)", "rest // const(-c)"
    ),
    _analysis(
        "< is solved as <=",
        "solve",
        "case Op.LT:\n                    return self.nonpositive(gap.plus(Linear((), 1)))",
        "case Op.LT:\n                    return self.nonpositive(gap)",
    ),
    _analysis(
        "!= is solved as <",
        "solve",
        "return self.join(below, self.nonpositive(gap.times(-1).plus(Linear((), 1))))",
        "return below",
    ),
    _analysis("a minimum is solved as a maximum", "solve", "largest = atom.op is not Op.MIN", "largest = True"),
    _analysis(
        "a root is one too large", "solve", "const(math.isqrt(limit.const))", "const(math.isqrt(limit.const) + 1)"
    ),
    _analysis(
        "a search ends before equal values",
        "solve",
        "upper=(self.search(Op.UPPER_BOUND,",
        "upper=(self.search(Op.LOWER_BOUND,",
    ),
    _analysis(
        "a guard opens a bound where it does not hold",
        "solve",
        "ex.where(guard, POSITION_LIMIT, held)",
        "ex.where(guard, held, POSITION_LIMIT)",
    ),
    _analysis(
        "a band with more conditions swallows one with fewer",
        "solve",
        "\n            and set(other.residual) <= set(self.residual)",
        "",
    ),
    _analysis(
        "the tighter of two bounds is dropped",
        "solve",
        "if any(at_most(new, k) if lower else at_most(k, new) for k in kept)",
        "if any(at_most(k, new) if lower else at_most(new, k) for k in kept)",
    ),
    _analysis(
        "the guards of one of two bands are lost",
        "solve",
        "tuple(dict.fromkeys(self.guards + other.guards))",
        "self.guards",
    ),
    _analysis("negation leaves & and | in place", "disjuncts", "if (e.op is Op.OR) == wanted:", "if e.op is Op.OR:"),
    _analysis(
        "a digit may be as large as its base",
        "digits",
        "return found.high < limit.const",
        "return found.high <= limit.const",
    ),
    _analysis(
        "what a division carries stays in its rest as well",
        "digits",
        "Linear(rest, form.constant % d)",
        "Linear(rest, form.constant)",
    ),
    _analysis(
        "a strict bound is rounded down by its common factor",
        "digits",
        "const(-(-moved // g))",
        "const(moved // g)",
        test="tests/attnir/test_digits.py::test_a_common_factor_of_all_parts_leaves_a_comparison",
    ),
    _analysis(
        "a residue has the other sign",
        "classes",
        "rest.times(-c).expr()",
        "rest.times(c).expr()",
    ),
)
COUNTS = (
    _analysis("keys of two ranges count twice", "count", "cursor = torch.maximum(cursor, stop)", "cursor = stop"),
    _analysis(
        "the first key of a class is rounded down",
        "count",
        "t.expand(shape) - residue + period - 1,",
        "t.expand(shape) - residue,",
    ),
    _analysis(
        "a product with the key repeats as the key does",
        "periods",
        "return None if others else frozenset",
        "return frozenset",
    ),
)
MUTANTS = (*INTERVALS, *ORDERS, *BOUNDS, *COUNTS)
