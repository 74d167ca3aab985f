"""Loops are found in machine code, and what stands in them is counted."""

from __future__ import annotations

from attnir.codegen.triton.assembly import LOCAL, count, gcn_lines, loops, of_text, sass_lines, without_sources
from attnir.codegen.triton.inspect import innermost_loops, masking_in_first_loop

# Two loops, and a wait behind the code that jumps back into the first.
SASS = """
.text.forward:
        /*0000*/                   S2R R0, SR_TID.X ;
.L_x_0:
        /*0010*/                   HGMMA.64x64x16.F32.BF16 R88, gdesc[UR8], R88 ;
        /*0020*/              @!P0 BRA `(.L_x_9) ;
.L_x_1:
        /*0030*/                   ISETP.GE.AND P0, PT, R0, R1, PT ;
        /*0040*/              @!P0 BRA `(.L_x_0) ;
        /*0050*/                   STL [R1], R19 ;
.L_x_2:
        /*0060*/                   FSEL R4, R5, R6, P0 ;
        /*0070*/                   ISETP.GE.AND P1, PT, R0, R1, PT ;
        /*0080*/                   HGMMA.64x64x16.F32.BF16 R88, gdesc[UR8], R88 ;
        /*0090*/               @P1 BRA `(.L_x_2) ;
        /*00a0*/                   EXIT ;
.L_x_9:
        /*00b0*/                   SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [UR12], R0 ;
        /*00c0*/                   BRA `(.L_x_1) ;
"""

GCN = """
\t.globl\tforward
forward:
.LBB0_1:                                ; comment
\tv_cmp_ge_i32_e64 s[0:1], v1, v2
\tv_cmp_o_f32_e64 s[0:1], v1, v2
\tv_mfma_f32_32x32x8_bf16 v[0:15], v[16:17], v[18:19], v[0:15]
\ts_cbranch_scc1 .LBB0_1
\tscratch_store_dword off, v1, s32
\ts_endpgm
\t.section\t.rodata
\t.amdhsa_kernel forward
"""

TTGIR = """
  scf.for %head = %0 to %1 step %2 {
    %a = arith.cmpi slt, %x, %y : tensor<64x32xi32, #mma>
    scf.for %at = %0 to %1 step %2 {
      %b = arith.cmpi slt, %at, %y : i32
      %c = arith.select %b, %x, %y : tensor<64x32xi1, #mma>, tensor<64x32xf32, #mma>
      %d = arith.select %b, %x, %y : tensor<64xi1, #mma>, tensor<64xf32, #mma>
      scf.yield
    }
    scf.for %at = %0 to %1 step %2 {
      %e = arith.cmpi slt, %x, %y : tensor<64x32xi32, #mma>
    }
  }
"""


def test_loops_of_nvidia_code() -> None:
    full, partial = loops(sass_lines(SASS))
    assert (full.matrix, full.masking, partial.matrix, partial.masking) == (1, 1, 1, 2)
    assert (full.comparing, partial.comparing) == (1, 1), "a selection of floats is no comparison of integers"
    assert count(sass_lines(SASS), LOCAL) == 1


def test_loops_of_amd_code() -> None:
    (loop,) = loops(gcn_lines(GCN))
    assert (loop.matrix, loop.masking) == (1, 1), "a comparison of floats is one of bfloat16 rounding"
    assert count(gcn_lines(GCN), LOCAL) == 1


def test_masks_in_the_first_innermost_loop() -> None:
    assert masking_in_first_loop(TTGIR) == 1
    assert masking_in_first_loop(TTGIR, integers_only=True) == 0, "the first loop selects, and compares scalars"
    assert [len(body) for body in innermost_loops(TTGIR.splitlines(), lambda line: "scf.for" in line)] == [4, 1]


# As nvdisasm says where code comes from: a loop of line 5, and one of line 9, partly from a function of a library.
SOURCED = """
	//## File "/kernels/forward.py", line 5
.L_x_0:
        /*0010*/                   HGMMA.64x64x16.F32.BF16 R88, gdesc[UR8], R88 ;
        /*0020*/                   FADD R1, R2, R3 ;
        /*0040*/              @!P0 BRA `(.L_x_0) ;
	//## File "/site/standard.py", line 5 inlined at "/kernels/forward.py", line 9
.L_x_2:
        /*0060*/                   FSEL R4, R5, R6, P0 ;
	//## File "/site/standard.py", line 5
        /*0080*/                   HGMMA.64x64x16.F32.BF16 R88, gdesc[UR8], R88 ;
        /*0090*/               @P1 BRA `(.L_x_2) ;
"""
TEXT = "\n".join(
    [
        "",
        "def forward():",
        "    # Partial tiles",
        "    for i:",
        "        a",
        "",
        "    # Full tiles",
        "    for i:",
        "        b",
    ]
)


def test_loops_are_found_by_the_lines_they_are_made_of() -> None:
    """Whatever the order of the code: here the first loop is that over partial tiles."""
    found = loops(sass_lines(SOURCED, "/forward.py"))
    full, partial = (
        of_text(found, TEXT, f"# {a} tiles", f"# {b} tiles") for a, b in (("Full", "Partial"), ("Partial", "Full"))
    )
    assert full is found[1] and partial is found[0]
    assert of_text(found, "", "# Full tiles", "# Partial tiles") is None
    assert of_text(loops(sass_lines(SOURCED)), TEXT, "# Full tiles", "# Partial tiles") is None, "of no known line"
    assert "//##" not in without_sources(SOURCED) and sass_lines(without_sources(SOURCED)) == sass_lines(SOURCED)
