"""The candidates of the layout pass: ways to lay out both sides of a predicate, as launches of tile programs.

They are runs of tokens; residue classes, where equalities tell keys apart by one; the regions of a space one by one, in
boxes; and the order of a label. All rows of a launch have one layout. Disjuncts of the predicate that ask for a class
of columns are visited in that class, by a program of their own, and a pair that several disjuncts allow belongs to the
first of them. So a pattern that needs two layouts is several programs, which share one softmax.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

from attnir import expr as ex
from attnir.axes import SEQUENCES, Layout, sequence
from attnir.blocks import sampled_visits
from attnir.call import Call
from attnir.classes import moduli_of, residue
from attnir.count import count_tiles
from attnir.cover import cover, in_layouts
from attnir.digits import carried
from attnir.disjuncts import disjuncts
from attnir.draft import Draft, dead, finished
from attnir.expr import FALSE, TRUE, Expr
from attnir.labels import label_of, over_places, ranges_of
from attnir.layouts import Classes, Shape, lay_out, shapes
from attnir.nominal import nominal
from attnir.normalise import normalise
from attnir.ops import Side
from attnir.program import Launches, Programs, TileProgram
from attnir.space import Spaces
from attnir.traverse import fields_of, selections_of, substitute, tensors_of

MOST_PROGRAMS = 6  # in one launch
MOST_MODULI = 4  # that are tried


def is_arithmetic(predicate: Expr) -> bool:
    """Whether a predicate reads no fact about tokens, samples or heads: what it visits is the same in every call."""
    return not fields_of(predicate) and not tensors_of(predicate) and not selections_of(predicate)


def unlisted(predicate: Expr, spaces: Spaces, tile: tuple[int, int]) -> Iterator[Launches]:
    """The launches, queries by keys, of every candidate other than runs of tokens."""
    candidates = Candidates(normalise(predicate), spaces, Side.QUERIES, tile, nominal(predicate, spaces))
    yield from (launches for _, launches in candidates.laid_out())


def visited_pairs(program: TileProgram, call: Call) -> int:
    """The pairs of the tiles that a program visits."""
    if program.listed:
        return round(sampled_visits(program, call)) * program.tile[0] * program.tile[1]
    tiles = count_tiles(program, call)
    return (tiles.full + tiles.partial) * program.tile[0] * program.tile[1]


@dataclass(frozen=True, slots=True)
class Candidates:
    """The candidates of one predicate. `spaces`: of the rows, of the columns."""

    predicate: Expr
    spaces: Spaces
    side: Side
    tile: tuple[int, int]
    call: Call

    def all(self) -> Iterator[tuple[str, Launches]]:
        """(name, launches) of every candidate, runs of tokens first."""
        program = self.in_runs(self.predicate)
        yield "runs of tokens", ((program,),)
        if program.listed and is_arithmetic(self.predicate):
            swept = self.in_runs(self.predicate, lists=False)
            if not swept.listed:
                yield "runs of tokens without a list", ((swept,),)
        yield from self.laid_out()
        if program.listed:
            yield from self.in_order()

    def in_runs(self, predicate: Expr, *, lists: bool = True) -> TileProgram:
        """The program of a predicate in runs of tokens."""
        return cover(predicate, self.tile, transposed=self.side is Side.KEYS, lists=lists)

    def laid_out(self) -> Iterator[tuple[str, Launches]]:
        """The candidates in classes and in boxes."""
        (row,), columns = shapes(self.side, None), shapes(self.side.other, None)
        for modulus in moduli_of(self.predicate, SEQUENCES[self.side.other].token)[:MOST_MODULI]:
            for laid in (sequence(self.side, self.tile[0]), lay_out(row, self.tile[:1], Classes({"": modulus}))):
                programs = self.programs(laid, columns, {"": modulus}, f"tokens that are congruent modulo {modulus}")
                if programs and any(ex.is_int(p.columns.axes[-1].step, modulus) for p in programs):
                    tokens = "q and k" if laid.axes[1:] else self.side.other
                    yield f"classes of {tokens} modulo {modulus}", (programs,)
        yield from self.by_rows()
        if any(self.spaces):
            columns = shapes(self.side.other, self.spaces[1])
            launches = tuple(self.in_region(shape, columns) for shape in shapes(self.side, self.spaces[0]))
            if all(launches):
                yield "boxes", tuple(programs for programs in launches if programs)

    def in_order(self) -> Iterator[tuple[str, Launches]]:
        """The tokens in the order of a label, where the predicate wants theirs equal."""
        label = label_of(self.predicate)
        ranges = None if label is None else ranges_of(self.predicate, label, self.side)
        if label is None or ranges is None:
            return
        program = self.in_runs(ranges, lists=False)
        if not program.listed:
            reason = f"row tables: tokens stand in the order of {label}, those of one label together"
            program = replace(program, predicate=over_places(self.predicate), label=label, reason=reason)
            yield f"tokens in the order of {label}", ((program,),)

    def by_rows(self) -> Iterator[tuple[str, Launches]]:
        """The rows of one class in a launch of their own, where some disjuncts ask for it; the other rows in runs."""
        token, (row,) = SEQUENCES[self.side].token, shapes(self.side, None)
        columns = shapes(self.side.other, None)
        parts = disjuncts(self.predicate)
        for modulus in moduli_of(self.predicate, token)[:MOST_MODULI]:
            asked = [residue(part, token, modulus, frozenset()) for part in parts]
            found = {r for r in asked if r is not None}
            if len(found) != 1 or None not in asked:
                continue
            (wanted,) = found
            own = lay_out(row, self.tile[:1], Classes({"": modulus}, {"": wanted}))
            first = self.programs(own, columns, {}, f"{token} congruent to {wanted} modulo {modulus}")
            rest = reduce(ex.or_, (reduce(ex.and_, p, TRUE) for p, r in zip(parts, asked, strict=True) if r is None))
            others = replace(self, predicate=rest).of_runs()
            if first is not None and others is not None:
                left = replace(others[0].rows, among=ex.ne(token % modulus, wanted))
                launches = (first, tuple(replace(p, rows=left) for p in others))
                yield f"a class of {token} modulo {modulus} by itself", launches

    def of_runs(self) -> Programs | None:
        """The programs of rows in runs that visit least, columns in runs or some of them in a class."""
        columns, token = shapes(self.side.other, None), SEQUENCES[self.side.other].token
        found: list[Programs] = [(self.in_runs(self.predicate),)]
        for modulus in moduli_of(self.predicate, token)[:MOST_MODULI]:
            laid = sequence(self.side, self.tile[0])
            programs = self.programs(laid, columns, {"": modulus}, f"tokens that are congruent modulo {modulus}")
            found += [programs] if programs else []
        unlisted = [programs for programs in found if not any(p.listed for p in programs)]
        return min(unlisted, key=lambda ps: sum(visited_pairs(p, self.call) for p in ps), default=None)

    def in_region(self, rows: Shape, columns: Sequence[Shape]) -> Programs | None:
        """The programs of the rows of one region, in boxes, and in classes along lines where the predicate has some."""
        moduli = self.moduli(rows, columns)
        laid = lay_out(rows, (2,) * len(rows.lines), Classes(moduli))
        return self.programs(laid, columns, moduli, "boxes of tokens, a range of them along each axis")

    def moduli(self, rows: Shape, columns: Sequence[Shape]) -> dict[str, int]:
        """The moduli of the lines along which rows and columns are told apart by classes."""
        free = lay_out(rows, (2,) * len(rows.lines), Classes())
        found: dict[str, int] = {}
        for shape in columns:
            moved = in_layouts(self.predicate, free, lay_out(shape, (2,) * len(shape.lines), Classes()))
            for line in shape.lines:
                modulus = next(iter(moduli_of(moved, shape.coordinate(line))), None)
                if modulus and any(line.name == other.name for other in rows.lines):
                    found[line.name] = modulus
        return found

    def programs(
        self, rows: Layout, columns: Sequence[Shape], moduli: Mapping[str, int], reason: str
    ) -> Programs | None:
        """The programs of one launch in their best boxes; None if that cannot be done, or takes too many."""
        found: list[Draft | TileProgram] = []
        for shape in columns:
            part = self.drafts(rows, shape, moduli, reason)
            if part is None:
                return None
            found += part
        if len(found) > MOST_PROGRAMS:
            return None
        if not found:
            found = [dead(rows, lay_out(columns[0], self.tile[1:] * len(columns[0].lines), Classes()), self.tile)]
        return finished(found, rows, self.tile, self.call)

    def drafts(
        self, rows: Layout, shape: Shape, moduli: Mapping[str, int], reason: str
    ) -> list[Draft | TileProgram] | None:
        """What visits the columns of one shape: disjuncts that ask for the same classes together."""
        free = lay_out(shape, (2,) * len(shape.lines), Classes())
        scalars = frozenset(a.token for a in rows.axes if a.token is a.first) | {ex.B, ex.H}
        groups: dict[tuple[tuple[str, Expr], ...], Expr] = {(): FALSE}  # what asks for no class comes first
        for conjunction in disjuncts(in_layouts(self.predicate, rows, free)):
            asked = []
            for line in shape.lines:
                if line.name in moduli:
                    found = residue(conjunction, shape.coordinate(line), moduli[line.name], scalars)
                    asked += [(line.name, found)] if found is not None else []
            key = tuple(asked)
            groups[key] = groups.get(key, FALSE) | reduce(ex.and_, conjunction, TRUE)
        drafts: list[Draft | TileProgram] = []
        covered = FALSE
        for key, allowed in groups.items():
            mine = normalise(allowed & ~covered)
            covered = covered | allowed
            if mine is FALSE:
                continue
            if not key and rows.is_sequence and shape.is_whole:
                token = SEQUENCES[self.side.other].token
                program = self.in_runs(substitute(mine, {shape.coordinate(shape.lines[0]): token}))
                if program.listed:
                    return None
                drafts.append(program)
                continue
            part = self.in_classes(mine, rows, shape, Classes({n: moduli[n] for n, _ in key}, dict(key)), reason)
            if part is None:
                return None
            drafts += part
        return drafts

    def in_classes(
        self, mine: Expr, rows: Layout, shape: Shape, classes: Classes, reason: str
    ) -> list[Draft | TileProgram] | None:
        """The boxes of a predicate over the columns of given classes."""
        columns = lay_out(shape, (2,) * len(shape.lines), classes)
        slots = {
            shape.coordinate(line): classes.of(line, a.token) for line, a in zip(shape.lines, columns.axes, strict=True)
        }
        return Draft.all_of(normalise(carried(substitute(mine, slots))), rows, columns, reason)
