"""What a kernel reads besides its tensors, in bytes: fields, integers of samples and heads, row tables, block lists."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from attnir.arrange import Programs
from attnir.blocks import BlockList
from attnir.call import Call
from attnir.evaluate import row_table
from attnir.expr import K, Q, field
from attnir.labels import TOKEN, in_order
from attnir.ops import FieldDecl, Side
from attnir.program import TileProgram
from attnir.traverse import nodes, tensors_of


def metadata_bytes(programs: Programs, call: Call, blocks: Mapping[TileProgram, BlockList]) -> int:
    """What a kernel of these programs, with their block lists, reads besides q, k, v, do, o and lse."""
    expressions = [e for p in programs for e in p.expressions()]
    if programs[0].label is not None:
        call = in_order(call, programs[0].label)
        expressions += [field(TOKEN, token) for token in (Q, K)]
    tables = dict.fromkeys(t for p in programs for t in p.tables())
    total = sum(t.numel() * t.element_size() for t in (row_table(e, call) for e in tables))
    total += sum(blocks[p].nbytes for p in programs if p in blocks)
    total += sum(t.numel() * t.element_size() for t in (call.tensors[d.name] for d in tensors_of(*expressions)))
    for name in {n.value.name for n in nodes(*expressions) if isinstance(n.value, FieldDecl)}:
        queries, keys = (call.fields[name].on(side) for side in Side)
        total += sum(t.numel() * t.element_size() for t in ((keys,) if _inside(queries, keys) else (queries, keys)))
    return total


def _inside(part: Tensor, whole: Tensor) -> bool:
    """Whether one tensor lies in the memory of another."""
    return whole.data_ptr() <= part.data_ptr() and _end(part) <= _end(whole)


def _end(t: Tensor) -> int:
    """One past the last byte of a tensor."""
    last = sum((n - 1) * step for n, step in zip(t.shape, t.stride(), strict=True)) if t.numel() else -1
    return t.data_ptr() + (last + 1) * t.element_size()
