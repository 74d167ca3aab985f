"""`attnir bench`: the time of a pattern on this machine, beside dense attention."""

from __future__ import annotations

import os
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

import attnir as an
from attnir.explain import given_heads
from attnir.frontends.arguments import (
    DTYPES,
    Backend,
    DtypeName,
    Fields,
    Params,
    PatternText,
    Tensors,
    attention_of,
    bound,
    in_words,
)
from attnir.frontends.contest import ATTNIR, Measured, Size, measure
from attnir.frontends.values import Given
from attnir.signature import value_of
from attnir.testing.values import moved
from attnir.traverse import params_of

MOST_LENGTH = 2**20


def bench(
    pattern: PatternText,
    length: Annotated[
        int | None, typer.Option(help="tokens; default: 2048, or those of the pattern's grid", min=1, max=MOST_LENGTH)
    ] = None,
    heads: Annotated[
        int | None, typer.Option(help="heads; default: 8, or those of the pattern", min=1, max=1024)
    ] = None,
    d: Annotated[int, typer.Option(help="the width of a head, 1 to 576")] = 64,
    dtype: Annotated[DtypeName | None, typer.Option(help="default: bf16 on a GPU, fp32 on a CPU")] = None,
    backend: Annotated[Backend | None, typer.Option(help="whose time; default: Triton on a GPU, else torch")] = None,
    repeat: Annotated[int, typer.Option(help="runs of each, of which the median counts", min=1, max=10_000)] = 7,
    set_: Params = None,
    field: Fields = None,
    tensor: Tensors = None,
) -> None:
    """Time a pattern on this machine, forward and backward, beside torch's dense attention, in one interleaved run."""
    attention = attention_of(pattern, backend=backend)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chosen = DTYPES[dtype or ("bf16" if device.type == "cuda" else "fp32")]
    length = length or _arranged(attention, set_)
    bindings = bound(attention, length, None, None, set_, field, tensor)
    size = Size(length, heads or attention.pattern.heads or given_heads(attention, bindings) or 8, d, chosen, device)
    console = Console(highlight=False)
    with in_words():
        measured = measure(attention, size, {name: moved(value, device) for name, value in bindings.items()}, repeat)
    console.print(f"{attention.pattern}\n{_where(attention.plan.backend_on(device.type), size)}\n", markup=False)
    console.print(_table(measured))
    for name, why in measured.left_out.items():
        console.print(f"\n{name} is left out: {why}", markup=False)
    console.print(f"\nmedians of {repeat} interleaved runs; a ratio above 1 says that attnir is faster", markup=False)
    if device.type == "cpu" and os.environ.get("OMP_WAIT_POLICY", "").lower() != "passive":
        console.print("OMP_WAIT_POLICY=passive makes times steadier where the CPU is shared", markup=False)


def _arranged(attention: an.Attention, set_: list[str] | None) -> int:
    """How many tokens the pattern arranges, on a grid for example; where it does not, some number."""
    keys = attention.signature.spaces[1]
    with in_words():
        params = {name: n for name, n in Given(set_ or ()).scalars().items() if isinstance(n, int)}
    if keys is None or not all(p.name in params for p in params_of(keys.length)):  # a missing one is told later
        return 2048
    return value_of(keys.length, params)


def _where(backend: str, size: Size) -> str:
    if size.device.type == "cuda":
        machine = torch.cuda.get_device_name()
    else:
        machine = f"CPU, {torch.get_num_threads()} threads"
    dtype = str(size.dtype).removeprefix("torch.")
    return f"{backend} on {machine}: {size.length:,} tokens, {size.heads} heads, D = {size.d}, {dtype}"


def _table(m: Measured) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True, style="cyan")
    for name in ("forward", "ratio", "forward + backward", "ratio"):
        table.add_column(name, justify="right")
    for name in m.forward:
        row = [cell for ms in (m.forward, m.both) for cell in (_ms(ms[name]), _ratio(ms[name] / ms[ATTNIR]))]
        table.add_row(name, *row)
    return table


def _ms(value: float) -> str:
    return f"{value:,.3f} ms" if value < 10 else f"{value:,.1f} ms"


def _ratio(value: float) -> str:
    return f"{value:.2f}x"
