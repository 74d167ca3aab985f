"""What a kernel reads besides its tensors, in one call: fields, row tables, block lists, and their strides."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from attnir.call import Call
from attnir.codegen.lists import block_list
from attnir.codegen.triton.arguments import size_of_axis, tile_count
from attnir.evaluate import row_table
from attnir.expr import TOKENS
from attnir.footprint import reads_of
from attnir.labels import in_order
from attnir.program import Programs, TileProgram
from attnir.walk import tile_counts


def metadata(programs: Programs, call: Call) -> dict[str, Any]:
    """The values of a kernel's metadata arguments, counts and parameters, by name."""
    reads = reads_of(programs)
    call = in_order(call, programs[0].label)
    values: dict[str, Any] = {f"param_{name}": value for name, value in call.params.items()}
    for name, side in reads.fields:
        given = call.fields[name].on(side)
        values |= _strided(f"field_{name}_{side}", given if given.stride(-1) == 1 else given.contiguous(), "batch")
    for tensor in reads.tensors:
        values |= _strided(f"tensor_{tensor.name}", call.tensors[tensor.name], "b", "h")
    for selection in reads.selections:
        name, given = f"selection_{selection.name}", call.selections[selection.name]
        values |= _strided(name, given, "b", "h") | {f"{name}_list": given.stride(2), f"{name}_place": given.stride(3)}
        values |= {f"{name}_lists": given.shape[2], f"{name}_places": given.shape[3]}
    values |= {f"number_{name}": value for name, value in call.numbers.items()}
    for tensor in reads.reals:
        given = call.reals[tensor.name].detach()
        values[f"real_{tensor.name}"] = given
        for i, axis in enumerate(tensor.axes):
            shared = axis in TOKENS and given.shape[i] == 1
            values[f"real_{tensor.name}_{i}"] = 0 if given.shape[i] == 1 else given.stride(i)
            values[size_of_axis(tensor, i)] = call.batch if shared else given.shape[i]
    for i, table in enumerate(reads.tables):
        values |= _strided(f"table_{i}", row_table(table, call).contiguous(), "batch", "head")
    if reads.lists:
        values |= _lists(programs[0], call)
    if not programs[0].rows.is_sequence:
        values |= {
            tile_count(a): n for a, n in zip(programs[0].rows.axes, tile_counts(programs[0].rows, call), strict=True)
        }
    return values


def _strided(name: str, t: Tensor, *axes: str) -> dict[str, Any]:
    """A tensor and its strides; an axis of size 1 is shared, so its stride is 0."""
    steps = {f"{name}_{axis}": t.stride(i) if t.shape[i] > 1 else 0 for i, axis in enumerate(axes)}
    return {name: t, **steps}


def _lists(program: TileProgram, call: Call) -> dict[str, Any]:
    """Offsets and indices by status, and how many rows of offsets lie between samples and between heads."""
    blocks = block_list(program, call)
    batch, heads, rows = blocks.shape
    values: dict[str, Any] = {"list_batch": heads * rows if batch > 1 else 0, "list_head": rows if heads > 1 else 0}
    for status, (offsets, indices) in (("full", blocks.full), ("partial", blocks.partial)):
        values |= {f"{status}_offsets": offsets, f"{status}_indices": indices}
    return values
