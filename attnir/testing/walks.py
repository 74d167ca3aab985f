"""What launches of tile programs visit, pair by pair, and what is wrong with it."""

from __future__ import annotations

import torch
from torch import Tensor

from attnir.axes import Layout
from attnir.call import Call
from attnir.evaluate import Evaluator
from attnir.labels import in_order
from attnir.program import Launches, Status, TileProgram
from attnir.walk import pair_map, runs, steps, tile_tokens

MEANINGS = {
    "range": "a FULL tile reaches across the end of its columns, or a tile lies outside of the call",
    "lost": "a live pair is in no visited tile",
    "dead": "a dead pair counts as live",
    "twice": "a live pair is counted more often than once",
    "rows": "a row is in two launches or in none, or programs of one launch have different rows",
}


def findings(launches: Launches, live: Tensor, call: Call) -> set[str]:
    """What is wrong with the launches of a pattern whose live pairs are `live`, bool [B, H, q_len, k_len].

    The keys of MEANINGS that apply; none where every live pair is visited exactly once and no dead one is counted.
    """
    found = set()
    rows = torch.zeros(call.length(launches[0][0].rows.side), dtype=torch.int64)
    for programs in launches:
        found |= {"rows"} if len({p.rows for p in programs}) != 1 else set()
        rows += rows_of(programs[0].rows, call)
    found |= {"rows"} if bool((rows != 1).any()) else set()
    every_program = [p for programs in launches for p in programs]
    if any(_too_long(p, call) for p in every_program):
        return found | {"range"}
    try:
        pair_map(every_program, call)
    except IndexError:
        found.add("range")
    counts = pair_map(every_program, call, strict=False).live
    found |= {"lost"} if bool((live & (counts == 0)).any()) else set()
    found |= {"dead"} if bool((~live & (counts > 0)).any()) else set()
    return found | ({"twice"} if bool((live & (counts > 1)).any()) else set())


def _too_long(program: TileProgram, call: Call) -> bool:
    """Whether a sweep has more tiles than there are columns: nobody would live to see its end."""
    most, placed = call.length(program.columns.side), in_order(call, program.label)
    return not program.listed and any(bool((run.count > most).any()) for run in runs(program, placed))


def visited(launches: Launches, call: Call) -> tuple[int, int]:
    """How many visits of tiles are FULL, and how many PARTIAL, over all samples and heads, counted step by step."""
    found = {s: 0 for s in Status}
    for program in (p for programs in launches for p in programs):
        for step in steps(program, in_order(call, program.label)):
            found[step.status] += int(step.chosen.expand(call.batch, call.heads, -1, -1).sum())
    return found[Status.FULL], found[Status.PARTIAL]


def rows_of(rows: Layout, call: Call) -> Tensor:
    """How often each row is in a tile of the layout, [length]."""
    tokens = tile_tokens(rows, call)
    inside = torch.ones(1, dtype=torch.bool)
    grid = torch.meshgrid(*(torch.arange(n) for n in rows.box), indexing="ij")
    for axis, offset in zip(rows.axes, grid, strict=True):
        inside = inside & (tokens[str(axis.first)] + offset.flatten() <= tokens[str(axis.last)])
    index = tokens[rows.side.value] - call.start(rows.side)
    length = call.length(rows.side)
    inside, index = torch.broadcast_tensors(inside & Evaluator(call, tokens)(rows.among), index)
    return torch.bincount(index[inside & (index >= 0) & (index < length)], minlength=length)
