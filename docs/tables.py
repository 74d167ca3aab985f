"""What pages print of the package: figures that are held by the tests, commands, errors. As Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import typer

from attnir.frontends.cli import app
from benchmarks.realistic import promised
from docs import ROOT
from docs.error_examples import BEFORE, EXAMPLES, kinds, message

OVER_COMPUTE = ROOT / "tests" / "over_compute.json"
CPU = ROOT / "benchmarks" / "results" / "cpu.json"
ROUTED = ROOT / "benchmarks" / "results" / "routed_cpu.json"
SCORE_COST = ROOT / "benchmarks" / "results" / "score_cost.json"
COUNTED = ("matrix", "exp", "float", "integer", "select", "shared", "global", "control")


def table(head: Sequence[str], rows: Iterable[Sequence[object]], align: str = "---:") -> str:
    """A table; the first column is text, the others are figures, or what `align` says.

    >>> print(table(["a|b", "n"], [["x", 1]]))
    | a\\|b | n |
    | --- | ---: |
    | x | 1 |
    """
    lines = [head, ["---", *[align] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(c).replace("|", "\\|") for c in line) + " |" for line in lines)


def over_compute(*, catalog: bool) -> str:
    """Pairs visited to a live pair, of the catalog or of the patterns with a promise: the table that the tests hold."""
    found, most = json.loads(OVER_COMPUTE.read_text()), promised()
    names = sorted((name for name in found if (name in most) is not catalog), key=str.lower)
    figures = {name: [f"{found[name][d]:.2f}" for d in ("forward", "transposed")] for name in names}
    if catalog:
        return table(["pattern", "forward", "transposed"], [[name, *figures[name]] for name in names])
    rows = [[name, f"{most[name].promised:.2f}", *figures[name]] for name in names]
    return table(["pattern", "promised", "forward", "transposed"], rows)


def cpu() -> str:
    """Forward passes on a CPU, in milliseconds, and ratios: above 1 attnir is faster."""
    head = ["pattern", "tokens", "attnir", "FlexAttention", "dense mask", "flex / attnir", "dense / attnir"]
    return table(head, [_compared(row) for row in json.loads(CPU.read_text()) if "flex" in row["ms"]])


def _compared(row: Any) -> list[str]:
    own, flex, dense = (row["ms"].get(who) for who in ("attnir", "flex", "dense mask"))
    times = ("" if ms is None else f"{ms:.1f}" for ms in (own, flex, dense))
    return [row["pattern"], f"{row['length']:,}", *times, f"{flex / own:.2f}", f"{dense / own:.2f}" if dense else ""]


def cpu_both() -> str:
    """Forward and backward of the window on a CPU."""
    rows = [(row["length"], row["ms"]["attnir"]) for row in json.loads(CPU.read_text()) if "flex" not in row["ms"]]
    cells = [[f"{length:,}", f"{ms:.1f}", f"{1e3 * ms / length:.1f}"] for length, ms in rows]
    return table(["tokens", "milliseconds", "microseconds a token"], cells)


def routed() -> str:
    """Routed attention on a CPU, in milliseconds, and ratios: above 1 attnir is faster."""
    rows = []
    for row in json.loads(ROUTED.read_text()):
        ms = row["ms"]
        flex = ms["flex, mask given"] + ms["flex's mask"] + ms["choosing"]
        times = [
            ms["attnir"],
            ms["choosing"],
            flex,
            ms["flex's mask"],
            ms["dense"],
            ms["attnir, both"],
            ms["dense, both"],
        ]
        ratios = flex / ms["attnir"], ms["dense"] / ms["attnir"], ms["dense, both"] / ms["attnir, both"]
        cells = [*(f"{t:.1f}" for t in times), *(f"{r:.2f}" for r in ratios)]
        rows.append([row["mechanism"], f"{row['length']:,}", *cells])
    head = ["mechanism", "tokens", "attnir", "of it choosing", "FlexAttention", "of it its mask", "dense"]
    return table([*head, "attnir, both", "dense, both", "flex / attnir", "dense / attnir", "the same, both"], rows)


def score_cost(kind: str) -> str:
    """Instructions of a thread in the loop over full tiles, for a tile; and by pair, more than the plain kernel has."""
    found = [row for row in json.loads(SCORE_COST.read_text())["rows"] if row["kind"] == kind]
    head = ["score", "D", "tile", "pairs", *COUNTED, "all", "by pair", "more by pair"]
    return table(head, [_counted(row) for row in found])


def _counted(row: Any) -> list[object]:
    counts = row["instructions"]
    total = sum(counts.values())
    more = "" if row["score"] == "plain" else f"{row['more']:.2f}"
    start = [row["score"], row["width"], row["tile"], row["pairs"]]
    return [*start, *(counts[c] for c in COUNTED), total, f"{total / row['pairs']:.2f}", more]


def errors() -> str:
    """Every class of error, what it means, code that raises it, and what it says."""
    sections = [f"All examples start with\n\n```python\n{BEFORE}\n```\n"]
    for kind in kinds():
        bases = " and ".join(f"`{base.__name__}`" for base in kind.__bases__)
        sections.append(f"## {kind.__name__}\n\n{kind.__doc__} Also caught as {bases}.\n")
        sections += [
            f"```python\n{example.code.strip()}\n```\n\n```text\n{message(example)}\n```\n"
            for example in EXAMPLES
            if example.kind is kind
        ]
    return "\n".join(sections)


def command_line() -> str:
    """Every command: how it is called, what it does, its arguments and options."""
    return "\n".join(_commands("attnir", typer.main.get_command(app)))


def _commands(name: str, command: Any) -> Iterator[str]:
    """The sections of a command; of those in it, where it is a group."""
    if parts := getattr(command, "commands", None):
        for part, inner in parts.items():
            yield from _commands(f"{name} {part}", inner)
        return
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    usage = " ".join([name, *(_name(p) if p.required else f"[{_name(p)}]" for p in arguments), "[OPTIONS]"])
    described = table(
        ["argument", "meaning", "default"],
        [[f"`{_name(p)}`", p.help or "", _default(p)] for p in command.params],
        align="---",
    )
    yield f"## {name}\n\n{command.help}\n\n```text\n{usage}\n```\n\n{described}\n"


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    return ", ".join([*parameter.opts, *parameter.secondary_opts])


def _default(parameter: Any) -> str:
    return "" if parameter.required or parameter.default in (None, False) else f"`{parameter.default}`"
