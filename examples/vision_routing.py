"""A small classifier of images, with routed beside dense attention: accuracy, time, memory, and where it looked.

    python examples/vision_routing.py                                  # about two minutes on two cores
    python examples/vision_routing.py --side 32 --batch 16 --steps 500 # 32 x 32 tokens, about ten minutes
    python examples/vision_routing.py --picture looked.png             # needs matplotlib

Images are drawn here: one shape of four kinds, somewhere, among lines and noise. In routed attention (the catalog's
`biformer`) the tokens of a region see those of the few regions that fit it best, and no others.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = os.environ.get("OMP_WAIT_POLICY", "passive")

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import attnir as an

PATCH, HEADS, WIDTH, LAYERS = 3, 2, 64, 2
RATE = 3e-3
KINDS = ("square", "disc", "cross", "frame")
REGIONS, CHOSEN = 4, 2
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def images(count: int, side: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images [count, pixels, pixels] of side x side patches, and the kind of the shape in each."""
    g = torch.Generator().manual_seed(seed)
    pixels = side * PATCH
    kind = torch.randint(len(KINDS), (count,), generator=g)
    reach = 0.12 + 0.1 * torch.rand(count, 1, 1, generator=g)
    x, y = (0.2 + 0.6 * torch.rand(2, count, 1, 1, generator=g)).unbind()
    at = torch.linspace(0, 1, pixels)
    across, down = (at[None, None, :] - x).abs(), (at[None, :, None] - y).abs()
    box, inner = torch.maximum(across, down), torch.minimum(across, down)
    shapes = [box < reach, across**2 + down**2 < reach**2, (inner < reach / 3) & (box < reach), box < reach]
    shapes[3] = shapes[3] & (box > reach / 2)
    drawn = torch.stack(torch.broadcast_tensors(*shapes), 1)[torch.arange(count), kind].float()
    for _ in range(2):  # lines from side to side
        slope, shift = (2 * torch.rand(2, count, 1, 1, generator=g) - 1).unbind()
        drawn = drawn + 0.5 * ((at[None, :, None] - 0.5 - slope * (at[None, None, :] - 0.5) - shift).abs() < 0.01)
    return drawn + 0.2 * torch.randn(count, pixels, pixels, generator=g), kind


