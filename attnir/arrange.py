"""The layout pass: which of the candidates is taken, by what they visit in a nominal call; weights over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from attnir.candidates import Candidates, is_arithmetic, visited_pairs
from attnir.cover import positions, renamed
from attnir.expr import Expr
from attnir.labels import over_places
from attnir.nominal import nominal
from attnir.normalise import normalise
from attnir.ops import Side
from attnir.program import Launches, TileProgram
from attnir.real import SCORE, at
from attnir.space import Spaces
from attnir.terms import Term
from attnir.traverse import names_of
from attnir.weighing import SOFTMAX, Weights

WORTH_A_LIST = 1.5  # how much less a block list has to visit


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way to lay out both sides, and how many pairs it visits in the nominal call."""

    name: str
    launches: Launches
    visited: int

    @property
    def listed(self) -> bool:
        """Whether it needs block lists."""
        return any(p.listed for programs in self.launches for p in programs)

    @property
    def ordered(self) -> bool:
        """Whether the tokens stand in the order of a label."""
        return any(p.label is not None for programs in self.launches for p in programs)


@dataclass(frozen=True, slots=True)
class Arrangement:
    """The candidate that visits least, and those that it was compared with."""

    taken: Candidate
    others: tuple[Candidate, ...] = ()


@lru_cache(maxsize=512)
def arrange(
    predicate: Expr,
    spaces: Spaces,
    tile: tuple[int, int],
    transposed: bool,
    score: Expr = SCORE,
    weights: Weights = SOFTMAX,
) -> Arrangement:
    """The launches that visit the live tiles of a predicate, with tiles of (row tokens, column tokens)."""
    predicate = normalise(predicate)
    weights = weights.without_sink if transposed else weights
    candidates, pairs = _candidates(predicate, spaces, tile, transposed)
    found = [
        replace(c, launches=_weighed(c.launches, score, weights))
        for c in candidates
        if weights.landmarks is None or _keeps_blocks(c.launches)
    ]
    best = _best(found, pairs, proved=is_arithmetic(predicate))
    return Arrangement(best, tuple(c for c in found if c is not best))


@lru_cache(maxsize=512)
def _candidates(
    predicate: Expr, spaces: Spaces, tile: tuple[int, int], transposed: bool
) -> tuple[tuple[Candidate, ...], int]:
    """The candidates, as the predicate alone has them, whatever is weighed; how many pairs the nominal call has."""
    rows = Side.KEYS if transposed else Side.QUERIES
    call = nominal(predicate, spaces)
    candidates = Candidates(predicate, spaces[::-1] if transposed else spaces, rows, tile, call)
    found = tuple(
        Candidate(name, launches, sum(visited_pairs(p, call) for programs in launches for p in programs))
        for name, launches in candidates.all()
    )
    return found, call.q_len * call.k_len * call.batch * call.heads


def _keeps_blocks(launches: Launches) -> bool:
    """Whether tiles are visited once, and their tokens are runs in their own order: so that a tile is a block."""
    return all(len(programs) == 1 and programs[0].of_runs and programs[0].label is None for programs in launches)


def _best(found: Sequence[Candidate], pairs: int, *, proved: bool) -> Candidate:
    """The candidate that visits least of so many pairs.

    proved: it visits as much in every call of that length. Then a block list has to earn its memory. Where values of
    fields decide, the list that leaves out little of the nominal ones may leave out much of real ones; an order of
    the tokens, for which there are no nominal values, leaves out all other labels.
    """
    if proved:
        return min(found, key=lambda c: c.visited * (WORTH_A_LIST if c.listed else 1))
    if ordered := [c for c in found if c.ordered]:
        return ordered[0]
    return min(found, key=lambda c: (c.visited, c.listed and c.visited < pairs // 2))


def _weighed(launches: Launches, score: Expr, weights: Weights) -> Launches:
    """The launches with a score and its weights, said over the coordinates of their layouts."""
    if score is SCORE and weights == SOFTMAX:
        return launches
    return tuple(tuple(_with_weights(p, score, weights) for p in programs) for programs in launches)


def _with_weights(p: TileProgram, score: Expr, weights: Weights) -> TileProgram:
    where = positions(p.rows, p.columns)

    def over_layouts(e: Expr) -> Expr:
        return at(e, where) if p.label is None else over_places(e)

    named = renamed(p, names_of(score, *weights.roots))
    return replace(named, score=over_layouts(score), weights=weights.map(over_layouts))


@lru_cache(maxsize=512)
def with_terms(launches: Launches, terms: tuple[Term, ...]) -> Launches:
    """The launches with what is to be summed up, said over the coordinates of their layouts."""
    return tuple(tuple(_with_terms(p, terms) for p in programs) for programs in launches)


def _with_terms(p: TileProgram, terms: tuple[Term, ...]) -> TileProgram:
    held = positions(p.rows, p.columns)
    moved = tuple(replace(t, value=at(t.value, held) if p.label is None else over_places(t.value)) for t in terms)
    return replace(renamed(p, names_of(*(t.value for t in terms))), terms=moved)
