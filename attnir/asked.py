"""What is asked of a call: statistics of a pattern, each made of parts that one walk of the tiles sums up.

A part of a row sums P * value over its keys, a part of a column over its queries, each query head on its own. Entropy
and its like are such sums as well, of the logarithm of P or of P itself, and are finished from them:

    entropy     log(total) - sum(P log P) / total, total = sum(P): an lse that was rounded cancels
    mean        lse + sum(P log P) / total, the mean of the scores
    collision   sum(P * P) / total ** 2

Of weights that are another function of the score, P stands for these, divided or not; a total of theirs is no 1, and
nothing is divided by it. dS = P * (pull - delta) is (pull - delta) / n there, for the sum n of a row, or the pull
alone, times the slope of the weight.

Every gradient has the form dS = P * (pull - delta), where `pull` is a term and delta its sum over the row: of a row
part g * value; of a column part g of its key * value; of the entropy -g log P; of the mean g log P, and g is taken from
delta; of the collision 2 g P; of the largest probability g at its key, and 0 elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache, reduce

from attnir import real
from attnir.expr import TRUE, Expr
from attnir.masks import Declared, Mask
from attnir.real import ONE
from attnir.scores import Pattern, parse
from attnir.space import Spaces
from attnir.terms import IS_FIRST, LOG_P, PULL, P, Term, per


class Kind(StrEnum):
    """What becomes of the sums of a part. ROW to ARGMAX give [B, Hq, Sq]; COLUMN to PULLED [B, Hq, Sk]."""

    ROW = "row"
    ENTROPY = "entropy"
    MEAN = "mean"
    COLLISION = "collision"
    LARGEST = "largest"
    ARGMAX = "argmax"
    COLUMN = "column"
    COUNT = "count"  # over live pairs, without P
    PULLED = "pulled"  # of P * (dO . v)
    MATRIX = "matrix"  # P itself [B, Hq, Sq, Sk]


OF_ROWS = (Kind.ROW, Kind.ENTROPY, Kind.MEAN, Kind.COLLISION)
OF_COLUMNS = (Kind.COLUMN, Kind.COUNT, Kind.PULLED)
LARGEST = (Kind.LARGEST, Kind.ARGMAX)
OF_SOFTMAX = (Kind.ENTROPY, Kind.MEAN, *LARGEST)  # which other weights do not have
CONSTANT = (Kind.ARGMAX, Kind.COUNT, Kind.PULLED)  # which have no gradient


@dataclass(frozen=True, slots=True)
class Part:
    """One sum, or one result."""

    kind: Kind
    value: Expr = ONE

    @property
    def term(self) -> Term:
        """What is summed up of a pair."""
        known = {Kind.ENTROPY: LOG_P, Kind.MEAN: LOG_P, Kind.COLLISION: P, Kind.PULLED: PULL}
        return Term(known.get(self.kind, self.value), counted=self.kind is Kind.COUNT)

    def pull(self, gradient: str) -> Expr:
        """What takes the place of dO . v in a backward, for a tensor of incoming gradients."""
        of_row = per("bhq", gradient)
        match self.kind:
            case Kind.ROW:
                return real.mul(of_row, self.value)
            case Kind.ENTROPY:
                return real.neg(real.mul(of_row, LOG_P))
            case Kind.MEAN:
                return real.mul(of_row, LOG_P)
            case Kind.COLLISION:
                return real.mul(real.mul(of_row, real.real(2.0)), P)
            case Kind.LARGEST:
                return real.mul(of_row, IS_FIRST)
            case Kind.COLUMN:
                return real.mul(per("bhk", gradient), self.value)
        raise AssertionError(f"{self.kind} has no gradient")


@dataclass(frozen=True, slots=True)
class Asked(Declared):
    """Parts, of a pattern. Its text travels beside the plan's."""

    pattern: Pattern
    parts: tuple[Part, ...]

    @property
    def spaces(self) -> Spaces:
        return self.pattern.spaces

    @property
    def heads(self) -> int | None:
        return self.pattern.heads

    @property
    def conditions(self) -> tuple[Expr, ...]:
        return self.pattern.conditions

    @property
    def roots(self) -> tuple[Expr, ...]:
        return (*self.pattern.roots, *(p.value for p in self.parts if p.value is not ONE))

    @property
    def rows(self) -> tuple[Term, ...]:
        """What is summed up of rows, each term once; their total comes first where there is anything of rows."""
        kinds = {p.kind for p in self.parts}
        own = [p.term for p in self.parts if p.kind in OF_ROWS]
        return tuple(dict.fromkeys([Term(ONE), *own])) if own or kinds & {*LARGEST} else ()

    @property
    def columns(self) -> tuple[Term, ...]:
        """What is summed up of columns, each term once."""
        return tuple(dict.fromkeys(p.term for p in self.parts if p.kind in OF_COLUMNS))

    @property
    def largest(self) -> bool:
        """Whether the largest probability of each row is searched for."""
        return any(p.kind in LARGEST for p in self.parts)

    def pulled(self, gradients: Sequence[str]) -> Expr:
        """The pull of all parts, for the names of their incoming gradients; an empty name: there is none."""
        pulls = [p.pull(name) for p, name in zip(self.parts, gradients, strict=True) if name]
        return reduce(real.add, pulls)

    def text(self) -> str:
        """The parts, a line each: their kind, and their value as the score of a pattern. `read_asked` reads it back."""
        return "\n".join(f"{p.kind.value}: {Pattern(Mask(TRUE), p.value)}" for p in self.parts)


@lru_cache(maxsize=512)
def read_asked(text: str, pattern: Pattern) -> Asked:
    """The parts that a text says, of a pattern."""
    return Asked(pattern, tuple(map(_read_part, text.splitlines())))


def _read_part(line: str) -> Part:
    kind, said = line.split(": ", 1)
    value = parse(said)
    assert isinstance(value, Pattern), line
    return Part(Kind(kind), value.score)
