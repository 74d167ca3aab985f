"""Train a small byte-level transformer on real text, with a pattern of its own, beside the same one with a dense mask.

    python examples/train_text.py                            # this Python's own sources, packed as documents
    python examples/train_text.py --folder PATH --steps 500  # any folder of text
    python examples/train_text.py --demo                     # the pattern and its kernel first, then a short training

Both models start from the same weights and see the same batches, so their losses must agree: the exit status says so.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

# Read when torch is loaded: its profiler writes no log into the progress bar, and its threads sleep while they wait
# for each other. Spinning, as they do by default, slows both models several times on a machine that has other work.
os.environ["KINETO_LOG_LEVEL"] = "6"
os.environ["OMP_WAIT_POLICY"] = os.environ.get("OMP_WAIT_POLICY", "passive")

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from text_data import NO_TARGET, Batch, batches, read_files
from text_evidence import show_evidence
from text_model import TextModel, by_dense_mask, by_tiles
from torch import Tensor

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# How far apart two losses may be that differ by rounding alone, in nats: at the first step, and what each step adds.
ROUNDING = {torch.float32: 2e-6, torch.bfloat16: 1e-2}


@dataclass
class Run:
    """One model in training, and what was measured."""

    name: str
    model: TextModel
    compiled: bool
    dtype: torch.dtype
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    peak: int = 0  # bytes at the highest moment of a step, beyond what lives between steps

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        self.logits = torch.compile(self.model, fullgraph=True) if self.compiled else self.model

    def gradients(self, batch: Batch) -> Tensor:
        """Forward and backward; the loss."""
        self.optimizer.zero_grad()
        with torch.autocast(batch.tokens.device.type, self.dtype, enabled=self.dtype != torch.float32):
            logits = self.logits(batch.tokens, batch.start)
        told = batch.targets != NO_TARGET
        losses = F.cross_entropy(logits[told].float(), batch.targets[told], reduction="none")
        loss = losses.double().mean()  # so that the curves are compared beyond what a float32 of their size resolves
        loss.backward()
        return loss.detach()

    def step(self, batch: Batch) -> None:
        began = time.perf_counter()
        loss = self.gradients(batch)
        self.optimizer.step()
        self.losses.append(loss.item())
        if batch.tokens.is_cuda:
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - began)


def peak_bytes(action: Callable[[], object], device: torch.device) -> int:
    """The most bytes of tensors alive at a moment of `action` beyond those alive before it, as allocated."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        action()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        action()
    with tempfile.TemporaryDirectory() as folder:
        profile.export_chrome_trace(f"{folder}/trace.json")
        events = json.loads(Path(folder, "trace.json").read_bytes())["traceEvents"]
    allocations = sorted((e for e in events if e.get("name") == "[memory]"), key=lambda e: float(e["ts"]))
    return max(itertools.accumulate((int(e["args"]["Bytes"]) for e in allocations), initial=0))


def train(runs: list[Run], data: Iterable[Batch], steps: int, device: torch.device, console: Console) -> None:
    """Step the runs in turn, each on the same batch, under a progress bar."""
    columns = (BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("warming up", total=steps)
        for i, batch in enumerate(itertools.islice(data, steps)):
            batch = batch.to(device)
            for run in runs:
                if i == 0:  # warms up as well: its gradients are thrown away
                    run.gradients(batch)
                    run.optimizer.zero_grad()
                    run.peak = peak_bytes(partial(run.gradients, batch), device)
                run.step(batch)
            now = ", ".join(f"{r.name} {r.losses[-1]:.4f}, {1e3 * r.seconds[-1]:.0f} ms" for r in runs)
            progress.update(bar, advance=1, description=now)


def report(tiles: Run, dense: Run, console: Console) -> bool:
    """The table, and whether the losses agree within rounding at every step."""
    table = Table("", "first loss", "last loss", "time per step", "memory of a step")
    for run in (tiles, dense):
        cost = f"{1e3 * median(run.seconds):,.0f} ms", f"{run.peak / 2**20:,.0f} MiB"
        table.add_row(run.name, f"{run.losses[0]:.4f}", f"{run.losses[-1]:.4f}", *cost)
    ratios = median(dense.seconds) / median(tiles.seconds), dense.peak / tiles.peak
    table.add_row("dense / tiles", "", "", *(f"{ratio:.2f} x" for ratio in ratios))
    console.print(table)
    console.print("time: the median; memory: the peak of tensor bytes, weights and optimizer aside")
    apart = [abs(a - b) for a, b in zip(tiles.losses, dense.losses, strict=True)]
    bounds = [ROUNDING[tiles.dtype] * (1 + step) for step in range(len(apart))]
    agree = all(a <= b for a, b in zip(apart, bounds, strict=True))  # a NaN does not
    worst = max(range(len(apart)), key=lambda step: apart[step] / bounds[step])
    verdict = "[green]agree[/]" if agree else "[red]DISAGREE[/]"
    console.print(f"The loss curves {verdict}: at most {max(apart):.1e} apart in {len(apart)} steps.")
    console.print(f"Closest to its bound at step {worst + 1}: {apart[worst]:.1e}, bound {bounds[worst]:.1e}.")
    return agree


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="text to train on, by default this Python's own sources")
    parser.add_argument("--steps", type=int, help="by default 200, in the demo 20")
    parser.add_argument("--length", type=int, default=4096, help="tokens in a sequence, by default 4096")
    parser.add_argument("--batch", type=int, default=1, help="sequences in a batch, by default 1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", choices=DTYPES, help="of the products: by default bfloat16 on a GPU, else float32")
    parser.add_argument("--compile", action="store_true", help="torch.compile(fullgraph=True) both models")
    parser.add_argument("--demo", action="store_true", help="show the pattern and run its kernel, then train a little")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="where the demo writes to")
    options = parser.parse_args(arguments)
    if options.steps is None:
        options.steps = 20 if options.demo else 200
    if min(options.steps, options.batch) < 1 or options.length < 16:
        parser.error("--steps and --batch are at least 1, --length at least 16")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    console = Console()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = DTYPES[options.dtype or ("bfloat16" if device.type == "cuda" else "float32")]
    texts = read_files(options.folder, options.seed)
    data = batches(texts, options.batch, options.length, options.seed)
    size = sum(map(len, texts)) / 2**20
    console.print(
        f"text: {len(texts):,} files, {size:.1f} MiB; on {device.type} in {str(dtype).removeprefix('torch.')}"
    )
    torch.manual_seed(options.seed)
    right = True
    if options.demo:
        right = show_evidence(next(data).to(device), options.output, dtype, console)
    model = TextModel(by_tiles).to(device)
    twin = TextModel(by_dense_mask).to(device)
    twin.load_state_dict(model.state_dict())
    tiles, dense = (Run(name, m, options.compile, dtype) for name, m in (("live tiles", model), ("dense mask", twin)))
    train([tiles, dense], data, options.steps, device, console)
    return 0 if report(tiles, dense, console) and right else 1


if __name__ == "__main__":
    sys.exit(main())
