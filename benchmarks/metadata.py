"""What a forward kernel reads besides q, k and v: its bytes, and why there are block lists where there are some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attnir.blocks import BlockList, list_blocks
from attnir.call import Call
from attnir.footprint import metadata_bytes
from attnir.program import Launches, TileProgram


@dataclass(frozen=True, slots=True)
class Metadata:
    """Bytes of fields, tensors, row tables and block lists, as `explain` counts them.

    tokens    queries and keys, over all samples
    reasons   what the programs that walk block lists say about why; empty where none does
    """

    bytes: int
    tokens: int
    reasons: tuple[str, ...]

    @property
    def per_token(self) -> float:
        return self.bytes / max(1, self.tokens)


def reasons_of(launches: Launches) -> tuple[str, ...]:
    """Why there are block lists, each reason once; also the empty one, of a program that lists and does not say why."""
    return tuple(dict.fromkeys(p.reason for programs in launches for p in programs if p.listed))


def lists_of(launches: Launches, call: Call) -> dict[TileProgram, BlockList]:
    """The block lists of all launches; they take long to make, so counts and bytes share them."""
    return {p: list_blocks(p, call) for programs in launches for p in programs if p.listed}


def metadata_of(launches: Launches, call: Call, lists: Mapping[TileProgram, BlockList]) -> Metadata:
    """The metadata of all launches of a kernel in one call."""
    total = sum(metadata_bytes(programs, call, lists) for programs in launches)
    return Metadata(total, call.batch * (call.q_len + call.k_len), reasons_of(launches))


def shortened(reason: str, width: int = 110) -> str:
    """A reason that fits a line: the middle of a long condition is left out.

    >>> shortened("block lists: `position(k) <= position(q)` bounds k by no expression of q", 55)
    'block lists: `position(k) ... s k by no expression of q'
    """
    left = (width - 5) // 2
    return reason if len(reason) <= width else f"{reason[:left]} ... {reason[left + 5 - width :]}"
