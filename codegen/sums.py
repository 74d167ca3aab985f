"""What the targets give to statistics: sums over the rows and over the columns of P."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from attnir.terms import Term


@dataclass(frozen=True, slots=True)
class Wished:
    """What a walk of the tiles sums up.

    rows, columns  the terms of every row, over its keys, and of every column, over the queries of one head
    largest        whether the largest score of each row is searched for, and its first key
    """

    rows: tuple[Term, ...] = ()
    columns: tuple[Term, ...] = ()
    largest: bool = False

    @property
    def of_rows(self) -> Wished:
        return replace(self, columns=())

    @property
    def of_columns(self) -> Wished:
        return Wished(columns=self.columns)


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """What was summed up: a tensor float32 [B, Hq, Sq] for each term of the rows, [B, Hq, Sk] for those of columns.

    highest, first  the largest score of each row and the index of its first key, int32: -1 in a row without a live key
    """

    rows: Sequence[Tensor] = ()
    columns: Sequence[Tensor] = ()
    highest: Tensor | None = None
    first: Tensor | None = None
