"""Pictures of patterns: tiles by status over the mask. matplotlib is imported when a picture is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from attnir.errors import ShapeError
from attnir.evaluate import dense_mask
from attnir.explain import explain
from attnir.printing import wrapped
from attnir.walk import PairMap, pair_map

if TYPE_CHECKING:
    from attnir.api import Attention

COLOURS = {"empty": "#f4f4f2", "partial": "#f2c14e", "full": "#5b8e7d"}
MOST_PIXELS = 4096  # a picture is dense; longer sequences are better read as counts
TITLE = (90, 5)  # the width and most lines of the pattern above a picture


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One head of one sample.

    status    of the tile of each pair: 0 empty, 1 partial, 2 full
    live      which pairs are live
    visited   pairs in visited tiles, as often as they are visited
    """

    status: Tensor
    live: Tensor
    visited: int

    def ratio(self) -> str:
        """How much is visited, in words."""
        live = int(self.live.sum())
        return f"{self.visited / live:.3f} visited to a live pair" if live else f"{self.visited:,} visited, none live"

    def draw(self, axes: Any) -> None:
        """Tiles by status, live pairs dark, on matplotlib's axes."""
        from matplotlib.colors import ListedColormap

        q_len, k_len = self.live.shape
        where = {"interpolation": "nearest", "extent": (-0.5, k_len - 0.5, q_len - 0.5, -0.5)}
        colours = ListedColormap(list(COLOURS.values()))
        axes.imshow(self.status.cpu().numpy(), cmap=colours, vmin=0, vmax=2, **where)
        shade = torch.zeros(*self.live.shape, 4)
        shade[..., 3] = self.live.cpu() * 0.45
        axes.imshow(shade.numpy(), **where)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The pairs of a call: their tiles, and which are live, bool [B, H, q_len, k_len]."""

    pairs: PairMap
    live: Tensor

    def panel(self, sample: int, head: int) -> Panel:
        full, partial = self.pairs.full[sample, head], self.pairs.partial[sample, head]
        status = 2 * (full > 0) + ((full == 0) & (partial > 0)).long()
        return Panel(status, self.live[sample, head], int((full + partial).sum()))


def view(attention: Attention, q_len: int, k_len: int | None, tile: tuple[int, int], **given: Any) -> View:
    """What `explain` would count with the same arguments, pair by pair."""
    e = explain(attention, q_len, k_len, tile=tile, **given)
    pairs = pair_map([p for programs in e.arrangement.taken.launches for p in programs], e.call)
    return View(pairs, dense_mask(attention.pattern.predicate, e.call).expand(pairs.live.shape))


def plot(
    attention: Attention,
    q_len: int,
    path: str | PathLike[str],
    k_len: int | None = None,
    *,
    tile: tuple[int, int] | None = None,
    head: int = 0,
    sample: int = 0,
    heads: int | None = None,
    batch: int | None = None,
    q_start: int | None = None,
    **bindings: Any,
) -> Path:
    """Write the picture of one head of one sample to `path`: live pairs dark, tiles by status.

    The path ends in .png, .svg or .pdf, or gets .png; the path written is returned. Lengths from 1 to 4096; `tile` as
    in `explain`, by default a sixteenth of the length. `heads` and `batch` are those of the call, by default just as
    many as it takes to have `head` and `sample`. The legend counts what is shown.

    Raises ShapeError for other lengths, and for a head or a sample that is not there.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    k_len = q_len if k_len is None else k_len
    if not 1 <= min(q_len, k_len) <= max(q_len, k_len) <= MOST_PIXELS:
        raise ShapeError(f"a picture shows 1 to {MOST_PIXELS} tokens, not {q_len} by {k_len}; plot another length")
    heads = heads if heads is not None else attention.pattern.heads or head + 1
    batch = sample + 1 if batch is None else batch
    if not (0 <= head < heads and 0 <= sample < batch):
        raise ShapeError(f"head {head} of {heads} and sample {sample} of {batch} are not both there")
    tile = tile or (max(1, q_len // 16), max(1, k_len // 16))
    seen = view(attention, q_len, k_len, tile, heads=heads, batch=batch, q_start=q_start, **bindings)
    panel = seen.panel(sample, head)
    counts = {name: f"{int((panel.status == code).sum()):,} pairs" for code, name in enumerate(COLOURS)}

    figure = Figure(figsize=(6.4, 6.4 * q_len / k_len + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    panel.draw(axes)
    shown = "\n".join(wrapped(str(attention.pattern), *TITLE))
    axes.set(xlabel="key", ylabel="query", title=f"{shown}\n{panel.ratio()}, tiles of {tile[0]} x {tile[1]}")
    axes.title.set_fontsize(8)
    axes.legend(
        handles=[Patch(color=COLOURS[name], label=f"{name}: {n}") for name, n in counts.items()],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.08),
        ncols=3,
        frameon=False,
    )
    written = Path(path) if Path(path).suffix else Path(f"{path}.png")
    figure.savefig(written, dpi=160, bbox_inches="tight")
    return written


def plot_small(panels: Mapping[str, Panel], path: str | PathLike[str]) -> None:
    """Write small pictures side by side, each under its title, without axes; the same panels give the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    q_len, k_len = next(iter(panels.values())).live.shape
    wide = 2.2 * min(1, k_len / q_len)
    figure = Figure(figsize=(len(panels) * wide + 0.2, wide * q_len / k_len + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, panel) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        panel.draw(axes)
        axes.set_title(title, fontsize=7)
        axes.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=100, metadata={"Software": None})
