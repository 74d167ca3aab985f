"""What every predicate keeps to: names that texts, calls and kernels can carry, a bounded size, values within 64 bits.

A predicate that breaks a limit is refused when it is declared or read, so that nothing after it can overflow, recurse
too deeply, or mistake one name for another. Values of fields are known in a call only: there they are held to the
predicate's `field_limit`.
"""

from __future__ import annotations

import keyword
from bisect import bisect_left
from functools import lru_cache
from typing import TypeGuard

from attnir.bounder import Bounder
from attnir.bounds import any_call, bounds
from attnir.expr import SYMBOLS, TOKENS, Expr, sub
from attnir.interval import INFINITE, Integers, Interval
from attnir.ops import COMPARISONS, LEAVES, PARAM_LIMIT, REAL_LIMIT, SLOPE_LIMIT, Op
from attnir.real import slope
from attnir.traverse import declared_in, nodes, params_of

_FUNCTIONS = {"abs", "min", "max", "where", "float", "rowmin", "rowmax", "lower_bound", "upper_bound"}
_FUNCTIONS |= {"exp", "log", "tanh", "sigmoid", "sqrt", "random", "normalized", "softmax", "rank"}
_IN_CALLS = {"self", "v", "scale", "return_lse", "requests"}
_IN_EXPLAIN = {"heads", "batch", "tile", "d", "dv", "dtype", "target", "backend", "attention"}
_IN_PLOT = {"path", "head", "sample", "order", "query"}
RESERVED = frozenset({"because", "s"} | SYMBOLS.keys() | _FUNCTIONS | _IN_CALLS | _IN_EXPLAIN | _IN_PLOT)

_READ = (Op.FIELD, Op.ENTRY)
DEEPEST = 128  # operations inside one another
LARGE = 2**16  # a constant that may be what makes a product too wide
LARGEST = 4096  # operations, written out; a node that is used twice counts twice


def _is_word(name: object) -> TypeGuard[str]:
    """Whether this is a name in Python, in ASCII."""
    return isinstance(name, str) and name.isidentifier() and name.isascii() and not keyword.iskeyword(name)


def name_problem(name: object) -> str:
    """Why this cannot name a field or a parameter; empty when it can."""
    if not _is_word(name):
        return f"{name!r} cannot name a field or a parameter; take a Python name in ASCII"
    if name.startswith("_"):
        return f"{name!r} cannot name a field or a parameter: names of programs begin with an underscore; rename it"
    if name in RESERVED:
        return (
            f"{name!r} cannot name a field or a parameter: it has a meaning of its own in programs or calls; rename it"
        )
    return ""


def axis_problem(name: object) -> str:
    """Why this cannot name an axis or a region; empty when it can."""
    if not _is_word(name):
        return f"{name!r} cannot name an axis or a region; take a Python name in ASCII"
    if name.startswith("_") or name in ("in_", "expr", "space"):
        return f"{name!r} cannot name an axis or a region: a token has another attribute of that name; rename it"
    return ""


def axes_problem(axes: object) -> str:
    """Why these are no axes of a tensor of integers over samples and heads; empty when they are."""
    if axes in (("b",), ("h",), ("b", "h")):
        return ""
    return f"a tensor of integers has one for each sample, 'b', each head, 'h', or both, 'b', 'h'; not {axes!r}"


def selection_axes_problem(axes: object) -> str:
    """Why these are no axes of a selection; empty when they are."""
    if axes in ((), ("b",), ("h",), ("b", "h")):
        return ""
    return f"a selection has lists for all, or of each sample, 'b', each head, 'h', or both, 'b', 'h'; not {axes!r}"


MOST_AXES = 8


def real_axes_problem(axes: tuple[object, ...]) -> str:
    """Why these are no axes of a real tensor; empty when they are."""
    if len(axes) > MOST_AXES:
        return f"a tensor has at most {MOST_AXES} axes, not {len(axes)}"
    for name in axes:
        if not _is_word(name):
            return f"{name!r} cannot name an axis; take a Python name in ASCII"
        if name.startswith("_"):
            return f"{name!r} cannot name an axis: names of programs begin with an underscore; rename it"
        if axes.count(name) > 1 and name in TOKENS:
            return f"a tensor has one axis `{name}`, not {axes.count(name)}"
    return ""


def range_problem(name: str, low: object, high: object) -> str:
    """Why these are no bounds of a parameter; empty when they are."""
    for bound in (low, high):
        if not isinstance(bound, int) or isinstance(bound, bool):
            return f"the bounds of the parameter `{name}` are integers, not {bound!r}"
    assert isinstance(low, int) and isinstance(high, int)
    if not -PARAM_LIMIT <= low <= high <= PARAM_LIMIT:
        return f"the range [{low}, {high}] of the parameter `{name}` is empty or leaves [-2**30, 2**30]"
    return ""


def predicate_problem(e: Expr, *others: Expr) -> str:
    """Why this predicate, or score, cannot be taken beside other expressions of its pattern; empty when it can."""
    return size_problem(e) or _kind_problem(e) or twice_problem(e, *others) or width_problem(e, 1)


