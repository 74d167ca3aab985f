"""The properties that every pattern has, on every executor: what is proved of a case. Each raises AssertionError.

Those of the language and the analysis come first: they need no kernel and no tolerance. `probes.py` and `laws.py` hold
those of kernels; the numbers come last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import reduce

import torch

from attnir.arrange import Arrangement
from attnir.codegen.lists import depends_on_values
from attnir.codegen.plan import Plan, read_plan
from attnir.codegen.torch.budget import Budget, default_tile, limited
from attnir.count import count_launches
from attnir.disjuncts import disjuncts
from attnir.evaluate import dense_mask
from attnir.expr import FALSE, TRUE, and_, not_, or_
from attnir.live import live_pairs_of
from attnir.normalise import normalise
from attnir.program import TileProgram
from attnir.program_text import read_program
from attnir.real import SCORE, derivative
from attnir.scores import parse, pattern
from attnir.testing.case import Case, DoesNotApply
from attnir.testing.executor import Executor, unwritten_is_nan
from attnir.testing.graphs import graphs
from attnir.testing.judge import CHANCE, judge
from attnir.testing.laws import merges, permutes, recalls, shifts, slices
from attnir.testing.meaning import meaning, some_pairs
from attnir.testing.probes import counts_keys, gives_ones, spoilt
from attnir.testing.routes import routed
from attnir.testing.statistics import judge_statistics, measured
from attnir.testing.walks import MEANINGS, findings, visited

FEW_PAIRS = 1500  # that plain Python looks at, one by one
DRAWN_PAIRS = 500  # of more than these
SOME_PAIRS = 4000  # for which more tiles, and laws of several calls, are tried
MORE_PAIRS = 40_000  # for which statistics are
SMALLEST = (16, 16)  # tile that a Triton kernel has
SMALL_TILES = ((4, 4), (2, 8))  # by turns

TIGHT = tuple(Budget(heads=2, rows=128, wide=32, pairs=1 << 12, alone=n, tile=16) for n in (0, 1 << 60))

CALM = 2.0  # scores of normal inputs, in deviations, up to which many keys share a row's weight
LAWS = 5
MEASURED = ("row-entropy", "row-max-prob", "mean-distance", "received-mass")

Check = Callable[[Case, Executor], object]


@dataclass(frozen=True, slots=True)
class Property:
    """A property: `check` raises AssertionError where a case does not have it. `level` says what it is about.

    level    "language", "analysis" or "kernel"; those of kernels are checked on every executor
    largest  the most pairs of a case that it is checked on, unless `always` says that it is
    turn     laws take turns: it is checked on every LAWS-th case, by the case's seed
    always   says of which cases it is checked in any case
    """

    name: str
    level: str
    says: str
    check: Check
    largest: int = 1 << 30
    turn: int | None = None
    always: Callable[[Case], bool] = lambda _: False

    def applies(self, case: Case) -> bool:
        own = self.turn in (None, case.seed % LAWS) and case.pairs <= self.largest
        return own or self.always(case)

    def holds(self, case: Case, on: Executor) -> object:
        """Check it where memory that nothing was written to holds NaN: by chance it may hold what belongs there."""
        with unwritten_is_nan(on.device):
            return self.check(case, on)


def text(case: Case, _: Executor) -> None:
    """What a pattern, a plan and its programs print is read back as the same."""
    declared = pattern(case.pattern)
    assert pattern(parse(str(declared))) == declared, f"reads back as {parse(str(declared))}"
    plan = Plan(declared, heads=case.maps)
    assert read_plan(plan.text()) == plan, "a plan reads back as another one"
    for _way, found in _arrangements(case, lambda transposed: [SMALLEST]):
        for programs in found.taken.launches:
            for p in programs:
                assert read_program(str(p)) == p, f"a program reads back as another one:\n{p}"


def means(case: Case, _: Executor) -> None:
    """The dense mask, score, weight and factor are what plain Python says, pair by pair; negation is the complement."""
    call, predicate, live = case.call, case.pattern.predicate, case.live
    places, each = some_pairs(call, FEW_PAIRS if case.pairs <= FEW_PAIRS else DRAWN_PAIRS, case.seed)
    alive = live.flatten()[places]
    assert alive.tolist() == [bool(meaning(predicate, tokens, call)) for tokens in each], "plain Python: another mask"
    assert torch.equal(live, dense_mask(normalise(predicate), call).expand_as(live)), "normalised: another mask"
    negated = reduce(or_, (reduce(and_, term, TRUE) for term in disjuncts(not_(predicate))), FALSE)
    assert torch.equal(~live, dense_mask(negated, call).expand_as(live)), "negated, as a union: not its complement"
    s = torch.linspace(-3, 3, case.pairs, dtype=torch.float64).view(live.shape)
    given = s.flatten()[places].tolist()
    for e in {case.score, case.weights.of(case.score), *case.weights.roots} - {case.weights.value}:
        expected = [float(meaning(e, {**tokens, "s": x}, call)) for tokens, x in zip(each, given, strict=True)]
        found = case.of_pairs(e, s).expand(s.shape).flatten()[places]
        meant = torch.tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(found[alive], meant[alive], rtol=1e-6, atol=1e-6)


def slopes(case: Case, _: Executor) -> None:
    """The derivative of the score, and of the weight where it is no softmax's, is torch's own."""
    s = torch.linspace(-3, 3, case.pairs, dtype=torch.float64).view(case.live.shape).requires_grad_()
    for e in {case.score, case.weights.of(case.score)}:
        changed = case.of_pairs(e, s) + 0.0 * s
        (expected,) = torch.autograd.grad(changed.sum(), s)
        found = case.of_pairs(derivative(e, SCORE), s.detach()).expand(s.shape)
        expected = torch.where(case.live, expected, found)  # of others nothing is said where it may be infinite
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def walks(case: Case, on: Executor) -> None:
    """Every layout, both ways, visits every live pair once, counts no dead one, and says FULL of live tiles only."""
    for way, found in _arrangements(case, lambda transposed: _tiles(case, on, transposed)):
        for candidate in (found.taken, *found.others):
            if wrong := findings(candidate.launches, case.live, case.call):
                said = "; ".join(MEANINGS[w] for w in sorted(wrong))
                programs = "\n".join(str(p) for launch in candidate.launches for p in launch)
                raise AssertionError(f"{way}, {candidate.name}: {said}\n{programs}")


def counts(case: Case, _: Executor) -> None:
    """The numbers of live pairs and of visited tiles are exact."""
    call, plan = case.call, Plan(pattern(case.pattern)).on(case.call)
    live = int(case.live.sum())
    found = live_pairs_of(plan.predicate, plan.pattern.spaces, call)
    assert found == live, f"{found} live pairs are counted, there are {live}"
    launches = plan.arrangement(case.tile or SMALLEST).taken.launches
    tiles, visits = count_launches(launches, call), visited(launches, call)
    assert (tiles.full, tiles.partial) == visits, f"{tiles} are counted, (full, partial) = {visits} are visited"


def numbers(case: Case, on: Executor) -> dict[str, float]:
    """o, lse and every gradient are as near to float64 as a same-dtype eager result is, row by row.

    Keys and values that no visited tile holds are NaN, and so is what lies around tensors: none of it leaks.
    """
    calm = case.kind == "normal" and abs(case.factor) * case.d**0.5 <= CALM
    return judge(spoilt(case, on), case, roundings=1 if calm else CHANCE, stored=True)


def steps(case: Case, on: Executor) -> dict[str, float]:
    """Numbers again, where the torch target's tiles are small, its products cut, and no members go together, or all."""
    if on.backend != "torch":
        raise DoesNotApply("kernels have no steps")
    found: dict[str, float] = {}
    for budget in TIGHT:
        with limited(budget):
            again = numbers(case, on)
        found = {name: max(error, found.get(name, 0.0)) for name, error in again.items()}
    return found


