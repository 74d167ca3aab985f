"""A tile program over runs of tokens as the plain loop that it says, in Python integers alone."""

from __future__ import annotations

import torch
from torch import Tensor

from attnir.call import Call
from attnir.program import Status, Sweep, TileProgram
from attnir.testing.meaning import meaning


def plain_loop(program: TileProgram, call: Call) -> Tensor:
    """A tile program run as a plain loop: how often each pair counts as live, [B, H, q_len, k_len].

    What a kernel does, in Python: a tile beyond the columns would read outside memory and raises IndexError.
    """
    counts = torch.zeros(call.batch, call.heads, call.q_len, call.k_len, dtype=torch.int64)
    starts, lengths = {"q": call.q_start, "k": 0}, {"q": call.q_len, "k": call.k_len}
    row, column = program.rows.side, program.columns.side
    row_tile, column_tile = program.tile
    for b in range(call.batch):
        for h in range(call.heads):
            for at in range(0, lengths[row], row_tile):
                rows = range(starts[row] + at, starts[row] + min(at + row_tile, lengths[row]))
                tokens = {"b": b, "h": h, **call.sizes, f"{row}0": rows[0], f"{row}1": rows[-1]}
                for name, value in program.lets:
                    tokens[name] = meaning(value, tokens, call, rows)
                for sweep in program.visits:
                    assert isinstance(sweep, Sweep)
                    first, last = (meaning(e, tokens, call, rows) for e in (*sweep.start, *sweep.stop))
                    for tile in range(first, last):
                        columns = range(tile * column_tile, min((tile + 1) * column_tile, lengths[column]))
                        whole = len(columns) == column_tile
                        if tile < 0 or not columns or not (whole or sweep.status is Status.PARTIAL):
                            raise IndexError(f"{sweep.status} tile {tile} of {lengths[column]} {column}")
                        for r in rows:
                            for c in columns:
                                pair = {row: r, column: starts[column] + c}
                                if sweep.status is Status.FULL or meaning(program.predicate, {**tokens, **pair}, call):
                                    counts[b, h, pair["q"] - call.q_start, pair["k"]] += 1
    return counts
