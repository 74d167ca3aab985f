"""What scores cost: nothing where there is none, and a bounded number of instructions a pair where there is one.

Counted in the loop over full tiles of the compiled code for sm_90. Triton interprets in this process, so the kernels
are compiled in another one; `make score-cost` prints the whole table.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import attnir as an
from attnir.codegen.plan import CONFIGURED

ROOT = Path(__file__).parents[3]
DTYPES = [torch.bfloat16, torch.float32]

COUNT = """
import json, sys
from attnir.codegen.targets import Target
from benchmarks.score_cost import SCORES, of_score

target, found = Target.parse("sm_90"), []
for kind in ("forward", "dq", "dkv"):
    for name in SCORES:
        plain, scored = of_score(name, kind, 64, target)
        costs = [dict(c.opcodes) | {"spills": c.spills} for c in (plain, scored)]
        found.append([kind, name, scored.more(plain), scored.pairs, *costs])
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def counted() -> dict[tuple[str, str], tuple[float, int, dict[str, int], dict[str, int]]]:
    """By kernel and score: (instructions more by pair than plain, pairs of a thread, opcodes of plain, of scored)."""
    env = {**os.environ, "TRITON_INTERPRET": "0", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, env=env, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return {(kind, name): (more, pairs, plain, scored) for kind, name, more, pairs, plain, scored in found}


def of(counts: dict[str, int], pattern: str) -> int:
    return sum(n for opcode, n in counts.items() if re.match(pattern, opcode))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", CONFIGURED)
def test_the_text_of_plain_kernels_names_nothing_of_scores(kind: str, dtype: torch.dtype) -> None:
    *_, body = an.compile(an.causal()).source(kind, dtype=dtype).split('"""')
    assert not re.search(r"score|number_|real_|unit_|tanh|exp\(-", body)


@pytest.mark.parametrize("kind", CONFIGURED)
def test_plain_kernels_take_the_exponential_of_a_pair_and_no_other_function(counted: Any, kind: str) -> None:
    _, pairs, plain, _ = counted[kind, "ALiBi"]
    assert of(plain, r"MUFU\.(?!EX2)") == 0
    assert pairs <= of(plain, r"MUFU\.EX2") <= pairs + 4, "and of what the rows are rescaled by"
    assert of(plain, r"I2F|FSEL|FSETP") == 0, "nothing is converted, compared or chosen"


# At most so many instructions a pair: in the forward, in dQ, in dK and dV.
MOST = {"ALiBi": (2.5, 2.5, 3.5), "ALiBi, symmetric": (3.5, 3.5, 4.0), "softcap": (10.5, 13.5, 13.5)}


@pytest.mark.parametrize("score", MOST)
@pytest.mark.parametrize("kind", CONFIGURED)
def test_a_score_adds_at_most_so_many_instructions_a_pair(counted: Any, kind: str, score: str) -> None:
    more, _, plain, scored = counted[kind, score]
    assert 0 < more <= MOST[score][list(CONFIGURED).index(kind)]
    assert plain["spills"] == scored["spills"] == 0


@pytest.mark.parametrize("kind", CONFIGURED)
def test_distances_are_neither_converted_nor_multiplied_as_integers_for_each_pair(counted: Any, kind: str) -> None:
    _, pairs, plain, scored = counted[kind, "ALiBi"]
    assert of(plain, r"FADD|FMUL|FFMA") < of(scored, r"FADD|FMUL|FFMA")
    assert of(scored, r"MUFU") == of(plain, r"MUFU")
    assert of(scored, r"I2F") <= (pairs / 2 if kind == "dkv" else pairs / 4), "only those of rows, or of columns"
