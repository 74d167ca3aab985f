"""Generated sources: readable, loadable, in the documented shape; two of them stand here in full.

ATTNIR_ACCEPT=1 rewrites the two.
"""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest
import torch

import attnir as an
from attnir.codegen.plan import Plan
from attnir.codegen.targets import KINDS, Config
from attnir.codegen.triton import Spec, arguments, emit
from attnir.codegen.triton.launch import launches_of
from attnir.codegen.triton.operands import Operand
from attnir.program import Programs
from tests.patterns import PATTERNS

GOLDEN = Path(__file__).parent / "golden"
DOC = an.field("doc", sorted=True)
PACKED = an.causal() & an.mask(lambda q, k: DOC(q) == DOC(k))


def parts(kind: str, mask: an.Mask, **structure: object) -> tuple[Programs, Spec]:
    config = Config(128, 64, 8, 3)
    spec = Spec(**{"dtype": torch.bfloat16, "d": 64, "dv": 64, "config": config, **structure})  # type: ignore[arg-type]
    return launches_of(Plan(an.pattern(mask)), kind, config)[0], spec


def body(source: str, kind: str) -> ast.FunctionDef:
    (found,) = (n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and n.name == kind)
    return found


@pytest.mark.parametrize(("kind", "mask"), [("forward", an.causal()), ("dkv", PACKED)], ids=["forward", "dkv"])
def test_golden(kind: str, mask: an.Mask) -> None:
    source = emit(kind, *parts(kind, mask))
    path = GOLDEN / f"{kind}.txt"
    if os.environ.get("ATTNIR_ACCEPT"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
    assert source == path.read_text(), "read the difference; if it is meant, ATTNIR_ACCEPT=1 accepts it"


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_pattern_gives_a_module_with_the_documented_arguments(kind: str, name: str) -> None:
    program, spec = parts(kind, PATTERNS[name].mask(1), d=72, dv=40, grouped=True)
    source = emit(kind, program, spec)
    function = body(source, kind)
    assert [a.arg for a in function.args.args] == [a.name for a in arguments(kind, program, spec)]
    known = {a.arg for a in function.args.args} | set(dir(__builtins__))
    known |= {t.id for n in ast.walk(ast.parse(source)) for t in ast.walk(n) if isinstance(t, ast.Name) and is_store(t)}
    known |= {n.name for n in ast.parse(source).body if isinstance(n, ast.FunctionDef)} | {"tl", "triton", "float"}
    read = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    assert read <= known, f"names that nothing defines: {sorted(read - known)}"


def is_store(n: ast.Name) -> bool:
    return isinstance(n.ctx, ast.Store)


@pytest.mark.parametrize("kind", ["forward", "dq", "dkv"])
def test_full_tiles_are_neither_masked_nor_bounded(kind: str) -> None:
    for structure in ({}, {"d": 192, "dv": 128}, {"grouped": False}, {"dtype": torch.float32}):
        source = emit(kind, *parts(kind, PACKED, **structure))
        full = source.split("# Full tiles")[1].split("# Partial tiles")[0]
        assert "mask=" not in full and "tl.where(live" not in full and "_in" not in full.replace("_in_tile", "")
        partial = source.split("# Partial tiles")[1]
        assert "live =" in partial and "mask=" in partial


def test_only_the_last_chunk_is_masked_where_a_width_has_padding() -> None:
    source = emit("forward", *parts("forward", an.full(), d=72, dv=80))
    full = source.split("# Full tiles")[1].split("# Partial tiles")[0]
    assert re.findall(r"(\w+) = tl.load\(.*mask=(.*), other", full) == [("k_1", "(d_1 < 72)[None, :]")]


@pytest.mark.parametrize("name", ["q", "k", "v", "o", "do", "dq", "dk", "dv"])
def test_addresses_are_64_bits_wide(name: str) -> None:
    t = Operand(name, parts("forward", an.full())[1])
    assert "b64 *" in t.base() and ("h64 *" in t.base() or "kv64 *" in t.base())
    assert ".to(tl.int64)[:, None] *" in t.rows("queries")


def test_sizes_strides_and_lengths_never_make_a_new_kernel() -> None:
    source = emit("dkv", *parts("dkv", PACKED))
    names = re.search(r"SIZES = \[(.*?)\]", source, re.DOTALL)
    assert names is not None
    known = set(re.findall(r'"(\w+)"', names[1]))
    assert {"q_len", "k_len", "q_start", "heads", "group", "q_row", "dv_batch", "table_1_batch"} <= known


def test_float32_products_keep_their_precision() -> None:
    wide = {"dtype": torch.float32}
    assert 'input_precision="tf32x3"' in emit("dq", *parts("dq", an.full(), **wide))
    assert 'input_precision="ieee"' in emit("dq", *parts("dq", an.full(), family="hip", **wide))
    assert 'input_precision="ieee"' in emit("dq", *parts("dq", an.full(), interpret=True, **wide))
    assert "input_precision" not in emit("dq", *parts("dq", an.full()))


def test_the_interpreter_gets_float32_products_and_rounded_results() -> None:
    source = emit("forward", *parts("forward", an.full(), interpret=True))
    assert "tl.dot(q_0.to(tl.float32), tl.trans(k_0.to(tl.float32)))" in source
    assert "to_bfloat16(acc_0 / total[:, None])" in source


def test_a_class_that_no_token_is_of_reads_nothing() -> None:
    """Its tile stands before the first token: fields are read where there are some, tensors from 0 on."""
    kind, bias = an.field("kind"), an.tensor("bias", "k")
    dilated = an.mask(lambda q, k: ((q - k) % 8 == 0) & (k <= q) & (q - k < 200) & (kind(q) >= kind(k)))
    source = an.compile(dilated, score=an.score(lambda s, k: s + bias[k])).source("dkv")
    assert re.search(
        r"f_kind_k = tl.load\(field_kind_k_at \+ .*, mask=\(keys >= 0\) & \(keys < k_len\), other=0\)", source
    )
    assert re.search(r"tl.load\(real_bias \+ .*mask=.*>= 0", source)


@pytest.mark.parametrize(("times", "checked"), [(8, True), (2, False)])
def test_an_index_that_leaves_32_bits_behind_the_last_token_is_checked(times: int, checked: bool) -> None:
    bias = an.tensor("bias", "entry")
    source = an.compile(an.causal(), score=an.score(lambda s, q: s + bias[q * times])).source("dkv")
    loads = {line.strip() for line in source.splitlines() if "tl.load(real_bias" in line}
    assert loads and {">= 0" in load for load in loads} == {checked}
