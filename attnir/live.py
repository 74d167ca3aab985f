"""The exact number of live pairs of a pattern, by what its layouts prove: a large grid is counted row by row."""

from __future__ import annotations

from attnir.call import Call
from attnir.candidates import unlisted
from attnir.count import count_launches, count_live, has_ranges
from attnir.expr import TRUE, Expr
from attnir.labels import in_order, label_of, ranges_of
from attnir.ops import Side
from attnir.program import Launches, Status, Sweep
from attnir.space import Spaces


def live_pairs_of(predicate: Expr, spaces: Spaces, call: Call) -> int:
    """The live pairs over all samples and query heads.

    By ranges of every row, where these say it all, in the order of the tokens or in that of a label. Else, and in a
    space, where tiles of one row and one key can all be proved FULL in some layout, those are counted. Else pair by
    pair in what is not proved.
    """
    if not any(spaces) and has_ranges(predicate, call):
        return count_live(predicate, call)
    label = label_of(predicate)
    ranges = None if label is None else ranges_of(predicate, label, Side.QUERIES)
    if ranges is not None and has_ranges(ranges, call):
        return count_live(ranges, in_order(call, label))
    for launches in unlisted(predicate, spaces, (1, 1)):
        if _may_be_proved(launches) and (tiles := count_launches(launches, call)).partial == 0:
            return tiles.full
    return count_live(predicate, call)


def _may_be_proved(launches: Launches) -> bool:
    """Whether tiles are pairs that one launch has, and each program that visits some says FULL of any."""
    return all(
        p.rows.among is TRUE
        and (not p.visits or any(isinstance(v, Sweep) and v.status is Status.FULL for v in p.visits))
        for programs in launches
        for p in programs
    )
