"""Pictures of patterns: tiles by status over the mask. matplotlib is imported when a picture is asked for."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

import torch

from attnir.errors import ShapeError
from attnir.evaluate import dense_mask
from attnir.explain import explain
from attnir.walk import pair_map

if TYPE_CHECKING:
    from attnir.api import Attention

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
    heads: int | None = None,
    batch: int | None = None,
    q_start: int | None = None,
    **bindings: Any,
) -> None:
    """Write the picture of one head of one sample to `path` (.png, .svg, .pdf): live pairs dark, tiles by status.

    Lengths from 1 to 4096; `tile` as in `explain`, by default a sixteenth of the length. `heads` and `batch` are those
    of the call, by default just as many as it takes to have `head` and `sample`. The legend counts what is shown.

    Raises ShapeError for other lengths, and for a head or a sample that is not there.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import ListedColormap
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
    e = explain(attention, q_len, k_len, tile=tile, heads=heads, batch=batch, q_start=q_start, **bindings)
    pairs = pair_map([p for programs in e.arrangement.taken.launches for p in programs], e.call)
    status = 2 * (pairs.full[sample, head] > 0) + ((pairs.full == 0) & (pairs.partial > 0))[sample, head].long()
    live = dense_mask(attention.pattern.predicate, e.call).expand(pairs.live.shape)[sample, head]
    counts = {name: f"{int((status == code).sum()):,} pairs" for code, name in enumerate(COLOURS)}
    over = int((pairs.full + pairs.partial)[sample, head].sum()) / max(1, int(live.sum()))

    figure = Figure(figsize=(6.4, 6.4 * q_len / k_len + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    extent = (-0.5, k_len - 0.5, q_len - 0.5, -0.5)
    axes.imshow(
        status.cpu().numpy(),
        cmap=ListedColormap(list(COLOURS.values())),
        vmin=0,
        vmax=2,
        interpolation="nearest",
        extent=extent,
    )
    shade = torch.zeros(*live.shape, 4)
    shade[..., 3] = live.cpu() * 0.45
    axes.imshow(shade.numpy(), interpolation="nearest", extent=extent)
    title = f"{attention.pattern}\n{over:.3f} visited to a live pair, tiles of {tile[0]} x {tile[1]}"
    axes.set(xlabel="key", ylabel="query", title=title)
    axes.title.set_fontsize(8)
    axes.legend(
        handles=[Patch(color=COLOURS[name], label=f"{name}: {n}") for name, n in counts.items()],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.08),
        ncols=3,
        frameon=False,
    )
    figure.savefig(path, dpi=160, bbox_inches="tight")