def _kind_problem(e: Expr) -> str:
    """Why a mask cannot compare real numbers; empty where it compares none."""
    found = next((n for n in nodes(e) if n.is_real), None) if e.is_bool else None
    return "" if found is None else f"a mask is a condition on integers; `{found}` is a real number"


def condition_problem(e: Expr) -> str:
    """Why a call cannot be held to this condition on its parameters; empty when it can."""
    sums = all(n.op in (Op.CONST, Op.PARAM, Op.ADD, Op.MUL) for n in nodes(*e.args))
    if e.op is not Op.LE or not sums:
        return f"a call is held to `a <= b`, of sums and products of integers and parameters; not to `{e}`"
    return size_problem(e)


def divisor_problem(e: Expr, ranged: str, positive: str) -> str:
    """Why this cannot divide; empty when it can. How a parameter gets a range, and an integer a least value, is written
    with the name, or the text, for `{}`.
    """
    found = bounds(e)
    if not found.low <= 0 <= found.high:
        return ""
    if e.op is Op.CONST:
        return f"the divisor `{e}` is zero"
    advice = "give the parameter a range" if e.op is Op.PARAM else "say what it is at least"
    return f"the divisor `{e}` can be zero; {advice}: {(ranged if e.op is Op.PARAM else positive).format(e)}"


def size_problem(e: Expr, advice: str = 'name a set of tokens by a field: is_global = an.field("is_global")') -> str:
    """Why an expression is too large; empty when it is not."""
    depth: dict[Expr, int] = {}
    size: dict[Expr, int] = {}
    for n in nodes(e):
        inner = () if n.op in _READ else n.args
        depth[n] = 0 if n.op in LEAVES else 1 + max((depth[a] for a in inner), default=0)
        size[n] = 1 + sum(size[a] for a in inner)
    if depth[e] > DEEPEST or size[e] > LARGEST:
        return (
            f"the {'score' if e.is_real else 'predicate'} has {size[e]} operations, {depth[e]} inside one another; "
            f"at most {LARGEST} and {DEEPEST} are taken; {advice}"
        )
    return ""


def twice_problem(*roots: Expr) -> str:
    """Why these cannot stand in one declaration; empty when they can."""
    names = [d.name for d in declared_in(*roots)]
    for name in names:
        if names.count(name) > 1:
            return f"`{name}` names two different fields, tensors or parameters; declare it once, or rename one"
    return ""


def score_problem(score: Expr) -> str:
    """Why this score, weight, sink or factor cannot be taken; empty when it can."""
    for e, most in ((score, REAL_LIMIT), (slope(score), SLOPE_LIMIT)):
        for n in nodes(e):
            if n.op is Op.REAL and isinstance(n.value, float) and not abs(n.value) <= most:
                return f"a constant of a score, {n.value:g}, lies beyond {REAL_LIMIT:g}; to hide pairs, use a mask"
    return predicate_problem(score)


def width_problem(e: Expr, most: int) -> str:
    """Why `e` can leave 64 bits while the values of its fields stay within +- `most`; empty when it cannot.

    Bounded are all integers, and the difference of what is compared where it reads fields.
    """
    bounder = Bounder(Integers(), lambda leaf: Interval(-most, most) if leaf.op in _READ else any_call(leaf))
    reading: set[Expr] = set()
    for n in nodes(e):
        if n.op in _READ or any(a in reading for a in n.args):
            reading.add(n)
        if n.is_real or (n.is_bool and not (n.op in COMPARISONS and n in reading)) or any(a.is_real for a in n.args):
            continue
        found = bounder.integer(sub(*n.args) if n.is_bool else n)
        if n.op is not Op.SYM and (found.low <= -INFINITE or found.high >= INFINITE):
            return f"`{n}` can leave 64 bits; {_smaller(n)}"
    return ""


def _smaller(e: Expr) -> str:
    """What keeps an expression within 64 bits: what it is made of decides."""
    if params_of(e):
        return "give its parameters ranges: an.param(name, low=..., high=...)"
    if any(n.op is Op.CONST and abs(n.const) > LARGE for n in nodes(e)):
        return "smaller constants help"
    return "positions go up to 2**28, so a product has at most two of them: compare abs(q - k) <= 2, not its cube to 8"


@lru_cache(maxsize=1024)
def field_limit(*roots: Expr) -> int:
    """The power of two, at most 2**60, within which (+-) values of fields keep all of some predicates within 64 bits.

    >>> from attnir.expr import Q, K, field
    >>> from attnir.ops import FieldDecl
    >>> x = FieldDecl("x")
    >>> gap = field(x, Q) - field(x, K)
    >>> field_limit(gap <= 3).bit_length() - 1, field_limit(gap * gap <= 64).bit_length() - 1
    (59, 29)
    """
    too_wide = bisect_left(range(61), True, key=lambda bits: any(width_problem(e, 2**bits) for e in roots))
    return 1 << max(0, too_wide - 1)