class Classifier(nn.Module):
    """A transformer over patches, each with its place; the mean of all tokens says the kind."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.embed = nn.Linear(PATCH**2, WIDTH)
        self.place = nn.Parameter(0.1 * torch.randn(side * side, WIDTH))
        self.qkv = nn.ModuleList(nn.Linear(WIDTH, 3 * WIDTH) for _ in range(LAYERS))
        self.out = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS))
        self.mix = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))
            for _ in range(LAYERS)
        )
        self.norm = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(LAYERS))
        self.kind = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, len(KINDS)))

    def forward(self, pixels: Tensor, attend: Attend) -> Tensor:
        patches = pixels.unfold(1, PATCH, PATCH).unfold(2, PATCH, PATCH).flatten(3).flatten(1, 2)
        x = self.embed(patches) + self.place
        for qkv, out, mix, norm in zip(self.qkv, self.out, self.mix, self.norm, strict=True):
            q, k, v = qkv(norm(x)).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
            x = x + out(attend(q, k, v).transpose(1, 2).flatten(2))
            x = x + mix(x)
        logits: Tensor = self.kind(x.amax(1))
        return logits


@dataclass
class Result:
    """How a way to attend did: share of right answers, milliseconds of a step, MiB kept for the backward, loss."""

    accuracy: float
    step: float
    kept: float
    loss: float


def train(attend: Attend, side: int, steps: int, batch: int) -> tuple[Classifier, Result]:
    """A classifier, trained from the same start on the same images, whatever the way it attends."""
    torch.manual_seed(0)
    model = Classifier(side)
    optimizer = torch.optim.AdamW(model.parameters())
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=RATE, total_steps=steps)
    kept: dict[int, int] = {}

    def keep(t: Tensor) -> Tensor:
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    times, loss = [], torch.zeros(())
    for step in range(steps):
        pixels, kind = images(batch, side, step)
        began = time.perf_counter()
        if step == 0:
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
                loss = F.cross_entropy(model(pixels, attend), kind)
        else:
            loss = F.cross_entropy(model(pixels, attend), kind)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
        times.append(time.perf_counter() - began)
    pixels, kind = images(512, side, 10**6)
    with torch.no_grad():
        right = (model(pixels, attend).argmax(-1) == kind).float().mean().item()
    return model, Result(right, 1e3 * sorted(times)[len(times) // 2], sum(kept.values()) / 2**20, loss.item())


def routed(side: int, watch: list[Tensor] | None = None) -> Attend:
    """Attention to the regions that fit; `watch` collects the lists of each layer, [B, regions, CHOSEN]."""
    attention = an.compile(
        an.catalog.build("biformer", height=side, width=side, regions=REGIONS, k=CHOSEN, channels=WIDTH)
    )
    if watch is None:
        plain: Attend = attention
        return plain
    chosen = an.route.topk_keys(k=CHOSEN, heads="all")

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        step = side // REGIONS
        means = [t.unflatten(2, (REGIONS, step, REGIONS, step)).mean((3, 5)).flatten(2, 3) for t in (q, k)]
        watch.append(chosen.lists(*means))
        o: Tensor = attention(q, k, v, picks=watch[-1])
        return o

    return attend


def draw(model: Classifier, side: int, path: Path) -> None:
    """Where the region with the shape looked, in both layers, of four images."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    watch: list[Tensor] = []
    pixels, kind = images(4, side, 10**6 + 1)
    with torch.no_grad():
        found = model(pixels, routed(side, watch)).argmax(-1)
    size = side * PATCH / REGIONS
    figure, panels = plt.subplots(LAYERS, 4, figsize=(11, 6))
    for layer, row in enumerate(panels):
        for i, panel in enumerate(row):
            own = int(pixels[i].unflatten(0, (REGIONS, -1)).unflatten(2, (REGIONS, -1)).sum((1, 3)).argmax())
            panel.imshow(pixels[i].numpy(), cmap="gray")
            for r, color in [(int(r), "gold") for r in watch[layer][i, own]] + [(own, "deepskyblue")]:
                corner = (r % REGIONS * size - 0.5, r // REGIONS * size - 0.5)
                panel.add_patch(Rectangle(corner, size, size, fill=False, edgecolor=color, linewidth=3))
            if layer == 0:
                panel.set_title(f"{KINDS[kind[i]]}, taken for {KINDS[found[i]]}")
            panel.axis("off")
    figure.suptitle("A region (blue) and those that its tokens look at (gold)")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--side", type=int, default=16, help="tokens along each side, a multiple of 4")
    parser.add_argument("--picture", type=Path, help="where a query looked, as a picture")
    options = parser.parse_args(argv)
    if options.steps < 1 or options.batch < 1:
        parser.error("--steps and --batch are numbers from 1 on")
    if options.side % REGIONS or options.side < REGIONS:
        parser.error(f"--side is a multiple of {REGIONS}, not {options.side}")
    console = Console()
    ways: dict[str, Attend] = {"dense": an.compile(an.full()), "routed": routed(options.side)}
    table = Table("attention", "accuracy", "loss", "ms a step", "MiB kept", title=f"{options.side**2} tokens an image")
    model = Classifier(options.side)
    for name, attend in ways.items():
        model, result = train(attend, options.side, options.steps, options.batch)
        table.add_row(name, f"{result.accuracy:.1%}", f"{result.loss:.3f}", f"{result.step:.0f}", f"{result.kept:.1f}")
    console.print(table)
    seen = CHOSEN / REGIONS**2
    console.print(f"Routed, a token sees {CHOSEN} of {REGIONS**2} regions: {seen:.1%} of all pairs.", highlight=False)
    if options.picture:
        draw(model, options.side, options.picture)
        console.print(f"Where it looked: {options.picture}", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