def statistics(case: Case, on: Executor) -> dict[str, float]:
    """Statistics of rows and of columns, and their gradients, are as near to float64 as an eager implementation's."""
    if case.weights.landmarks is not None:
        raise DoesNotApply("statistics are of weights in one level")
    has = measured(case)
    return judge_statistics(case, on, [name for name in MEASURED if name in has], roundings=CHANCE)


def keeps_lists(case: Case) -> bool:
    """Whether a case's block lists serve other calls as well: no field, tensor or selection says what is live."""
    return not depends_on_values(case.call) and any(p.listed for p in _programs(case))


def in_orders(case: Case) -> bool:
    """Whether a case's tokens are visited in the order of a label that each sample has its own of."""
    return case.batch > 1 and any(p.label is not None for p in _programs(case))


def _programs(case: Case) -> Iterator[TileProgram]:
    for programs in Plan(pattern(case.pattern)).on(case.call).launches(SMALLEST):
        yield from programs


def _tiles(case: Case, on: Executor, transposed: bool) -> Iterable[tuple[int, int]]:
    """The tiles, rows by columns, that executors take for a case, and for few pairs smaller ones than they could."""
    given = case.tile or SMALLEST
    of_torch = default_tile(pattern(case.pattern))
    own = on.tile(case, "dkv" if transposed else "forward"), given[::-1] if transposed else given, of_torch
    return dict.fromkeys((*own, SMALL_TILES[case.seed % 2]) if case.pairs <= SOME_PAIRS else own)


