"""What a model attends to: entropy and sink mass of each layer while it trains, and attention rollout at the end.

    python examples/attention_statistics.py                            # this Python's own sources
    python examples/attention_statistics.py --steps 200 --length 2048  # a longer look
    python examples/attention_statistics.py --picture statistics.png   # needs matplotlib

The model is that of train_text.py. Statistics are computed in tiles, in every step; only rollout, of a short text, is
made of the probabilities themselves. The exit status says whether these agree.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = os.environ.get("OMP_WAIT_POLICY", "passive")

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from text_data import NO_TARGET, Batch, batches, read_files
from text_model import ATTENTION, SINKS, Attend, TextModel
from torch import Tensor

import attnir as an

SHORT = 64  # tokens of the text that attention rollout is made of
WORDS = ("entropy", "sink mass", "distance")  # means over heads and rows


@dataclass
class Watch:
    """Attends as the model does, and keeps the statistics of each layer."""

    requests: list[str] = field(default_factory=list)
    found: list[dict[str, Tensor]] = field(default_factory=list)  # of the layers, in the order of their calls

    def way(self, start: Tensor) -> Attend:
        """How the layers attend in sequences whose documents begin at `start`."""
        sinks = torch.arange(start.shape[1], device=start.device) - start < SINKS
        own: list[str | an.Statistic] = [*self.requests, *an.segment_mass(sinks=sinks)]

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            with torch.no_grad():
                self.found.append(ATTENTION.statistics(q, k, v, own, start=start))
            return ATTENTION(q, k, v, start=start)

        return attend


def train(
    model: TextModel, watch: Watch, batch: Batch, optimizer: torch.optim.Optimizer
) -> tuple[float, list[list[float]]]:
    """One step: its loss, and what WORDS names, by layer."""
    watch.requests, watch.found = ["row-entropy", "mean-distance"], []
    logits = model(batch.tokens, batch.start)
    told = batch.targets != NO_TARGET
    loss = F.cross_entropy(logits[told], batch.targets[told])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    by_layer = [[f[n].mean().item() for n in ("row-entropy", "sinks", "mean-distance")] for f in watch.found]
    return loss.item(), by_layer


def rollout(probabilities: list[Tensor]) -> Tensor:
    """How much each token's last state is made of each token: half attention, half residual, layer by layer.

    probabilities: [B, H, S, S] of each layer. Gives [B, S, S]. Quantifying Attention Flow in Transformers.
    """
    eye = torch.eye(probabilities[0].shape[-1], device=probabilities[0].device)
    total = eye.expand(len(probabilities[0]), -1, -1)
    for p in probabilities:
        total = (0.5 * p.mean(1) + 0.5 * eye) @ total
    return total


def last_look(model: TextModel, watch: Watch, batch: Batch, console: Console) -> bool:
    """Rollout of a short text; whether P agrees with what the tiles say of it."""
    watch.requests, watch.found = ["probabilities", "row-entropy", "received-mass"], []
    with torch.no_grad():
        model(batch.tokens[:1, :SHORT], batch.start[:1, :SHORT])
    flow = rollout([f["probabilities"] for f in watch.found])[0]
    strongest = flow[-1].topk(5)
    text = bytes(batch.tokens[0, :SHORT].tolist()).decode("latin-1")
    console.print(f"\nattention rollout: the last of {SHORT} tokens is made of", markup=False)
    for share, at in zip(strongest.values.tolist(), strongest.indices.tolist(), strict=True):
        console.print(f"  {share:6.1%}  token {at:>2} {text[at]!r}", markup=False, highlight=False)
    apart = 0.0
    for f in watch.found:
        p = f["probabilities"].double()
        entropy = -(p * torch.where(p > 0, p, 1.0).log()).sum(-1)
        apart = max(
            apart, float((entropy - f["row-entropy"]).abs().max()), float((p.sum(-2) - f["received-mass"]).abs().max())
        )
    console.print(f"statistics and probabilities are at most {apart:.1e} apart")
    return apart < 1e-4


def picture(path: Path, history: list[list[list[float]]]) -> None:
    """The statistics of each layer by step, as an image."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(WORDS), figsize=(4 * len(WORDS), 3))
    for i, (word, axis) in enumerate(zip(WORDS, axes, strict=True)):
        for layer in range(len(history[0])):
            axis.plot([step[layer][i] for step in history], label=f"layer {layer}")
        axis.set_title(word)
        axis.set_xlabel("step")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="text to train on, by default this Python's own sources")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--length", type=int, default=1024, help="tokens in a sequence")
    parser.add_argument("--picture", type=Path, help="where an image of the curves is written")
    options = parser.parse_args(arguments)
    if options.steps < 1 or options.length < SHORT:
        parser.error(f"--steps is at least 1, --length at least {SHORT}")
    console, watch = Console(), Watch()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    model = TextModel(watch.way).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    data = batches(read_files(options.folder, 0), 1, options.length, 0)
    history = []
    for _ in range(options.steps):
        batch = next(data).to(device)
        loss, by_layer = train(model, watch, batch, optimizer)
        history.append(by_layer)
    table = Table("layer", *(f"{word}, {when}" for word in WORDS for when in ("first step", "last")))
    for layer, (first, last) in enumerate(zip(history[0], history[-1], strict=True)):
        table.add_row(str(layer), *(f"{x:.3f}" for pair in zip(first, last, strict=True) for x in pair))
    console.print(table)
    console.print(f"loss after {options.steps} steps: {loss:.3f}")
    if options.picture:
        picture(options.picture, history)
        console.print(f"the curves: {options.picture}", soft_wrap=True)
    return 0 if last_look(model, watch, batch, console) else 1


if __name__ == "__main__":
    sys.exit(main())
