"""A case as a stand-alone script of a few lines, which fails as the case did."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import fields, replace

from torch import Tensor

from attnir.expr import TRUE, Expr
from attnir.heads import Heads
from attnir.scores import Pattern, pattern
from attnir.testing.case import Case
from attnir.testing.values import Values, written
from attnir.weighing import SOFTMAX, Weights

WIDTH = 118
HEAD = "# `"  # a line that begins so is in every script: the first, if nothing was added


def script(case: Case, backend: str, name: str, error: str) -> str:
    """A script that checks one property of a case on a backend; `error` is what it said.

    >>> import attnir as an
    >>> print(script(Case(an.causal(), q_len=2), "torch", "walks", "a live pair is lost"))
    # `walks` on torch: a live pair is lost
    import attnir as an
    from attnir.testing import Case, check
    <BLANKLINE>
    case = Case(
        an.parse("k <= q"),
        q_len=2,
    )
    check(case, "torch", "walks")
    <BLANKLINE>
    """
    body = "\n".join(f"    {line}," for line in _arguments(case, _built if name == "text" else _read))
    said = textwrap.shorten(f"{HEAD}{name}` on {backend}: {error.splitlines()[0] if error else 'no words'}", WIDTH)
    needed = "import torch\n\n" if "torch." in body else ""
    nodes = "from attnir.expr import node\nfrom attnir.ops import FieldDecl, Op, ParamDecl, SelectionDecl, TensorDecl\n"
    head = f"{said}\n{needed}import attnir as an\n{nodes if 'node(' in body else ''}"
    head += "from attnir.testing import Case, check\n"
    return f'{head}\ncase = Case(\n{body}\n)\ncheck(case, "{backend}", "{name}")\n'


def _arguments(case: Case, of_pattern: Callable[[Pattern], str]) -> list[str]:
    """What differs from a case's defaults, as Python."""
    given = [of_pattern(pattern(case.pattern))]
    for f in fields(case):
        value = getattr(case, f.name)
        if f.name not in ("pattern", "bindings") and (value != f.default or f.name == "q_len"):
            given.append(f"{f.name}={'an.' * isinstance(value, Heads)}{value!r}")
    if case.bindings:
        bound = ", ".join(f'"{name}": {_value(value)}' for name, value in case.bindings.items())
        given.append(f"bindings={{{bound}}}")
    return given


def _read(p: Pattern) -> str:
    """A pattern as what reads its text."""
    return f'an.parse("{p}")'


def _built(p: Pattern) -> str:
    """A pattern node by node: for one whose text is what is wrong. What arranges its tokens is read all the same."""
    arranged = [f'an.parse("{replace(p.mask, predicate=TRUE)}").spaces'] if any(p.spaces) else []
    mask = ", ".join([_node(p.predicate), *arranged])
    more = f", heads={p.heads}" if p.heads else ""
    return f"an.Pattern(an.Mask({mask}{more}), {_node(p.score)}{_weights(p.weights)})"


def _weights(w: Weights) -> str:
    """The weights of a pattern, where they are not softmax's alone."""
    if w == SOFTMAX:
        return ""
    given = [f"{name}={_node(e)}" for name in ("value", "sink", "factor") if (e := getattr(w, name)) is not None]
    return f", an.Weights({', '.join(given)}, divided={w.divided}, landmarks={w.landmarks})"


def _node(e: Expr) -> str:
    return f"node(Op.{e.op.name}, ({''.join(f'{_node(a)}, ' for a in e.args)}), {e.value!r})"


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_value, value))})"
    if isinstance(value, Tensor):
        return written(value)
    return str(value) if isinstance(value, Values) else repr(value)
