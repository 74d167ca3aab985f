"""Pictures of patterns: tiles by status over the mask. matplotlib is imported when a picture is asked for."""

from __future__ import annotations

from os import PathLike
from typing import Any

import torch

from attnir.api import Attention
from attnir.evaluate import dense_mask
from attnir.explain import explain
from attnir.walk import tile_map

COLOURS = {"empty": "#f4f4f2", "partial": "#f2c14e", "full": "#5b8e7d"}
MOST_PIXELS = 4096  # a picture is dense; longer sequences are better read as counts


def plot(
    attention: Attention,
    q_len: int,
    path: str | PathLike[str],
    k_len: int | None = None,
    *,
    tile: tuple[int, int] | None = None,
    head: int = 0,
    sample: int = 0,
    heads: int = 1,
    batch: int = 1,
    q_start: int | None = None,
    **bindings: Any,
) -> None:
    """Write the picture of one head of one sample to `path` (.png, .svg, .pdf): live pairs dark, tiles by status.

    Lengths up to 4096; `tile` as in `explain`, by default an eighth of the length.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    k_len = q_len if k_len is None else k_len
    if max(q_len, k_len) > MOST_PIXELS:
        raise ValueError(f"a picture shows up to {MOST_PIXELS} tokens, not {max(q_len, k_len)}; plot a shorter length")
    tile = tile or (max(1, q_len // 16), max(1, k_len // 16))
    e = explain(attention, q_len, k_len, tile=tile, heads=heads, batch=batch, q_start=q_start, **bindings)
    tiles = tile_map(e.program, e.call)
    status = _pick(tiles.partial + 2 * tiles.full, sample, head)
    live = _pick(dense_mask(attention.pattern.predicate, e.call), sample, head)
    colours = status.repeat_interleave(tile[0], 0).repeat_interleave(tile[1], 1)[:q_len, :k_len]

    figure = Figure(figsize=(6.4, 6.4 * q_len / k_len + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    extent = (-0.5, k_len - 0.5, q_len - 0.5, -0.5)
    axes.imshow(
        colours.cpu().numpy(),
        cmap=ListedColormap(list(COLOURS.values())),
        vmin=0,
        vmax=2,
        interpolation="nearest",
        extent=extent,
    )
    shade = torch.zeros(*live.shape, 4)
    shade[..., 3] = live.cpu() * 0.45
    axes.imshow(shade.numpy(), interpolation="nearest", extent=extent)
    axes.set(
        xlabel="key", ylabel="query", title=f"{attention.pattern}\nover-compute {e.over_compute:.3f} at tiles of {tile}"
    )
    axes.title.set_fontsize(8)
    counts = {"empty": e.tiles.empty, "partial": e.tiles.partial, "full": e.tiles.full}
    axes.legend(
        handles=[Patch(color=COLOURS[name], label=f"{name}: {n}") for name, n in counts.items()],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.08),
        ncols=3,
        frameon=False,
    )
    figure.savefig(path, dpi=160, bbox_inches="tight")


def _pick(table: torch.Tensor, sample: int, head: int) -> torch.Tensor:
    return table[min(sample, table.shape[0] - 1), min(head, table.shape[1] - 1)]
