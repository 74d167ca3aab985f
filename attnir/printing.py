"""Printing expressions, as Python that reads back to the equal node (`reading.py`).

A predicate's text is its declarations and its condition, separated by semicolons:
`doc = field(sorted=True); (k <= q) & (doc(q) == doc(k))`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from attnir.expr import Expr
from attnir.ops import (
    COMPARISONS,
    FUNCTIONS,
    LEAVES,
    PARAM_LIMIT,
    FieldDecl,
    Op,
    ParamDecl,
    Searched,
    SelectionDecl,
    TensorDecl,
)
from attnir.traverse import fields_of, numbers_of, params_of, reals_of, selections_of, tensors_of

# How tightly an operator binds, as in Python: comparisons are looser than `|` and `&`.
_BINDING = {op: 1 for op in COMPARISONS} | {Op.OR: 2, Op.AND: 3, Op.ADD: 4, Op.SUB: 4}
_BINDING |= {Op.MUL: 5, Op.FLOORDIV: 5, Op.MOD: 5, Op.NEG: 6, Op.NOT: 6}
_BINDING |= {Op.REAL_ADD: 4, Op.REAL_SUB: 4, Op.REAL_MUL: 5, Op.REAL_DIV: 5, Op.REAL_NEG: 6}
_PREFIX = {Op.NEG: "-", Op.REAL_NEG: "-", Op.NOT: "~"}
_CALLS = FUNCTIONS | {Op.ABS, Op.MIN, Op.MAX, Op.WHERE, Op.ROWMIN, Op.ROWMAX}
_CALLS |= {Op.REAL_ABS, Op.REAL_MIN, Op.REAL_MAX, Op.REAL_WHERE, Op.LOG, Op.FLOAT, Op.RANDOM}
_SAME = frozenset({Op.MIN, Op.MAX, Op.REAL_MIN, Op.REAL_MAX})  # min(min(a, b), c) is min(a, b, c)
_TIGHTEST = 7


Abbreviations = Mapping[Expr, str]  # expressions with a name of their own: coordinates, `q.y`


def format_expr(e: Expr, names: Abbreviations | None = None) -> str:
    """The expression as Python; shared nodes are printed as often as they are used."""
    return _format(e, 0, names or {})


def _format(e: Expr, around: int, names: Abbreviations) -> str:
    if e in names:
        return names[e]
    match e.value:
        case FieldDecl(name=name):
            return f"{name}({_format(e.args[0], 0, names)})"
        case TensorDecl(name=name):
            return f"{name}[{', '.join(_format(a, 0, names) for a in e.args) or '()'}]"
        case SelectionDecl(name=name):
            return f"{name}({', '.join(_format(a, 0, names) for a in e.args[:2])})"
        case ParamDecl(name=name):
            return name
        case Searched(field=decl, side=side):
            bound, at = (_format(a, 0, names) for a in e.args)
            return f"{e.op.value}({decl.name}({side}), {bound}, {at})"
    if e.op in LEAVES:
        text = str(e.value)
        return f"({text})" if around >= _BINDING[Op.NEG] and text.startswith("-") else text
    if e.op in _CALLS:
        return f"{_sign(e.op)}({', '.join(_format(a, 0, names) for a in _flat(e))})"
    binding = _BINDING[e.op]
    if e.op in _PREFIX:
        text = _PREFIX[e.op] + _format(e.args[0], binding, names)
    else:
        # A comparison does not chain, and the right argument of `-`, `//`, `%` does not regroup.
        left = binding + 1 if e.op in COMPARISONS else binding
        text = f"{_format(e.args[0], left, names)} {_sign(e.op)} {_format(e.args[1], binding + 1, names)}"
    return f"({text})" if binding < around else text


def _sign(op: Op) -> str:
    """How an operation is written: one on real numbers like that on integers."""
    return op.value.removesuffix(".")


def _flat(e: Expr) -> list[Expr]:
    """The arguments of a call; min(min(a, b), c) is written min(a, b, c)."""
    if e.op in _SAME and e.args[0].op is e.op:
        return [*_flat(e.args[0]), e.args[1]]
    return list(e.args)


def declarations(*roots: Expr) -> list[str]:
    """One text for each field, tensor and parameter below the roots."""
    lines = [f"{f.name} = field({'sorted=True' if f.sorted else ''})" for f in fields_of(*roots)]
    lines += [f"{t.name} = tensor({', '.join(t.axes)})" for t in tensors_of(*roots)]
    lines += [f"{t.name} = tensor({', '.join((*t.axes, 'dtype=float'))})" for t in reals_of(*roots)]
    lines += [f"{s.name} = selection({', '.join(s.axes)})" for s in selections_of(*roots)]
    for p in params_of(*roots):
        limits = {"low": (p.low, -PARAM_LIMIT), "high": (p.high, PARAM_LIMIT)}
        given = ", ".join(f"{name}={value}" for name, (value, default) in limits.items() if value != default)
        lines.append(f"{p.name} = param({given})")
    return lines + [f"{p.name} = param(dtype=float)" for p in numbers_of(*roots)]


def format_predicate(e: Expr) -> str:
    """Declarations and predicate in one line."""
    return "; ".join([*declarations(e), format_expr(e)])


def wrapped(text: str, width: int, most: int) -> list[str]:
    """The text of a pattern in lines, for people: at most so many, the last one cut where there is more.

    >>> wrapped("(k <= q) & ((k < 4) | (q - k < 8))", 20, 2)
    ['(k <= q) & ((k < 4)', '| (q - k < 8))']
    >>> wrapped("(k <= q) & ((k < 4) | (q - k < 8))", 20, 1)
    ['(k <= q) & ((k < ...']
    """
    return textwrap.wrap(text, width, max_lines=most, placeholder=" ...", break_on_hyphens=False)