def _arrangements(case: Case, tiles: Callable[[bool], Iterable[tuple[int, int]]]) -> Iterator[tuple[str, Arrangement]]:
    """Both ways, and for each of their tiles, how a case's tokens are laid out."""
    plan = Plan(pattern(case.pattern)).on(case.call)
    for transposed, way in ((False, "forward"), (True, "transposed")):
        for tile in tiles(transposed):
            yield f"{way}, tiles of {tile[0]} x {tile[1]}", plan.arrangement(tile, transposed=transposed)


PROPERTIES: dict[str, Property] = {
    p.name: p
    for p in (
        Property("text", "language", "printed text reads back as the same pattern and programs", text),
        Property("means", "language", "the dense meaning is what plain Python says, pair by pair", means),
        Property("slopes", "language", "the derivative of a score is torch's", slopes),
        Property("walks", "analysis", "every live pair is visited exactly once, in every layout, both ways", walks),
        Property("counts", "analysis", "live pairs and visited tiles are counted exactly", counts),
        Property("keys", "kernel", "with q = 0 lse, o and dV give exact integers", counts_keys),
        Property("ones", "kernel", "v = 1 gives 1 on live rows and 0 on dead ones", gives_ones),
        Property("slices", "kernel", "a sample and a head alone give their slice of the result", slices, SOME_PAIRS, 0),
        Property("shifts", "kernel", "positions that are all moved give the same", shifts, SOME_PAIRS, 1),
        Property("permutes", "kernel", "keys that are permuted with the mask give the same", permutes, SOME_PAIRS, 2),
        Property("merges", "kernel", "keys that are split in two merge by their lse", merges, SOME_PAIRS, 3),
        Property("history", "kernel", "other calls in between change nothing", recalls, SOME_PAIRS, 4, keeps_lists),
        Property(
            "steps", "kernel", "small steps, of one member or of all, give the same", steps, turn=1, always=in_orders
        ),
        Property("statistics", "kernel", "statistics are near dense float64, row by row", statistics, MORE_PAIRS, 2),
        Property("routed", "kernel", "a graph that chooses computes what its lists say", routed, SOME_PAIRS, 4),
        Property("graphs", "kernel", "a random graph computes its dense meaning", graphs, SOME_PAIRS, 3),
        Property("numbers", "kernel", "o, lse and gradients are near dense float64, row by row; no NaN leaks", numbers),
    )
}
