"""Programs over boxes and classes, broken on purpose: the walk of their pairs catches each, and says how.

lost, dead, twice, range   as in `tests.layouts.findings`
waste                      the walk visits pairs that the right program leaves alone
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

import attnir as an
from attnir.arrange import arrange
from attnir.axes import Axis, Layout
from attnir.expr import TRUE, Expr, const
from attnir.ops import Op
from attnir.program import Launches, Status, Sweep, TileProgram
from attnir.traverse import rebuild
from attnir.walk import pair_map
from tests.layouts import Laid, every, findings

Change = Callable[[TileProgram], TileProgram]

TILES = an.neighborhood(an.grid(y=8, x=12), (4, 8), stride=(2, 4))
PATTERNS = {
    "windows": (Laid(TILES, 96), "boxes"),
    "after text": (Laid(an.neighborhood(an.concat(text=5, image=an.grid(y=9, x=9)), 5), 86), "boxes"),
    "dilated": (Laid(an.window(20, 0) & every(4), 41), "classes of q and k modulo 4"),
    "dilated by axis": (Laid(an.neighborhood(an.grid(y=7, x=9), (3, 3), dilation=(2, 3)), 63), "boxes"),
    "window or every 8th": (
        Laid(an.causal() & (an.window(9, 0) | an.mask(lambda q, k: k % 8 == 0)), 50),
        "classes of k modulo 8",
    ),
}


def launches_of(pattern: str, transposed: bool = False) -> Launches:
    case, name = PATTERNS[pattern]
    found = arrange(case.pattern.predicate, case.pattern.spaces, (4, 4), transposed)
    return next(c.launches for c in (found.taken, *found.others) if c.name == name)


def let(name: str, change: Callable[[Expr], Expr]) -> Change:
    """Another value for one scalar."""

    def changed(program: TileProgram) -> TileProgram:
        assert name in dict(program.lets), program
        return replace(program, lets=tuple((n, change(v) if n == name else v) for n, v in program.lets))

    return changed


def moved(name: str, by: int) -> Change:
    return let(name, lambda v: v + by)


def sweeps(change: Callable[[tuple[Sweep, ...]], tuple[Sweep, ...]]) -> Change:
    def changed(program: TileProgram) -> TileProgram:
        return replace(program, visits=change(tuple(v for v in program.visits if isinstance(v, Sweep))))

    return changed


def dropped(index: int) -> Change:
    return sweeps(lambda found: found[:index] + found[index + 1 :])


def repeated(index: int) -> Change:
    return sweeps(lambda found: (*found, found[index]))


def with_status(status: Status) -> Change:
    return sweeps(lambda found: tuple(replace(v, status=status) for v in found))


OTHER = {Status.FULL: Status.PARTIAL, Status.PARTIAL: Status.FULL}
swapped = sweeps(lambda found: tuple(replace(v, status=OTHER[v.status]) for v in found))


def columns(change: Callable[[Layout], Layout]) -> Change:
    return lambda program: replace(program, columns=change(program.columns))


def axis(index: int, change: Callable[[Axis], Axis]) -> Change:
    def changed(layout: Layout) -> Layout:
        axes = tuple(change(a) if i == index else a for i, a in enumerate(layout.axes))
        return replace(layout, axes=axes)

    return columns(changed)


def step(index: int, by: int) -> Change:
    return axis(index, lambda a: replace(a, step=a.step + by))


def origin(change: Callable[[Expr], Expr]) -> Change:
    return columns(lambda layout: replace(layout, origin=change(layout.origin)))


def other_residue(modulus: int) -> Change:
    """The next residue class of the columns."""
    return origin(lambda e: rebuild(e, lambda n: (n + 1) % modulus if n.op is Op.SYM else None))


def predicate(change: Callable[[Expr], Expr]) -> Change:
    return lambda program: replace(program, predicate=change(program.predicate))


def wider(index: int, extent: int) -> Change:
    """Boxes of another extent along an axis, walked as before."""
    return columns(lambda x: replace(x, box=tuple(extent if i == index else n for i, n in enumerate(x.box))))


@dataclass(frozen=True)
class Mutant:
    pattern: str
    change: Change
    caught_by: str  # one of what is found
    program: int = 0
    launch: int = -1
    transposed: bool = False


WINDOW_OR = "window or every 8th"
MUTANTS: dict[str, Mutant] = {
    # sweeps of windows: 0 the full tiles inside, 1 before them and 2 behind them along y, 3 and 4 along x
    "the box starts late along y": Mutant("windows", moved("y_start", 1), "lost"),
    "the box starts early along y": Mutant("windows", moved("y_start", -1), "waste"),
    "the box stops early along y": Mutant("windows", moved("y_stop", -1), "lost"),
    "the box stops late along y": Mutant("windows", moved("y_stop", 1), "range"),
    "the box starts late along x": Mutant("windows", moved("x_start", 1), "lost"),
    "the box starts early along x": Mutant("windows", moved("x_start", -1), "waste"),
    "the box stops early along x": Mutant("windows", moved("x_stop", -1), "lost"),
    "a tile too few along y": Mutant("after text", moved("y_tiles", -1), "lost"),
    "the full tiles start early": Mutant("windows", moved("x_full_start", -1), "range"),
    "the full tiles stop late along x": Mutant("windows", moved("x_full_stop", 1), "range"),
    "the full tiles dropped": Mutant("windows", dropped(0), "lost"),
    "the slab before along y dropped": Mutant("after text", dropped(1), "lost"),
    "the slab behind along y dropped": Mutant("after text", dropped(2), "lost"),
    "the slab before along x dropped": Mutant("after text", dropped(3), "lost"),
    "the slab behind along x dropped": Mutant("after text", dropped(4), "lost"),
    "the full tiles twice": Mutant("windows", repeated(0), "twice"),
    "a slab twice": Mutant("after text", repeated(2), "twice"),
    "full and partial swapped": Mutant("after text", swapped, "dead"),
    "every tile full": Mutant("after text", with_status(Status.FULL), "dead"),
    "the predicate lost": Mutant("after text", predicate(lambda _: TRUE), "dead"),
    "a wrong step along y": Mutant("windows", step(0, 1), "range"),
    "a wrong step along x": Mutant("windows", step(1, 1), "range"),
    "the text before the image forgotten": Mutant("after text", origin(lambda _: const(0)), "lost"),
    "the origin one late": Mutant("after text", origin(lambda e: e + 1), "range"),
    "another extent along x": Mutant("windows", wider(1, 2), "lost"),
    "dilated: the next class": Mutant("dilated", other_residue(4), "range"),
    "dilated: class 0 for all": Mutant("dilated", origin(lambda _: const(0)), "dead"),
    "dilated: a step of 3": Mutant("dilated", step(0, -1), "lost"),
    "dilated: the range starts late": Mutant("dilated", moved("slot_start", 1), "lost"),
    "dilated: the range stops early": Mutant("dilated", moved("slot_stop", -1), "lost"),
    "dilated: the full tiles stop late": Mutant("dilated", moved("slot_full_stop", 1), "dead"),
    "dilated by axis: the next class": Mutant("dilated by axis", other_residue(2), "range"),
    "the second program without its exclusion": Mutant(WINDOW_OR, predicate(lambda e: e.args[0]), "twice", program=1),
    "the second program full throughout": Mutant(WINDOW_OR, with_status(Status.FULL), "twice", program=1),
    "the second program's class moved": Mutant(WINDOW_OR, origin(lambda e: e + 1), "dead", program=1),
    "the second program lost": Mutant(WINDOW_OR, sweeps(lambda _: ()), "lost", program=1),
    "the first program lost": Mutant(WINDOW_OR, sweeps(lambda _: ()), "lost", program=0),
    "transposed: the box starts late along y": Mutant("windows", moved("y_start", 1), "lost", transposed=True),
    "transposed: the box stops early along x": Mutant("after text", moved("x_stop", -1), "lost", transposed=True),
    "transposed: full and partial swapped": Mutant("dilated", swapped, "dead", transposed=True),
    "transposed: the next class": Mutant("dilated", other_residue(4), "range", transposed=True),
    "transposed: a slab twice": Mutant("after text", repeated(2), "twice", transposed=True),
    "transposed: a wrong step": Mutant("after text", step(0, -1), "lost", transposed=True),
    "transposed: the text forgotten": Mutant("after text", origin(lambda _: const(0)), "lost", transposed=True),
}


def changed(mutant: Mutant) -> tuple[Launches, Launches]:
    """The right launches, and those with one program broken."""
    right = launches_of(mutant.pattern, mutant.transposed)
    programs = list(right[mutant.launch])
    programs[mutant.program] = mutant.change(programs[mutant.program])
    broken = list(right)
    broken[mutant.launch] = tuple(programs)
    return right, tuple(broken)


def wasted(right: Launches, broken: Launches, case: Laid) -> set[str]:
    """Whether the broken launches visit pairs that the right ones do not, within the call."""
    found = []
    for launches in (right, broken):
        pairs = pair_map([p for launch in launches for p in launch], case.call, strict=False)
        found.append(pairs.full + pairs.partial)
    return {"waste"} if bool(((found[1] > 0) & (found[0] == 0)).any()) else set()


def caught(mutant: Mutant) -> set[str]:
    case, _ = PATTERNS[mutant.pattern]
    right, broken = changed(mutant)
    assert broken != right
    try:
        return findings(broken, case) | wasted(right, broken, case)
    except IndexError:  # a pair outside of the call
        return {"range"}


@pytest.mark.parametrize(("pattern", "transposed"), sorted({(m.pattern, m.transposed) for m in MUTANTS.values()}))
def test_the_programs_are_right_before_they_are_broken(pattern: str, transposed: bool) -> None:
    assert findings(launches_of(pattern, transposed), PATTERNS[pattern][0]) == set()


@pytest.mark.parametrize("name", MUTANTS)
def test_every_mutant_is_caught(name: str) -> None:
    mutant = MUTANTS[name]
    assert mutant.caught_by in caught(mutant)
