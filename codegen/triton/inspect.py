"""What a generated kernel becomes on a target: compiled without a GPU, taken apart, reported.

Triton must not be interpreting in the process that does this.
"""

from __future__ import annotations

import importlib.util
import re
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from attnir.codegen.budgets import extra_of
from attnir.codegen.targets import Target
from attnir.codegen.triton.arguments import arguments
from attnir.codegen.triton.assembly import (
    LOCAL,
    MATRIX,
    Loop,
    count,
    gcn_lines,
    loops,
    of_text,
    opcodes,
    sass_lines,
    without_sources,
)
from attnir.codegen.triton.emit import emit
from attnir.codegen.triton.spec import Spec
from attnir.codegen.triton.tools import run_tool
from attnir.program import Programs


@dataclass(frozen=True, slots=True)
class Report:
    """What one kernel uses on one target.

    registers     per thread (gfx942: vector registers, accumulation registers included)
    spills        instructions that move spilled registers to memory or back (gfx942: bytes of scratch memory)
    shared        bytes of shared memory
    columns       of tensor memory, where the target has it
    matrix        the matrix instructions and how many there are, such as HGMMA
    instructions  all of them, by opcode
    loops         the innermost loops, full tiles first, then partial ones
    full          the loop over full tiles, found by the lines of the kernel's text that it was made of; None where it
                  has none, and on AMD, whose code does not say
    masked        score-shaped comparisons and selections in the loop over full tiles, before the last lowering; of
                  integers only where products are split, because splitting compares and selects for every element
    masking       instructions in the loop over full tiles that do the like, those of its own control included
    divided       integer divisions of whole vectors in the loop over full tiles
    """

    registers: int
    spills: int
    shared: int
    columns: int
    matrix: Counter[str]
    instructions: Counter[str]
    loops: tuple[Loop, ...]
    full: Loop | None
    masked: int
    masking: int
    divided: int
    assembly: str


def inspect(kind: str, programs: Programs, spec: Spec, target: Target) -> Report:
    """Compile a kernel for a target and take it apart."""
    compiled = compile_for(kind, programs, spec, target)
    registers, spills, assembly, lines = (
        _read_gcn(compiled) if target.family == "hip" else _read_sass(compiled, f"/{kind}.py")
    )
    instructions = opcodes(lines)
    matrix = Counter({name: n for name, n in instructions.items() if MATRIX.match(name)})
    masked = masking_in_first_loop(compiled.asm["ttgir"], integers_only=spec.splits)
    divided = count_in_first_loop(compiled.asm["ttgir"], _DIVIDING_OP)
    found = loops(lines)
    full = of_text(found, emit(kind, programs, spec), "# Full tiles", "# Partial tiles")
    masking = (found[0].comparing if spec.splits else found[0].masking) if found else 0
    used = compiled.metadata
    columns = getattr(used, "tmem_size", None) or 0  # which only targets that have tensor memory say
    return Report(
        registers, spills, used.shared, columns, matrix, instructions, found, full, masked, masking, divided, assembly
    )


def broken(kind: str, programs: Programs, spec: Spec, target: Target, report: Report) -> list[str]:
    """Which promises a kernel in its default configuration breaks on a target; empty when it keeps them all."""
    found = []
    axes = max((len(p.columns.axes) for p in programs), default=1)
    if report.divided:
        found.append(f"the loop over full tiles divides vectors: {report.divided} operations")
    if report.spills:
        found.append(f"{report.spills} spills")
    if report.shared > target.shared:
        found.append(f"{report.shared} bytes of shared memory, {target.shared} are there")
    if kind == "delta":
        return found
    expected = {"mma": "HMMA", "wgmma": "HGMMA", "tcgen05": "UTCHMMA", "mfma": "v_mfma"}[target.products]
    if spec.splits or max(spec.d, spec.dv) > _widest(kind, programs, target):
        expected += "|HMMA"
    if not any(re.match(expected, name) for name in report.matrix):
        found.append(f"no {expected} but {', '.join(report.matrix) or 'nothing'}")
    scored = any(p.of_pairs or p.terms for p in programs)  # which compares in every tile
    if not scored and (report.masked or report.masking > FEW + PER_AXIS * (axes - 1)):
        found.append(f"the loop over full tiles masks: {report.masked} operations, {report.masking} instructions")
    return found


