"""The keys of one query as a figure: images of the regions of their space, visited tiles by status."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from attnir.grids import Grid
from attnir.pictures.figure import COLOURS, draw_image, new_figure
from attnir.pictures.panels import Panel

ACROSS = 8  # images in a row
EDGE = "#1d2125"
MARK: dict[str, Any] = {"marker": "o", "markerfacecolor": "white", "markeredgecolor": "#b3261e"}


def draw_query(panel: Panel, query: int, own: int | None, grids: Sequence[Grid], title: str) -> Any:
    """A figure of the keys of one query where they lie; `own` is the query's key position, marked, or None."""
    live, status, order = panel.live[query], panel.status[query], panel.order[query]
    rows = [_rows_of(g) for g in grids]
    figure = new_figure(9.0, sum(height for _, height in rows) + 0.9)
    parts = figure.subfigures(len(grids), 1, height_ratios=[height for _, height in rows], squeeze=False)[:, 0]
    for part, grid, (down, _) in zip(parts, grids, rows, strict=True):
        _draw_grid(part, grid, down, live, status, order, own)
    figure.suptitle(title, fontsize=8)
    _query_legend(figure, live, status, own is not None)
    return figure


def _rows_of(grid: Grid) -> tuple[int, float]:
    """(how many rows of images a region takes, their height in inches)."""
    images = math.prod(grid.sizes[:-2])
    down = -(-images // ACROSS)
    height, width = (1, *grid.sizes)[-2:]
    across = min(images, ACROSS)
    each = min(5.0, max(0.5, 8.4 / across * height / width)) if len(grid.sizes) > 1 else 0.4
    return down, down * (each + 0.35) + 0.25


def _draw_grid(part: Any, grid: Grid, down: int, live: Tensor, status: Tensor, order: Tensor, own: int | None) -> None:
    images = grid.images()
    every = part.subplots(down, min(len(images), ACROSS), squeeze=False).flatten()
    for axes, (name, positions) in zip(every, images, strict=False):
        strip = len(grid.sizes) == 1
        draw_image(axes, status[positions], live[positions], aspect="auto" if strip else "equal")
        _outline(axes, order[positions])
        axes.set_title(": ".join(s for s in (grid.name, name) if s), fontsize=7)
        axes.tick_params(labelsize=6)
        axes.locator_params(integer=True)
        if strip:
            axes.set_yticks([])
        if own is not None and (here := (positions == own).nonzero()).numel():
            y, x = here[0].tolist()
            axes.plot(x, y, markersize=5, **MARK)
    for axes in every[len(images) :]:
        axes.set_axis_off()
    if len(grid.axes) > 1:
        every[0].set(xlabel=grid.axes[-1], ylabel=grid.axes[-2])


def _outline(axes: Any, order: Tensor) -> None:
    """Lines where one tile meets another, or what is not visited: order [height, width]."""
    from matplotlib.collections import LineCollection

    height, width = order.shape
    across = [((x + 0.5, y - 0.5), (x + 0.5, y + 0.5)) for y, x in (order[:, 1:] != order[:, :-1]).nonzero().tolist()]
    down = [((x - 0.5, y + 0.5), (x + 0.5, y + 0.5)) for y, x in (order[1:] != order[:-1]).nonzero().tolist()]
    axes.add_collection(LineCollection([*across, *down], colors=EDGE, linewidths=0.5))
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def _query_legend(figure: Any, live: Tensor, status: Tensor, marked: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Patch(color=colour, label=f"{name}: {int((status == code).sum()):,} keys")
        for code, (name, colour) in enumerate(COLOURS.items())
    ]
    handles.append(Patch(color="#555555", label=f"dark: {int(live.sum()):,} live keys"))
    if marked:
        handles.append(Line2D([], [], color="none", label="the query", **MARK))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8)
