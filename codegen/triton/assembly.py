"""Reading machine code: instructions, and the loops they stand in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

MATRIX = re.compile(r"HMMA|HGMMA|UTC\w*MMA|v_mfma")
LOCAL = re.compile(r"(LDL|STL)\b|scratch_(load|store)")
# What decides about single scores. Loops also compare and select a few scalars, for their own control.
MASKING = re.compile(r"FSEL|FSETP|ISETP|SEL\b|v_cmp_[a-z]+_[iu]\d")  # gfx942 selects when it rounds to bfloat16, too
COMPARING = re.compile(r"ISETP|v_cmp_[a-z]+_[iu]\d")  # of integers only


@dataclass(frozen=True, slots=True)
class Loop:
    """The instructions of one innermost loop that holds matrix instructions, by opcode.

    sources: from which lines of the kernel's text they were made, where the code says that.
    """

    counts: Counter[str]
    sources: Counter[int] = field(default_factory=Counter)

    def count(self, pattern: re.Pattern[str]) -> int:
        return sum(n for opcode, n in self.counts.items() if pattern.match(opcode))

    @property
    def matrix(self) -> int:
        return self.count(MATRIX)

    @property
    def masking(self) -> int:
        return self.count(MASKING)

    @property
    def comparing(self) -> int:
        return self.count(COMPARING)


@dataclass(frozen=True, slots=True)
class Line:
    """An instruction: its opcode and the label it jumps to, if any. A label of its own has no opcode.

    source: the line of the kernel's text that it was made of; 0: unknown, or of another file.
    """

    opcode: str
    target: str = ""
    label: str = ""
    source: int = 0


_SOURCE = re.compile(r'^\s*//## File "(.*)", line (\d+)')
_SASS_LABEL = re.compile(r"^(\.L_\w+):")
_SASS = re.compile(r"^\s*/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)([^;]*)")
_SASS_TARGET = re.compile(r"`\((\.L_\w+)\)")
_GCN_LABEL = re.compile(r"^(\.L\w+):")
_GCN = re.compile(r"^\s+([a-z]\w+)\b(.*)")
_GCN_TARGET = re.compile(r"^\s*(\.L\w+)")


def sass_lines(text: str, file: str = "") -> list[Line]:
    """The instructions in the output of nvdisasm, and which lines of a file they were made of, where it says so."""
    lines, source = [], 0
    for line in text.splitlines():
        if where := _SOURCE.match(line):
            source = int(where[2]) if file and where[1].endswith(file) else 0
        elif label := _SASS_LABEL.match(line):
            lines.append(Line("", label=label[1]))
        elif found := _SASS.match(line):
            jump = _SASS_TARGET.search(found[2]) if found[1].startswith("BRA") else None
            lines.append(Line(found[1], target=jump[1] if jump else "", source=source))
    return lines


def without_sources(text: str) -> str:
    """The output of nvdisasm without what it says of source lines."""
    return "".join(line for line in text.splitlines(keepends=True) if not _SOURCE.match(line))


def gcn_lines(text: str) -> list[Line]:
    """The instructions in AMD assembly."""
    lines = []
    for line in text.split(".section")[0].splitlines():
        code = line.split(";")[0]
        if label := _GCN_LABEL.match(code):
            lines.append(Line("", label=label[1]))
        elif found := _GCN.match(code):
            jump = _GCN_TARGET.match(found[2]) if found[1].startswith(("s_cbranch", "s_branch")) else None
            lines.append(Line(found[1], target=jump[1] if jump else ""))
    return lines


def loops(lines: list[Line]) -> tuple[Loop, ...]:
    """The innermost loops with matrix instructions, in the order of the code.

    Waits that stand behind the code and jump back into a loop look like loops that overlap it; they are none.
    """
    places = {line.label: i for i, line in enumerate(lines) if line.label}
    spans = {(places[line.target], i) for i, line in enumerate(lines) if places.get(line.target, i) < i}
    found: list[tuple[int, int]] = []
    for start, stop in sorted(spans, key=lambda span: span[1] - span[0]):
        disjoint = all(stop < a or b < start for a, b in found)
        if disjoint and any(MATRIX.match(line.opcode) for line in lines[start:stop]):
            found.append((start, stop))
    return tuple(_loop([line for line in lines[a:b] if line.opcode]) for a, b in sorted(found))


def _loop(lines: list[Line]) -> Loop:
    return Loop(Counter(line.opcode for line in lines), Counter(line.source for line in lines if line.source))


def of_text(found: Iterable[Loop], text: str, begin: str, end: str) -> Loop | None:
    """The loop made of the lines of a kernel's text between two comments, or to its end, by most of its instructions.

    >>> bodies = [Loop(Counter({"HMMA": 1}), Counter({4: 9, 2: 1})), Loop(Counter({"FSEL": 1}), Counter({2: 9}))]
    >>> of_text(bodies, "# full\\nfor\\n# partial\\nfor", "# full", "# partial").counts
    Counter({'FSEL': 1})
    """
    lines = text.splitlines()
    first = next((i for i, line in enumerate(lines, 1) if begin in line), None)
    if first is None:
        return None
    last = next((i for i, line in enumerate(lines, 1) if i > first and end in line), len(lines) + 1)

    def share(loop: Loop) -> float:
        return sum(n for line, n in loop.sources.items() if first < line < last) / max(loop.sources.total(), 1)

    best = max(found, key=share, default=None)
    return best if best is not None and share(best) > 0.5 else None


def count(lines: Iterable[Line], pattern: re.Pattern[str]) -> int:
    return sum(bool(pattern.match(line.opcode)) for line in lines)


def opcodes(lines: Iterable[Line]) -> Counter[str]:
    """How often each instruction stands in the code, without its modifiers."""
    return Counter(line.opcode.split(".")[0] for line in lines if line.opcode)


# What instructions do, by their opcodes, the first that matches; of NVIDIA's machine code, and of AMD's. Logarithms and
# reciprocals count as exponentials: they take the same unit.
KINDS = {
    "matrix": MATRIX,
    "spilled": LOCAL,
    "control": re.compile(
        r"BRA|BAR|EXIT|CALL|RET|LDGDEPBAR|DEPBAR|NOP|WARP|BSYNC|BSSY|ELECT|YIELD|NANOSLEEP|ERRBAR|MEMBAR|FENCE|SYNCS|"
        r"CCTL|s_(c?branch|wait|barrier|endpgm|nop|setprio|sched)"
    ),
    "global": re.compile(r"LDG|STG|LD\b|ST\b|RED|ATOM|UTMA|UBLKCP|global_|buffer_|flat_|s_load"),
    "shared": re.compile(r"LDS|STS|LDTM|STTM|ds_"),
    "exp": re.compile(r"MUFU|v_(exp|log|rcp|rsq)_"),
    "select": MASKING,
    "float": re.compile(r"F|H(FMA|ADD|MUL|MNMX)|I2F|v_(pk_)?\w+_(f|bf)(16|32)|v_cvt"),
}


def mix(counts: Counter[str]) -> Counter[str]:
    """How many instructions do what: matrix products, memory, float arithmetic, ...; "integer" is all the rest.

    >>> mix(Counter({"HGMMA": 8, "MUFU": 64, "FFMA": 70, "IADD3": 5, "BRA": 1}))["integer"]
    5
    """
    found: Counter[str] = Counter(dict.fromkeys([*KINDS, "integer"], 0))
    for opcode, n in counts.items():
        found[next((kind for kind, pattern in KINDS.items() if pattern.match(opcode)), "integer")] += n
    return found
