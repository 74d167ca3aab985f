"""The arguments of the kernels: their names, types and order. The text, the launch and the inspection follow them.

In this order: pointers to tensors; pointers to metadata (fields, row tables, block lists); `scale`; sizes; counts of
row tiles; parameters; strides of tensors; strides of metadata. Sizes and strides are run-time values and never
specialised, so one compiled kernel serves every length.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from attnir.axes import Axis
from attnir.codegen.triton.spec import NAMES, Spec
from attnir.expr import Expr, H
from attnir.footprint import evaluated, reads_of
from attnir.ops import Op, Searched, TensorDecl
from attnir.program import Programs
from attnir.traverse import contains, params_of

TENSORS = {
    "forward": ("q", "k", "v", "o"),
    "dq": ("q", "k", "v", "do", "dq"),
    "dkv": ("q", "k", "v", "do", "dk", "dv"),
    "delta": ("o", "do"),
    "rows": ("q", "k"),
    "columns": ("q", "k"),
    "pulled_dq": ("q", "k", "dq"),
    "pulled_dk": ("q", "k", "dk"),
}
ROWS = {  # float32, contiguous [B, Hq, Sq]
    "forward": ("lse",),
    "dq": ("lse", "delta"),
    "dkv": ("lse", "delta"),
    "delta": ("lse", "dlse", "delta"),
    "rows": ("lse",),
    "columns": ("lse",),
    "pulled_dq": ("lse", "delta"),
    "pulled_dk": ("lse", "delta"),
}
MAPS = ("key_head", "value_head")  # of each query head, int32 [Hq]
SUMMED = ("rows", "columns")  # which give float32 [B, Hq, Sq] or [B, Hq, Sk] for each term


def rows_of(kind: str, programs: Programs) -> tuple[str, ...]:
    """What a kernel reads or writes of rows: nothing where weights are not divided."""
    return () if programs and not programs[0].weights.divided else ROWS[kind]


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument. `type` is "i32", "i64", "fp32", or "*" and the type pointed to; "*" alone is any integer."""

    name: str
    type: str

    @property
    def is_pointer(self) -> bool:
        return self.type.startswith("*")

    @property
    def is_metadata(self) -> bool:
        return self.type in ("*", "*i32") or self.name.startswith("real_")


SIZED = frozenset("hqk")  # axes of real tensors whose sizes every kernel knows; a sample is not read but at its own


def size_of_axis(tensor: TensorDecl, i: int) -> str:
    """The name of the size of an axis of a real tensor."""
    return f"real_{tensor.name}_size_{i}"


def tensors_of(kind: str, programs: Programs) -> tuple[str, ...]:
    """The tensors [B, H, S, D] of a kernel."""
    pulls = programs and any(t.pulls for t in programs[0].terms)
    return (*TENSORS[kind], "v", "do") if pulls else TENSORS[kind]


def _summed(kind: str, programs: Programs, spec: Spec) -> list[Argument]:
    """Where the sums of a kernel of statistics go, and the first largest keys, which it writes or reads."""
    found = [Argument(f"sum_{i}", "*fp32") for i in range(len(programs[0].terms))] if kind in SUMMED else []
    if spec.largest:
        found.append(Argument("highest", "*fp32"))
    reads_first = programs and any(t.reads_first for t in programs[0].terms)
    return [*found, Argument("first", "*i32")] if spec.largest or reads_first else found


def table_reads_head(table: Expr) -> bool:
    """Whether a row table differs from head to head."""
    return contains(table.args[0], H)


