"""The tiles that a selection lists, where a predicate lets nothing else live.

`picks(q // 64, k // 64) > 0` says which list a query has, and which member of it a key is. Both only grow along their
sides, so a tile has consecutive lists, or members, and the tiles of a member are consecutive too. For each tile of the
side that has lists, the members of its lists are looked up, and for each member its tiles: as many as places in all,
whatever the lengths. The transposed program's tiles are the same ones, sorted by the other side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attnir.axes import TOKEN_OF
from attnir.bounder import Bounder
from attnir.bounds import any_call
from attnir.call import Call
from attnir.evaluate import Evaluator
from attnir.expr import Expr
from attnir.interval import Integers, Interval
from attnir.ops import Op, SelectionDecl, Side
from attnir.program import TileProgram
from attnir.rows import direction
from attnir.traverse import fields_of, nodes, reads, tensors_of, unit_size


@dataclass(frozen=True, slots=True)
class Listing:
    """A rank that is above 0 in every live pair; `side` has the lists, as `at`, the other one the members."""

    selection: SelectionDecl
    side: Side
    at: Expr
    member: Expr

    def unit(self, side: Side) -> int:
        """How many tokens of a side have one list, or are one member, where all have as many; else 1."""
        e = self.at if side is self.side else self.member
        return unit_size(e, TOKEN_OF[side]) or 1


def listing_of(predicate: Expr) -> Listing | None:
    """What lists every live pair of a predicate; None where nothing does.

    >>> from attnir.expr import K, Q, rank
    >>> picks = SelectionDecl("picks")
    >>> listing_of((K <= Q) & (rank(picks, Q // 64, K // 32) > 0)).side
    <Side.QUERIES: 'q'>
    >>> listing_of((K <= Q) | (rank(picks, Q // 64, K // 32) > 0)) is None
    True
    """
    for n in nodes(predicate):
        if n.op is not Op.RANK or not isinstance(n.value, SelectionDecl):
            continue
        at, member = n.args[:2]
        side = next((s for s in Side if _grows(at, s) and _grows(member, s.other)), None)
        if side is not None and not _can_be_zero(predicate, n):
            return Listing(n.value, side, at, member)
    return None


def _grows(e: Expr, side: Side) -> bool:
    """Whether an expression never falls along a side, and reads nothing else but parameters."""
    plain = reads(e) <= {side.value} and not fields_of(e) and not tensors_of(e)
    return plain and all(n.op is not Op.RANK for n in nodes(e)) and direction(e, TOKEN_OF[side]) in (0, 1)


def _can_be_zero(predicate: Expr, rank: Expr) -> bool:
    """Whether a pair may be live whose rank is 0."""

    def leaf(e: Expr) -> Interval[int]:
        return Interval(0, 0) if e is rank else any_call(e)

    can, _ = Bounder(Integers(), leaf).condition(predicate)
    return bool(can)


def tile_ends(call: Call, side: Side, size: int) -> Interval[Tensor]:
    """The first and the last position of every tile of a side."""
    start, length = call.start(side), call.length(side)
    first = start + torch.arange(0, length, size, device=call.device)
    return Interval(first, (first + size - 1).clamp(max=start + length - 1))


def listed_tiles(listing: Listing, program: TileProgram, call: Call) -> Tensor:
    """The tiles that are listed, as row * columns + column, ascending, int64 [B or 1, H or 1, n]; n is as in any call
    of these sizes: where there is no tile stands rows * columns. A tile may stand there twice.
    """
    lists = call.selections[listing.selection.name]
    sides = {p.side: size for p, size in zip((program.rows, program.columns), program.tile, strict=True)}
    at, member = _values(listing, sides, replace(call, device=torch.device("cpu")))
    owners, others = len(at.low), len(member.low)
    if not owners or not others:
        return torch.zeros(*lists.shape[:2], 0, dtype=torch.int64, device=call.device)
    # How many lists a tile has, and a member tiles, follows from sizes, and is computed on the CPU: nothing waits.
    most_lists = int((at.high - at.low).amax()) + 1
    ends = torch.searchsorted(member.low.contiguous(), member.high.contiguous(), right=True)
    most_tiles = int((ends - torch.arange(others, device=ends.device)).amax())
    at, member = _values(listing, sides, call)
    number = at.low[:, None] + torch.arange(most_lists, device=call.device)  # [owners, lists of one]
    exists = (number <= at.high[:, None]) & (number >= 0) & (number < lists.shape[2])
    members = lists[:, :, number.clamp(0, lists.shape[2] - 1)].long()  # [B, H, owners, lists of one, places]
    members = torch.where(exists[..., None], members, -1).flatten(3)
    first = torch.searchsorted(member.high.contiguous(), members.contiguous())
    stop = torch.searchsorted(member.low.contiguous(), members.contiguous(), right=True)
    tile = first[..., None] + torch.arange(most_tiles, device=call.device)
    owner = torch.arange(owners, device=call.device)[:, None, None]
    is_row = program.rows.side is listing.side
    code = owner * others + tile if is_row else tile * owners + owner
    valid = (members >= 0)[..., None] & (tile < stop[..., None])
    return torch.where(valid, code, owners * others).flatten(2).sort(-1).values


def _values(listing: Listing, sizes: Mapping[Side, int], call: Call) -> tuple[Interval[Tensor], Interval[Tensor]]:
    """(lists, members) at both ends of every tile of their sides, as both only grow along them."""
    found = []
    for e, side in ((listing.at, listing.side), (listing.member, listing.side.other)):
        ends = tile_ends(call, side, sizes[side])
        low, high = (Evaluator(call, {side.value: end})(e).expand(end.shape) for end in (ends.low, ends.high))
        found.append(Interval(low, high))
    return found[0], found[1]
