"""Tensors in a kernel's text: a head's width in chunks, 64-bit addresses, masks only where something can lie outside.

Chunk i of k is `k_0`, `k_1`, ...; its lanes are `d_0`, `d_1`, ... (`e_0`, ... for v's width where it differs).
"""

from __future__ import annotations

from dataclasses import dataclass

from attnir.codegen.triton.spec import Chunk, Spec
from attnir.codegen.triton.writer import Writer

VALUES = frozenset({"v", "o", "do", "dv"})  # tensors of width Dv
KEYS = frozenset({"k", "v", "dk", "dv"})  # tensors with one row per key


@dataclass(frozen=True, slots=True)
class Operand:
    """One tensor argument of a kernel."""

    name: str
    spec: Spec

    @property
    def width(self) -> int:
        return self.spec.dv if self.name in VALUES else self.spec.d

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        return self.spec.chunks(self.width)

    @property
    def lanes(self) -> str:
        """The prefix of the lanes' names."""
        return "e" if self.name in VALUES and self.spec.dv != self.spec.d else "d"

    def aligned(self, offset: str, axes: int = 0) -> str:
        """An offset in elements that starts a 16-byte vector, if the kernel may count on that."""
        if not self.spec.aligned:
            return offset
        vector = str(4 if self.of_query_head else self.spec.vector)
        return f"tl.multiple_of({offset}, {vector if not axes else f'({vector}, {vector})'})"

    @property
    def of_query_head(self) -> bool:
        """Whether it is the gradient of k or v that one query head gives, float32, where heads have maps."""
        return self.spec.mapped and self.name in ("dk", "dv")

    @property
    def head(self) -> str:
        """The name of its head, in 64 bits."""
        if self.name not in KEYS or self.of_query_head:
            return "h64"
        return "kv64" if not self.spec.mapped else f"{self.name}64"

    def base(self, row: str = "") -> str:
        """The first element of the head, or of its row `row`; `b64` is the sample in 64 bits."""
        offset = f"b64 * {self.name}_batch + {self.head} * {self.name}_head"
        return f"{self.name} + {self.aligned(offset + (f' + {row} * {self.name}_row' if row else ''))}"

    def rows(self, index: str) -> str:
        """Offsets of rows, [rows, 1], from a vector of row indices."""
        return self.aligned(f"{index}.to(tl.int64)[:, None] * {self.name}_row", 2)

    def mask(self, chunk: int, inside: str | None) -> str:
        """Which elements of a chunk exist; empty where all do."""
        c = self.chunks[chunk]
        masks = [] if inside is None else [f"{inside}[:, None]"]
        if c.end is not None:
            masks.append(f"({self.lanes}_{chunk} < {c.end})[None, :]")
        return " & ".join(masks)

    def place(self, w: Writer, index: str) -> None:
        """Name where the rows with indices `index` of the instance's head stand."""
        w.let(f"{self.name}_at", self.base())
        w.let(f"{self.name}_rows", self.rows(index))

    def load(self, w: Writer, inside: str | None) -> None:
        """Load every chunk of the rows placed; rows not `inside` and padding are 0."""
        for i in range(len(self.chunks)):
            mask = self.mask(i, inside)
            masked = f", mask={mask}, other=0.0" if mask else ""
            w.let(f"{self.name}_{i}", f"tl.load({self.pointers(i)}{masked})")

    def store(self, w: Writer, inside: str, value: str) -> None:
        """Store every chunk; `value` has `#` for the chunk's number."""
        for i in range(len(self.chunks)):
            stored = value.replace("#", str(i))
            stored = stored if self.of_query_head else rounded(stored, self.spec)
            w.line(f"tl.store({self.pointers(i)}, {stored}, mask={self.mask(i, inside)})")

    def pointers(self, chunk: int) -> str:
        return f"{self.name}_at + {self.name}_rows + {self.lanes}_{chunk}[None, :]"


def lanes(w: Writer, spec: Spec) -> None:
    """The columns of each chunk."""
    for name, width in (("d", spec.d), *([("e", spec.dv)] if spec.dv != spec.d else [])):
        for i, c in enumerate(spec.chunks(width)):
            w.let(f"{name}_{i}", f"{c.start} + tl.arange(0, {c.width})" if c.start else f"tl.arange(0, {c.width})")


def zeros(w: Writer, name: str, rows: str, t: Operand) -> None:
    """Float32 accumulators for every chunk of a tensor's width."""
    for i, c in enumerate(t.chunks):
        w.let(f"{name}_{i}", f"tl.zeros([{rows}, {c.width}], tl.float32)")


def operand(text: str, spec: Spec) -> str:
    """A value of q's dtype as the operand of a product; the interpreter's products are only right in float32."""
    return f"{text}.to(tl.float32)" if spec.interpret else text


def lowered(text: str, spec: Spec) -> str:
    """A float32 value as the operand of a product."""
    return text if spec.interpret or spec.type == "tl.float32" else f"{text}.to({spec.type})"


def rounded(text: str, spec: Spec) -> str:
    """A float32 value as it is stored: rounded to nearest even, which the interpreter's bfloat16 is not by itself."""
    if spec.interpret and spec.type == "tl.bfloat16":
        return f"to_bfloat16({text})"
    if spec.type == "tl.float32":
        return text
    return f"({text}).to({spec.type})" if not text.isidentifier() else f"{text}.to({spec.type})"


def product_over_width(w: Writer, name: str, a: Operand, b: Operand) -> None:
    """name = a @ b^T, summed over the chunks of their common width."""
    for i in range(len(a.chunks)):
        left, right = (operand(f"{t.name}_{i}", a.spec) for t in (a, b))
        added = f", acc={name}" if i else ""
        w.let(name, f"tl.dot({left}, tl.trans({right}){added}{a.spec.precision})")


TO_BFLOAT16 = '''
@triton.jit
def to_bfloat16(x):
    """float32 to bfloat16, to nearest even. Triton's interpreter cuts the low bits off instead."""
    bits = x.to(tl.uint32, bitcast=True)
    bits += 0x7FFF + ((bits >> 16) & 1)
    return (bits & 0xFFFF0000).to(tl.float32, bitcast=True).to(tl.bfloat16)
'''