@lru_cache(maxsize=1024)
def arguments(kind: str, programs: Programs, spec: Spec) -> tuple[Argument, ...]:
    """The arguments of a kernel, in order. `delta` has no programs."""
    found = reads_of(programs)
    tensors = tensors_of(kind, programs)
    pointers = [Argument(name, "*" + _type(name, spec)) for name in tensors]
    pointers += [Argument(name, "*fp32") for name in rows_of(kind, programs)]
    pointers += _summed(kind, programs, spec)
    learned = [t for t in found.reals if t.name in spec.learned]
    for tensor in learned:
        pointers += [Argument(f"sum_{tensor.name}", "*i64"), Argument(f"unit_{tensor.name}", "*fp32")]
    metadata = [Argument(name, "*i32") for name in MAPS] if spec.mapped else []
    strides = [Argument(f"{t}_{axis}", "i64") for t in tensors for axis in ("batch", "head", "row")]
    for name, side in found.fields:
        metadata.append(Argument(f"field_{name}_{side}", "*"))
        strides.append(Argument(f"field_{name}_{side}_batch", "i64"))
    for tensor in found.tensors:
        metadata.append(Argument(f"tensor_{tensor.name}", "*"))
        strides += [Argument(f"tensor_{tensor.name}_{axis}", "i64") for axis in tensor.axes]
    sizes = []
    for selection in found.selections:
        name = f"selection_{selection.name}"
        metadata.append(Argument(name, "*i32"))
        strides += [Argument(f"{name}_{axis}", "i64") for axis in (*selection.axes, "list", "place")]
        sizes += [Argument(f"{name}_lists", "i32"), Argument(f"{name}_places", "i32")]
    for tensor in found.reals:
        metadata.append(Argument(f"real_{tensor.name}", "*fp32"))
        offset = "i64" if spec.far else "i32"
        strides += [Argument(f"real_{tensor.name}_{i}", offset) for i in range(len(tensor.axes))]
        sizes += [Argument(size_of_axis(tensor, i), "i32") for i, a in enumerate(tensor.axes) if a not in SIZED]
        if tensor in learned:
            strides += [Argument(f"sum_{tensor.name}_{i}", offset) for i in range(len(tensor.axes))]
    for i, table in enumerate(found.tables):
        metadata.append(Argument(f"table_{i}", "*i32"))
        strides.append(Argument(f"table_{i}_batch", "i64"))
        strides += [Argument(f"table_{i}_head", "i64")] * table_reads_head(table)
    for status in found.lists:
        metadata += [Argument(f"{status.value}_offsets", "*i32"), Argument(f"{status.value}_indices", "*i32")]
    if found.lists:
        strides += [Argument("list_batch", "i64"), Argument("list_head", "i64")]
    scale = [] if kind == "delta" else [Argument("scale", "fp32")]
    scale += [Argument(f"number_{p.name}", "fp32") for p in found.numbers]
    scalars = (*scale, *_sizes(kind, spec), *sizes, *_counts(programs), *_params(programs))
    return (*pointers, *metadata, *scalars, *strides)


def _type(name: str, spec: Spec) -> str:
    """The type of the elements of a tensor."""
    return "fp32" if spec.mapped and name in ("dk", "dv") else NAMES[spec.dtype]


def _sizes(kind: str, spec: Spec) -> list[Argument]:
    names = ["q_len", "heads"] if kind == "delta" else ["q_len", "k_len", "q_start", "heads"]
    if spec.grouped and kind != "delta":
        names.append("group")
    return [Argument(name, "i32") for name in names]


def _counts(programs: Programs) -> list[Argument]:
    """How many row tiles there are along each axis, where the rows are no sequence."""
    return (
        []
        if not programs or programs[0].rows.is_sequence
        else [Argument(tile_count(a), "i32") for a in programs[0].rows.axes]
    )


def tile_count(axis: Axis) -> str:
    """The name of the number of row tiles along an axis."""
    return f"row_tiles__{axis.name}"


def _params(programs: Programs) -> list[Argument]:
    used = [e for e in evaluated(programs) if e.op is Op.PARAM]
    return [Argument(f"param_{decl.name}", "i32") for decl in params_of(*used)]


def describe_table(table: Expr) -> str:
    """A row table in words, for the header of a kernel."""
    assert isinstance(table.value, Searched)
    end = ">=" if table.op is Op.LOWER_BOUND else ">"
    side = table.value.side
    return f"the first {side} with {table.value.field.name}({side}) {end} {table.args[0]}, for every {table.args[1]}"
