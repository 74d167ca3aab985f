"""What runs along the edges of a graph: tokens, numbers of tokens, facts, index lists, and pairs of o and lse.

Every kind names the axis that its tokens lie on ("q" and "k" are those of the call, "k // 64" its blocks, "k[picks]"
what was gathered by the lists `picks`), and what its samples are: those of the call, its heads, or the lists of a
gather. Values of different axes or samples do not fit together, and a graph that joins them is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

CALL, HEAD = "call", "head"  # what samples are: those of the call, or each head of each of them


@dataclass(frozen=True, slots=True)
class Tokens:
    """Vectors of tokens, [B, H, S, D]."""

    axis: str
    per: str = CALL

    def __str__(self) -> str:
        return f"tokens {_placed(self)}"


@dataclass(frozen=True, slots=True)
class Rows:
    """Numbers of tokens, [B, H, S]: an lse, or a gate."""

    axis: str
    per: str = CALL

    def __str__(self) -> str:
        return f"numbers {_placed(self)}"


@dataclass(frozen=True, slots=True)
class Facts:
    """Integers of tokens, [S] or [B, S]: what a field takes."""

    axis: str
    per: str = CALL

    def __str__(self) -> str:
        return f"facts {_placed(self)}"


@dataclass(frozen=True, slots=True)
class Lists:
    """Members of `members` for everything on `of`: int [B, H, lists, places], or [B, lists, places]; -1 is none.

    name is that of the node that gives them: what is gathered by them is of no other lists.
    """

    of: str
    members: str
    name: str = ""

    def __str__(self) -> str:
        return f"lists {self.of} -> {self.members}"


@dataclass(frozen=True, slots=True)
class Part:
    """The pair (o, lse) of a softmax over some keys, o [B, H, S, Dv] and lse [B, H, S]."""

    axis: str
    per: str = CALL

    def __str__(self) -> str:
        return f"part {_placed(self)}"


@dataclass(frozen=True, slots=True)
class Given:
    """What a call gives by name, and is checked where it is used."""

    def __str__(self) -> str:
        return "given"


Kind = Tokens | Rows | Facts | Lists | Part | Given


def _placed(kind: Tokens | Rows | Facts | Part) -> str:
    return kind.axis if kind.per == CALL else f"{kind.axis} per {kind.per}"
