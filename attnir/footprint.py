"""What a kernel reads besides its tensors: fields, integers of samples and heads, row tables, block lists; in bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from torch import Tensor

from attnir.blocks import BlockList
from attnir.call import Call
from attnir.evaluate import row_table
from attnir.expr import Expr, side_of
from attnir.labels import TOKEN, in_order
from attnir.ops import FieldDecl, Op, ParamDecl, SelectionDecl, Side, TensorDecl
from attnir.program import Listed, Programs, Status, TileProgram
from attnir.traverse import nodes, numbers_of, reals_of, selections_of, tensors_of


@dataclass(frozen=True, slots=True)
class Reads:
    """What a kernel reads besides q, k and v.

    (field name, side), tensors of integers, row tables, block lists; real tensors and parameters of its score;
    selections.
    """

    fields: tuple[tuple[str, Side], ...]
    tensors: tuple[TensorDecl, ...]
    tables: tuple[Expr, ...]
    lists: tuple[Status, ...]
    reals: tuple[TensorDecl, ...] = ()
    numbers: tuple[ParamDecl, ...] = ()
    selections: tuple[SelectionDecl, ...] = ()


@lru_cache(maxsize=1024)
def reads_of(programs: Programs) -> Reads:
    """What a kernel of these programs reads besides its tensors."""
    used = list(evaluated(programs))
    fields = {(e.value.name, side_of(e.args[0])) for e in used if isinstance(e.value, FieldDecl)}
    if programs and programs[0].label is not None:
        fields |= {(TOKEN.name, side) for side in Side}
    lists = tuple(v.status for p in programs for v in p.visits if isinstance(v, Listed))
    tables = dict.fromkeys(t for p in programs for t in p.tables())
    return Reads(
        tuple(sorted(fields)),
        tensors_of(*used),
        tuple(tables),
        lists,
        reals_of(*used),
        numbers_of(*used),
        selections_of(*(e for e in used if e.op is Op.RANK)),
    )


def evaluated(programs: Programs) -> Iterator[Expr]:
    """Every node that the kernel evaluates: not what defines a row table, nor a predicate that no tile checks."""
    roots: list[Expr] = []
    for program in programs:
        roots += [*program.scalars(), *program.computed, *(t.value for t in program.terms)]
        if any(v.status is Status.PARTIAL for v in program.visits):
            roots.append(program.predicate)
    yield from nodes(*roots, definitions=False)


def metadata_bytes(programs: Programs, call: Call, blocks: Mapping[TileProgram, BlockList]) -> int:
    """The bytes of what a kernel of these programs, with their block lists, reads besides q, k, v, do, o and lse."""
    reads, call = reads_of(programs), in_order(call, programs[0].label)
    total = sum(_bytes(row_table(e, call)) for e in reads.tables)
    total += sum(_bytes(call.tensors[d.name]) for d in reads.tensors)
    total += sum(_bytes(call.reals[d.name]) for d in reads.reals if d.name in call.reals)
    total += sum(_bytes(call.selections[d.name]) for d in reads.selections)
    total += sum(blocks[p].nbytes for p in programs if p in blocks)
    for name in {name for name, _ in reads.fields}:
        read = [call.fields[name].on(side) for side in Side if (name, side) in reads.fields]
        total += _bytes(read[-1]) if len(read) > 1 and _inside(*read) else sum(map(_bytes, read))
    return total


def _bytes(t: Tensor) -> int:
    return t.numel() * t.element_size()


def _inside(part: Tensor, whole: Tensor) -> bool:
    """Whether one tensor lies in the memory of another."""
    return whole.data_ptr() <= part.data_ptr() and _end(part) <= _end(whole)


def _end(t: Tensor) -> int:
    """One past the last byte of a tensor."""
    last = sum((n - 1) * step for n, step in zip(t.shape, t.stride(), strict=True)) if t.numel() else -1
    return t.data_ptr() + (last + 1) * t.element_size()
