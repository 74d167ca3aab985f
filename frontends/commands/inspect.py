"""`attnir inspect`: what the kernels of a pattern become on a target, compiled without a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

import attnir as an
from attnir.codegen.targets import Target as Gpu
from attnir.codegen.targets import current_target
from attnir.errors import BackendError
from attnir.frontends.arguments import (
    DTYPES,
    Dtype,
    DtypeName,
    Grouped,
    Kind,
    PatternText,
    Target,
    ValueWidth,
    Width,
    attention_of,
    in_words,
)
from attnir.inputs import check_widths

if TYPE_CHECKING:
    from attnir.codegen.triton.survey import Finding, Kernel

Kinds = Literal[Kind, "all"]
Found = dict[str, tuple["Kernel", "Finding"]]  # by the kernel's name
ALL = ("forward", "delta", "dq", "dkv")


def inspect(
    pattern: PatternText,
    kind: Annotated[Kinds, typer.Option(help="which kernel")] = "all",
    d: Width = 64,
    dv: ValueWidth = None,
    dtype: Dtype = "bf16",
    target: Target = None,
    grouped: Grouped = False,
    assembly: Annotated[Path | None, typer.Option(metavar="FILE", help="write the machine code there")] = None,
) -> None:
    """Compile the kernels for a GPU that need not be here; show what they use. Exits with 1 if a promise is broken."""
    attention = attention_of(pattern)
    with in_words():
        gpu = Gpu.parse(target) if target else current_target()
        kinds = ALL if kind == "all" else (kind,)
        found = _survey(attention, kinds, gpu, d, d if dv is None else dv, dtype, grouped)
        if assembly is not None:
            texts = (f"// {name} on {gpu}\n{f.report.assembly}" for name, (_, f) in found.items())
            assembly.write_text("\n".join(texts))
    console = Console(highlight=False)
    console.print(f"{attention.pattern}\n{gpu}, D = {d}, Dv = {d if dv is None else dv}, {dtype}\n", markup=False)
    console.print(_resources(found))
    console.print("shared: bytes; fit: instances that a processor of the GPU holds at a time, and what limits them\n")
    console.print(_instructions(found))
    console.print("instructions by what they do; its loop: over full tiles", markup=False)
    if assembly is not None:
        typer.echo(f"\nwrote {assembly}")
    problems = [f"{name}: {problem}" for name, (_, f) in found.items() for problem in f.problems]
    if problems:
        console.print("\n[red]broken promises[/red]")
        for problem in problems:
            console.print(f"  {problem}", markup=False)
        raise typer.Exit(1)
    console.print("\nno spills, and every other promise is kept", markup=False)


def _survey(
    attention: an.Attention, kinds: tuple[str, ...], gpu: Gpu, d: int, dv: int, dtype: DtypeName, grouped: bool
) -> Found:
    """What the kernels become. Triton compiles here, even where the environment asks for its interpreter."""
    check_widths(d, dv)
    if "triton" not in sys.modules:
        os.environ["TRITON_INTERPRET"] = "0"  # which Triton reads when it is imported
    try:
        from attnir.codegen.triton.launch import interpreted
        from attnir.codegen.triton.survey import kernels
    except ImportError as error:
        raise BackendError(f"{error}: inspect compiles with Triton; pip install triton") from None
    if interpreted():
        raise BackendError("Triton is interpreting in this process, and compiles nothing; start another one")
    try:
        of = partial(kernels, attention.plan, target=gpu, d=d, dv=dv, dtype=DTYPES[dtype], grouped=grouped)
        asked = [kernel for kind in kinds for kernel in of(kind)]
        return {k.name: (k, k.inspect()) for k in asked}
    except (RuntimeError, subprocess.CalledProcessError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise BackendError(f"the kernels do not compile for {gpu}: {said[0]}") from error


def _resources(found: Found) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("kernel", no_wrap=True, style="cyan")
    for name in ("tiles", "warps", "stages", "registers", "spills", "shared", "fit"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("limit", no_wrap=True)
    for name, (kernel, f) in found.items():
        r, c, held = f.report, kernel.config, f.occupancy
        spills = f"[red]{r.spills:,}[/red]" if r.spills else "0"
        cut = (f"{c.block_q} x {c.block_k}", f"{c.num_warps}", f"{c.num_stages}")
        table.add_row(name, *cut, f"{r.registers}", spills, f"{r.shared:,}", f"{held.instances}", held.limit)
    return table


def _instructions(found: Found) -> Table:
    """What the instructions do, of a kernel in all, and below it of its loop over full tiles."""
    from attnir.codegen.triton.assembly import mix

    rows = []
    for name, (_, f) in found.items():
        rows.append((name, mix(f.report.instructions)))
        rows += [("  its loop", mix(loop.counts)) for loop in f.report.loops[:1]]
    kinds = [kind for kind in rows[0][1] if any(counts[kind] for _, counts in rows)]
    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
    table.add_column("kernel", style="cyan", no_wrap=True)
    for kind in (*kinds, "all"):
        table.add_column(kind, justify="right", no_wrap=True)
    for name, counts in rows:
        table.add_row(name, *(f"{counts[kind]:,}" for kind in kinds), f"{counts.total():,}")
    return table
