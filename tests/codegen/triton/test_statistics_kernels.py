"""The kernels of statistics on every target, without a GPU: no spills, the targets' own instructions.

Triton interprets in this process, so they are compiled in another one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

CODE = """
import sys
import torch
import attnir as an
from attnir.arrange import with_terms
from attnir.asked import CONSTANT, read_asked
from attnir.codegen.configure import configure
from attnir.codegen.narrow import narrowed
from attnir.codegen.plan import Plan
from attnir.codegen.targets import LIKE, Target
from attnir.codegen.triton import Spec, inspect
from attnir.codegen.triton.launch import launches_of
from attnir.requests import asked_for
from attnir.terms import Term

target, d, mask = Target.parse(sys.argv[1]), int(sys.argv[2]), torch.ones(1)
plan = Plan(an.pattern(an.causal()))
requests = ["row-entropy", "row-max-prob", "mean-distance", an.segment_mass(sink=mask), "received-mass", "fai"]
asked = read_asked("\\n".join(part for s in asked_for(requests) for part in s.parts), plan.pattern)
pull = Term(asked.pulled(["" if p.kind in CONSTANT else f"_g{i}" for i, p in enumerate(asked.parts)]))
terms = {"rows": asked.rows, "columns": asked.columns, "pulled_dq": (pull,), "pulled_dk": (pull,)}
for kind, like in LIKE.items():
    largest = kind == "rows"
    config = narrowed(kind, configure(plan, like, target, d, d, torch.bfloat16).config, terms[kind], largest=largest)
    spec = Spec(torch.bfloat16, d, d, config, target.family, largest=largest)
    for programs in with_terms(launches_of(plan, like, config), terms[kind]):
        report = inspect.inspect(kind, programs, spec, target)
        problems = inspect.broken(kind, programs, spec, target, report)
        print(kind, config, report.registers, "registers", problems or "kept")
"""


@pytest.mark.parametrize("d", [64, 128])
@pytest.mark.parametrize("target", ["sm_80", "sm_90", "sm_100", "gfx942"])
def test_they_keep_the_promises_of_all_kernels(target: str, d: int) -> None:
    env = {**os.environ, "TRITON_INTERPRET": "0", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", CODE, target, str(d)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["kept"] * 4, done.stdout
