"""A case as a stand-alone script of a few lines, which fails as the case did."""

from __future__ import annotations

import textwrap
from dataclasses import fields

from torch import Tensor

from attnir.testing.case import Case
from attnir.testing.values import Values, written

WIDTH = 116


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
    body = "\n".join(f"    {line}," for line in _arguments(case))
    said = textwrap.shorten(f"`{name}` on {backend}: {error.splitlines()[0] if error else 'no words'}", WIDTH)
    needed = "import torch\n\n" if "torch." in body else ""
    head = f"# {said}\n{needed}import attnir as an\nfrom attnir.testing import Case, check\n"
    return f'{head}\ncase = Case(\n{body}\n)\ncheck(case, "{backend}", "{name}")\n'


def _arguments(case: Case) -> list[str]:
    """What differs from a case's defaults, as Python."""
    given = [f"an.parse({_quoted(str(case.pattern))})"]
    for f in fields(case):
        value = getattr(case, f.name)
        if f.name not in ("pattern", "bindings") and (value != f.default or f.name == "q_len"):
            given.append(f"{f.name}={value!r}")
    if case.bindings:
        bound = ", ".join(f'"{name}": {_value(value)}' for name, value in case.bindings.items())
        given.append(f"bindings={{{bound}}}")
    return given


def _quoted(text: str) -> str:
    return f'"{text}"'


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_value, value))})"
    if isinstance(value, Tensor):
        return written(value)
    return str(value) if isinstance(value, Values) else repr(value)