def _widest(kind: str, programs: Programs, target: Target) -> int:
    """Up to which head width there are registers for the target's own instructions."""
    laid_out = extra_of(programs).walk > 0
    match target.products:
        case "wgmma":
            return 256 if kind == "forward" else 64 if laid_out else 128
        case "tcgen05":
            return 128 if laid_out and kind == "dkv" else 256
    return 256


PER_AXIS = 12  # more for each digit of a box's index
FEW = 24  # comparisons of scalars that a loop needs for its own control and its pipeline


def compile_for(kind: str, programs: Programs, spec: Spec, target: Target) -> Any:
    """Triton's compiled kernel."""
    assert not triton.knobs.runtime.interpret, "TRITON_INTERPRET is set: Triton interprets here and compiles nothing"
    with tempfile.TemporaryDirectory(prefix="attnir-inspect-") as folder:
        function = getattr(load_source(emit(kind, programs, spec), kind, Path(folder)), kind)
        return _compile(function, kind, programs, spec, target)


def _compile(function: Any, kind: str, programs: Programs, spec: Spec, target: Target) -> Any:
    signature, attributes = {}, {}
    for i, a in enumerate(arguments(kind, programs, spec)):
        signature[a.name] = "*i32" if a.type == "*" else a.type
        if a.is_pointer and not a.is_metadata and spec.aligned:
            attributes[(i,)] = [["tt.divisibility", 16]]
    source = ASTSource(function, signature, {}, attributes)
    return triton.compile(source, target=_gpu(target), options=spec.options)


def _gpu(target: Target) -> GPUTarget:
    if target.family == "hip":
        return GPUTarget("hip", target.name, target.warp)
    return GPUTarget("cuda", int(target.name.removeprefix("sm_")), target.warp)


def load_source(source: str, name: str, folder: Path) -> ModuleType:
    """The module of a generated source, from a file in a folder of its own: Triton reads functions from files."""
    path = folder / f"{name}.py"
    path.write_text(source, encoding="utf-8")
    described = importlib.util.spec_from_file_location(f"attnir_inspected_{folder.name[-8:]}", path)
    assert described is not None and described.loader is not None
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    return module


def _read_sass(compiled: Any, file: str) -> tuple[int, int, str, list[Any]]:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as cubin:
        cubin.write(compiled.asm["cubin"])
        cubin.flush()
        usage = run_tool(triton.knobs.nvidia.cuobjdump.path, "-res-usage", cubin.name)
        assembly = run_tool(triton.knobs.nvidia.nvdisasm.path, "-g", "-c", cubin.name)
    lines = sass_lines(assembly, file)
    assembly = without_sources(assembly)
    return int(_found(r"REG:(\d+)", usage)), count(lines, LOCAL), assembly, lines


def _read_gcn(compiled: Any) -> tuple[int, int, str, list[Any]]:
    assembly = compiled.asm["amdgcn"]
    registers = int(_found(r"\.vgpr_count:\s+(\d+)", assembly))
    return registers, int(_found(r"\.private_segment_fixed_size:\s+(\d+)", assembly)), assembly, gcn_lines(assembly)


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, pattern
    return match[1]


_MASKING_OP = re.compile(r"= arith\.(cmpi|cmpf|select)\b.*tensor<\d+x\d+x")
_COMPARING_OP = re.compile(r"= arith\.cmpi\b.*tensor<\d+x\d+x")
_DIVIDING_OP = re.compile(r"= arith\.(div|rem)[su]i\b.*tensor<")


def masking_in_first_loop(ttgir: str, *, integers_only: bool = False) -> int:
    """Comparisons and selections of matrices in the first innermost loop of a module in Triton's GPU dialect."""
    return count_in_first_loop(ttgir, _COMPARING_OP if integers_only else _MASKING_OP)


def count_in_first_loop(ttgir: str, pattern: re.Pattern[str]) -> int:
    """The lines that match a pattern in the first innermost loop of a module in Triton's GPU dialect."""
    bodies = innermost_loops(ttgir.splitlines(), lambda line: "scf.for" in line)
    return sum(bool(pattern.search(line)) for line in bodies[0]) if bodies else 0


def innermost_loops(lines: list[str], opens: Callable[[str], bool]) -> list[list[str]]:
    """The bodies of the loops that hold no other loop; blocks are told by their indentation."""
    found = []
    for i, line in enumerate(lines):
        if opens(line):
            depth = len(line) - len(line.lstrip())
            body = []
            for inner in lines[i + 1 :]:
                if inner.strip() and len(inner) - len(inner.lstrip()) <= depth:
                    break
                body.append(inner)
            if not any(opens(b) for b in body):
                found.append(body)
    return found
