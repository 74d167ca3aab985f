"""Measure the Triton kernels on this GPU, beside FlexAttention and torch's cuDNN and Flash attention, in one run.

    python benchmarks/bench_gpu.py [--quick] [--d 64 128] [--lengths 2048 ...]

Medians in milliseconds, forward and forward + backward, bfloat16, 16 heads. Writes benchmarks/results/<gpu>.json
and, beside it and here, a table with ratios (other / attnir: above 1 attnir is faster).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

import attnir as an
from benchmarks.patterns import Case, grids, scored, sequences

RESULTS = Path(__file__).parent / "results"
HEADS = 16
Runner = Callable[[Tensor, Tensor, Tensor], Tensor]


def runners(case: Case, learned: dict[str, Tensor]) -> Iterator[tuple[str, Runner]]:
    """What is compared on a pattern: (name, function of q, k, v); `learned`: the tensors that its score reads."""
    attention = an.compile(case.pattern)
    bindings: dict[str, Any] = case.bindings("cuda") | learned
    yield "attnir", lambda q, k, v: attention(q, k, v, **bindings)
    compiled, change = torch.compile(flex_attention), case.score and case.score(learned)
    mask = case.flex(case.ids("cuda"))
    blocks = create_block_mask(
        mask, None, None, case.length, case.length + case.more_keys, device="cuda", _compile=True
    )
    yield "flex", lambda q, k, v: compiled(q, case.padded(k), case.padded(v), score_mod=change, block_mask=blocks)
    if case.name in ("full", "causal"):
        for label, backend in (("cudnn", SDPBackend.CUDNN_ATTENTION), ("flash", SDPBackend.FLASH_ATTENTION)):
            yield label, sdpa(backend, case.name == "causal")


def sdpa(backend: SDPBackend, causal: bool) -> Runner:
    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with sdpa_kernel(backend):
            return scaled_dot_product_attention(q, k, v, is_causal=causal)

    return run


@dataclass
class Row:
    """What was measured on one pattern: median milliseconds by contestant, and why others could not run."""

    pattern: str
    d: int
    length: int
    ms: dict[str, dict[str, float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"{self.pattern:>10} D={self.d:<4} S={self.length:<6}"]
        for kind in ("forward", "forward+backward"):
            own = self.ms["attnir"][kind]
            others = [f"{label} {t[kind] / own:5.2f}x" for label, t in self.ms.items() if label != "attnir"]
            parts.append(f"{kind} {own:8.3f} ms  {'  '.join(others)}")
        return "  |  ".join(parts)


def measure(runner: Runner, length: int, d: int, learned: Sequence[Tensor]) -> dict[str, float]:
    """Median milliseconds of the forward, and of forward and backward together, those of what is learned included."""
    q, k, v, do = (torch.randn(1, HEADS, length, d, device="cuda", dtype=torch.bfloat16) for _ in range(4))
    with torch.no_grad():
        forward = triton.testing.do_bench(lambda: runner(q, k, v), return_mode="median")
    leaves = [t.requires_grad_() for t in (q, k, v)]
    wanted = [*leaves, *learned]
    both = triton.testing.do_bench(lambda: torch.autograd.grad(runner(*leaves), wanted, do), return_mode="median")
    return {"forward": forward, "forward+backward": both}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two lengths, D = 64")
    parser.add_argument("--d", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--lengths", type=int, nargs="+", default=[2048, 4096, 8192, 16384, 32768])
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print(
            "bench_gpu needs a GPU: torch.cuda.is_available() is False; `make bench` measures the CPU", file=sys.stderr
        )
        return 1
    widths, lengths = ([64], [4096, 16384]) if options.quick else (options.d, options.lengths)
    rows: list[Row] = []
    for d in widths:
        for case in [*(c for n in lengths for c in (*sequences(n), *scored(n))), *grids()]:
            rows.append(row := Row(case.name, d, case.length))
            learned = {name: t.requires_grad_() for name, t in case.tensors(HEADS, "cuda").items()}
            for label, runner in runners(case, learned):
                try:
                    row.ms[label] = measure(runner, case.length, d, list(learned.values()))
                except (RuntimeError, torch.OutOfMemoryError) as error:  # a rival that cannot run is shown as such
                    if label == "attnir":
                        raise
                    row.failed[label] = str(error).splitlines()[0]
            print(row, flush=True)
    RESULTS.mkdir(exist_ok=True)
    gpu = torch.cuda.get_device_name()
    content = {
        "gpu": gpu,
        "torch": torch.__version__,
        "triton": triton.__version__,
        "rows": [asdict(row) for row in rows],
    }
    path = RESULTS / f"{gpu.replace(' ', '-').lower()}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    path.with_suffix(".txt").write_text("\n".join(map(str, rows)) + "\n")
    print(f"wrote {path} and the table beside it")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
