"""What the kernels become on each target, without a GPU: promises kept, and a check that notices when they are not.

Triton interprets in this process, so the kernels are compiled in another one. The whole matrix is `make inspect`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

BROKEN = """
import torch
import attnir as an
from attnir.codegen.plan import Plan
from attnir.codegen.resources import Config, Target
from attnir.codegen.triton import Spec, inspect
from attnir.codegen.triton.launch import program_of

config, target = Config(128, 64, 4, 2), Target.parse("sm_90")
spec = Spec(torch.bfloat16, 128, 128, config)
plain = inspect.emit
program = program_of(Plan(an.causal().predicate), "forward", config)
masked = "        m_new = tl.maximum(m, tl.max(s, 1) * to_log2)"
late = "        s = tl.where((q_pos[:, None] >= first_key + keys_in_tile[None, :]), s, MIN)\\n" + masked
inspect.emit = lambda *args: plain(*args).replace(masked, late, 1)
report = inspect.inspect("forward", program, spec, target)
print(inspect.broken("forward", spec, target, report))
inspect.emit = plain
types = inspect.compile_for("forward", program, spec, target).asm["ttir"]
products = [line.split(" loc(")[0].rstrip() for line in types.splitlines() if "arith.muli" in line]
narrow = [line for line in products if "_row" in line and line.endswith("i32")]
print("narrow", narrow, "i64", all(f"%{t}_{a}: i64" in types for t in "qkvo" for a in ("batch", "head", "row")))
"""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "TRITON_INTERPRET": "0", "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, env=env, cwd=ROOT, check=False)


@pytest.mark.parametrize("target", ["sm_80", "sm_90", "sm_100", "gfx942"])
def test_default_configurations_keep_their_promises(target: str) -> None:
    done = run(
        "-m", "benchmarks.inspect_kernels", "--targets", target, "--widths", "64", "--patterns", "packed", "--jobs=1"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kernels, 0 with a broken promise" in done.stdout


def test_the_check_notices_spills_and_masks_and_narrow_addresses() -> None:
    done = run("-c", BROKEN)
    assert done.returncode == 0, done.stderr
    problems, addresses = done.stdout.splitlines()[-2:]
    assert "spills" in problems and "the loop over full tiles masks" in problems
    assert addresses == "narrow [] i64 True"
