"""Panels as figures. matplotlib is imported when a figure is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attnir.errors import BackendError
from attnir.pictures.panels import Panel

COLOURS = {"empty": "#f4f4f2", "partial": "#f2c14e", "full": "#5b8e7d"}
SCALES = ("Blues", "Oranges", "Greens", "Purples")  # of the order of visits, by launch
LIVE = 0.45  # how dark live pairs are
MOST_NUMBERED = 24  # row tiles whose visits have numbers


def new_figure(width: float, height: float) -> Any:
    """An empty figure, in inches, that any format can be written from."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        wanted = "a picture needs matplotlib, which is not installed: pip install attnir[plot]"
        raise BackendError(f"{wanted}; a page, .html, needs nothing") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_status(axes: Any, panel: Panel) -> None:
    """Tiles by status, live pairs dark, on matplotlib's axes."""
    draw_image(axes, panel.status, panel.live)


def draw_image(axes: Any, status: Tensor, live: Tensor, **placed: Any) -> None:
    from matplotlib.colors import ListedColormap

    height, width = live.shape
    where = {"interpolation": "nearest", "extent": (-0.5, width - 0.5, height - 0.5, -0.5), **placed}
    axes.imshow(status.numpy(), cmap=ListedColormap(list(COLOURS.values())), vmin=0, vmax=2, **where)
    axes.imshow(_shade(live, LIVE), **where)


def _shade(live: Tensor, dark: float) -> Any:
    shade = torch.zeros(*live.shape, 4, dtype=torch.float32, device="cpu")
    shade[..., 3] = live * dark
    return shade.numpy()


def draw_order(axes: Any, panel: Panel) -> None:
    """Tiles by when their row tile visits them, the later the darker; a colour for each launch."""
    from matplotlib import colormaps

    order, last = panel.order, max(1, int(panel.order.max()))
    shown = torch.zeros(*order.shape, 3, dtype=torch.float32, device="cpu")
    for launch in range(int(panel.launch.max()) + 1):
        scale = colormaps[SCALES[launch % len(SCALES)]]
        rows = panel.launch == launch
        shades = scale(0.12 + 0.6 * order[rows].numpy() / last)[..., :3]
        shown[rows] = torch.tensor(shades, dtype=torch.float32, device="cpu")
    empty = [int(COLOURS["empty"][i : i + 2], 16) / 255 for i in (1, 3, 5)]
    shown[order == 0] = torch.tensor(empty, dtype=torch.float32, device="cpu")
    height, width = panel.live.shape
    where = {"interpolation": "nearest", "extent": (-0.5, width - 0.5, height - 0.5, -0.5)}
    axes.imshow(shown.numpy(), **where)
    axes.imshow(_shade(panel.live, 0.2), **where)
    if len(panel.tiles) <= MOST_NUMBERED:
        _number(axes, panel)


def _number(axes: Any, panel: Panel) -> None:
    """The number of every visit, on tiles that are rectangles of the picture."""
    for tile in panel.tiles:
        for number, visit in enumerate(tile.visits, 1):
            if len(tile.rows) == 1 == len(visit.columns):
                ((a, b),), ((c, d),) = tile.rows, visit.columns
                at = ((c + d - 1) / 2, (a + b - 1) / 2)
                axes.text(*at, str(number), fontsize=6, ha="center", va="center", clip_on=True)


def draw_panels(panels: Mapping[str, Panel], title: str, draw: Callable[[Any, Panel], None]) -> Any:
    """A figure of panels, each under its title, with what the colours mean."""
    q_len, k_len = next(iter(panels.values())).live.shape
    across = min(len(panels), 4)
    down = -(-len(panels) // across)
    side = 5.8 if len(panels) == 1 else 2.8
    tall = min(2.0, max(0.1, q_len / k_len))
    lines = title.count("\n") + max(name.count("\n") for name in panels)
    figure = new_figure((side + 0.7) * across, (side * tall + 0.7) * down + 0.6 + 0.14 * lines)
    every = figure.subplots(down, across, squeeze=False).flatten()
    for axes, (name, panel) in zip(every, panels.items(), strict=False):
        draw(axes, panel)
        axes.set_title(name, fontsize=8)
        axes.set(xlabel="key", ylabel="query")
    for axes in every[len(panels) :]:
        axes.set_axis_off()
    if title:
        figure.suptitle(title, fontsize=8)
    _legend(figure, draw is draw_order, panels)
    return figure


def _legend(figure: Any, ordered: bool, panels: Mapping[str, Panel]) -> None:
    from matplotlib import colormaps
    from matplotlib.patches import Patch

    handles = []
    if ordered:
        launches = 1 + max(int(p.launch.max()) for p in panels.values())
        for launch in range(launches):
            name = f"launch {launch + 1}: " if launches > 1 else ""
            for words, depth in (("visited first", 0.2), ("visited last", 0.72)):
                colour = colormaps[SCALES[launch % len(SCALES)]](depth)
                handles.append(Patch(color=colour, label=f"{name}{words}"))
    else:
        status = [p.status for p in panels.values()]
        for code, name in enumerate(COLOURS):
            pairs = sum(int((s == code).sum()) for s in status)
            handles.append(Patch(color=COLOURS[name], label=f"{name}: {pairs:,} pairs"))
    handles.append(Patch(color="#555555", label="dark: live"))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(handles) if len(handles) < 6 else 4,
        frameon=False,
        fontsize=8,
    )


def draw_small(panels: Mapping[str, Panel]) -> Any:
    """A figure of small panels side by side, each under its title, without axes."""
    q_len, k_len = next(iter(panels.values())).live.shape
    wide = 2.2 * min(1, k_len / q_len)
    figure = new_figure(len(panels) * wide + 0.2, wide * q_len / k_len + 0.4)
    for axes, (title, panel) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        draw_status(axes, panel)
        axes.set_title(title, fontsize=7)
        axes.set(xticks=[], yticks=[])
    return figure


def plot_small(panels: Mapping[str, Panel], path: str | PathLike[str]) -> None:
    """Write small pictures side by side; the same panels give the same bytes."""
    draw_small(panels).savefig(Path(path), dpi=100, metadata={"Software": None})
