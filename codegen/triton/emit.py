"""From a tile program to the source of a kernel: one module that a person can read, and importlib can load."""

from __future__ import annotations

import textwrap
from itertools import groupby

from attnir.codegen.targets import LIKE
from attnir.codegen.triton.arguments import Argument, arguments, describe_table
from attnir.codegen.triton.backward import write_delta, write_dkv, write_dq
from attnir.codegen.triton.forward import write_forward
from attnir.codegen.triton.measure import write_columns, write_pulled_dk, write_pulled_dq, write_rows
from attnir.codegen.triton.operands import TO_BFLOAT16
from attnir.codegen.triton.operations import helpers
from attnir.codegen.triton.spec import NAMES, Spec
from attnir.footprint import reads_of
from attnir.program import Programs

WRITERS = {"forward": write_forward, "dq": write_dq, "dkv": write_dkv}
WRITERS |= {"rows": write_rows, "columns": write_columns, "pulled_dq": write_pulled_dq, "pulled_dk": write_pulled_dk}
TITLES = {
    "forward": "o and lse of one tile of queries",
    "dq": "dQ of one tile of queries",
    "dkv": "dK and dV of one tile of keys",
    "delta": "delta = rowsum(dO * o) - dlse of one tile of queries",
    "rows": "sums over the keys of one tile of queries",
    "columns": "sums over the queries of one tile of keys",
    "pulled_dq": "dQ of one tile of queries, for statistics",
    "pulled_dk": "dK of one tile of keys, for statistics",
}


def emit(kind: str, programs: Programs, spec: Spec) -> str:
    """The source of a kernel: "forward", "dq", "dkv" with the tile programs of a launch, or "delta" with none.

    Those of statistics take programs that have terms.
    `dkv` takes transposed programs. The function has the kernel's name; its arguments are `arguments(...)`.
    """
    if kind == "delta":
        body = write_delta(spec)
    else:
        assert programs and programs[0].transposed == (LIKE.get(kind, kind) == "dkv"), f"{kind} takes other programs"
        body = WRITERS[kind](programs, spec).w.text()
    signature = arguments(kind, programs, spec)
    parts = [_header(kind, programs, spec), _constants(spec, signature, body)]
    parts += [text for text in (TO_BFLOAT16 if "to_bfloat16(" in body else "", helpers(body)) if text]
    parts += [_function(kind, signature), textwrap.indent(body, "    ")]
    return "\n".join(parts)


def _header(kind: str, programs: Programs, spec: Spec) -> str:
    heads = "heads by maps" if spec.mapped else "grouped heads" if spec.grouped else "as many key heads as query heads"
    title = TITLES[kind]
    if kind == "forward" and not programs[0].weights.divided:
        title = title.replace("o and lse", "o")
    facts = [f"{title}.", "", f"{NAMES[spec.dtype]}, D = {spec.d}, Dv = {spec.dv}, {heads}; {spec.config}."]
    facts += ["Written by attnir; attnir.codegen.triton says what the arguments and the grid are."]
    for program in programs:
        facts += ["", *str(program).splitlines()]
    facts += [f"table_{i}: {describe_table(t)}" for i, t in enumerate(reads_of(programs).tables)]
    lines = "\n".join(facts)
    return f'"""{lines}\n"""\n\nimport triton\nimport triton.language as tl\n'


def _constants(spec: Spec, signature: tuple[Argument, ...], body: str) -> str:
    integers = ", ".join(f'"{a.name}"' for a in signature if not a.is_pointer and a.type != "fp32")
    pointers = ", ".join(f'"{a.name}"' for a in signature if a.is_pointer and (a.is_metadata or not spec.aligned))
    known = {
        "BLOCK_Q": str(spec.config.block_q),
        "BLOCK_K": str(spec.config.block_k),
        "LOG2E": "1.4426950408889634",
        "LN2": "0.6931471805599453",
        "MIN": "-1.0e30",
    }
    lines = [f"{name} = tl.constexpr({value})" for name, value in known.items() if name in body]
    lines += ["", "# One compiled kernel serves all sizes and strides.", *_wrapped("SIZES", integers)]
    return "\n".join([*lines, *_wrapped("UNALIGNED", pointers)]) + "\n"


def _wrapped(name: str, items: str) -> list[str]:
    return textwrap.wrap(f"{name} = [{items}]", 110, subsequent_indent="    ", break_long_words=False)


def _function(kind: str, signature: tuple[Argument, ...]) -> str:
    lines = ""
    for _, group in groupby(signature, _paragraph):
        lines += "    " + ", ".join(a.name if a.is_pointer else f'{a.name}: "{a.type}"' for a in group) + ",\n"
    return f"\n@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=UNALIGNED)\ndef {kind}(\n{lines}):"


def _paragraph(a: Argument) -> str:
    """Arguments of one paragraph stand on one line of the signature."""
    if a.is_pointer:
        return "metadata" if a.is_metadata else "tensors"
    return a.name.rsplit("_", 1)[0] if a.type == "i64" else a.type
