"""Mutants of the tile programs: ranges, sweeps, boxes, layouts and lists that lose, repeat or mislabel tiles."""

from tests.mutants.mutant import Mutant


def _program(name: str, module: str, old: str, new: str, test: str = "") -> Mutant:
    return Mutant(name, "program", f"attnir.{module}", old, new, test)


RANGES = (
    _program(
        "the tile in which a band ends is lost",
        "ranges",
        "return simplify(behind + (self.width - 1)) // const(self.width)",
        "return behind // const(self.width)",
    ),
    _program(
        "FULL begins in the tile in which the band begins",
        "ranges",
        "self.end_tile(highest(lower, self.rows), ragged=False)",
        "self.first_tile(highest(lower, self.rows))",
    ),
    _program(
        "FULL ends behind the tile in which the band ends",
        "ranges",
        "self.first_tile(lowest(upper, self.rows), end=True)",
        "self.end_tile(lowest(upper, self.rows))",
    ),
    _program(
        "a band begins with its last row",
        "ranges",
        "begin, end = lowest(lower, self.rows), highest(upper, self.rows)",
        "begin, end = highest(lower, self.rows), highest(upper, self.rows)",
    ),
    _program(
        "tiles with a condition left are FULL", "ranges", "if band.residual:", "if band.residual and band.guards:"
    ),
    _program(
        "a range takes over one that ends later",
        "ranges",
        "at_most(a.start, b.start) and at_most(b.stop, a.stop)",
        "at_most(a.start, b.start)",
    ),
    _program(
        "a tail begins with its last row",
        "ranges",
        "ex.build(Op.ROWMIN, (where(inside, self.columns.stop, lower),))",
        "ex.build(Op.ROWMAX, (where(inside, self.columns.start, lower),))",
        "tests/attnir/test_cover.py::test_the_tail_of_a_range_that_jumps_begins_with_its_first_row",
    ),
    _program(
        "a difference falls where what is taken away falls",
        "rows",
        "_together(direction(e.args[0], row), _flipped(direction(e.args[1], row)))",
        "_together(direction(e.args[0], row), direction(e.args[1], row))",
    ),
    _program(
        "a negative factor keeps the direction",
        "rows",
        "return d if sign.low >= 0 else (_flipped(d) if sign.high <= 0 else None)",
        "return d",
        test="tests/attnir/test_rows.py::test_what_has_a_direction",
    ),
    _program(
        "every field is taken for a sorted one",
        "rows",
        "return 1 if e.value.sorted and e.args[0] is row",
        "return 1 if e.args[0] is row",
    ),
    _program(
        "a choice has a direction whichever way it goes",
        "rows",
        "(turns and not at_most(*((b, a) if turns * (own or 1) > 0 else (a, b))))",
        "False",
    ),
)
SWEEPS = (
    _program(
        "a band begins anew where the one before it has not ended",
        "sweeps",
        "start = cursor if at_most(start, cursor) else maximum(start, cursor)",
        "start = r.start",
    ),
    _program(
        "bands are put in the opposite order", "sweeps", "first = a.start <= b.start", "first = a.start >= b.start"
    ),
    _program(
        "what is done ends with the last band",
        "sweeps",
        'names.let(f"done{suffix}", maximum(cursor, end))',
        "end",
    ),
    _program(
        "an order that is not proved is claimed",
        "sweeps",
        "return order if all(pair in before for pair in pairwise(order)) else None",
        "return order",
    ),
    _program(
        "FULL tiles begin before the ones of the band before it end",
        "sweeps",
        "minimum(maximum(start, r.full_start), stop)",
        "minimum(r.full_start, stop)",
    ),
)
BOXES = (
    _program(
        "the last boxes along an axis are lost",
        "boxes",
        "(maximum(stop - start, 0) + (extent - 1)) // extent",
        "maximum(stop - start, 0) // extent",
    ),
    _program(
        "a box that ends inside its range is FULL",
        "boxes",
        "last = maximum(simplify(minimum(end, stop) - start), 0) // extent",
        "last = (maximum(simplify(minimum(end, stop) - start), 0) + (extent - 1)) // extent",
    ),
    _program(
        "the corners of a box are lost",
        "boxes",
        "upto, behind = stops[:i], tuple(counts[i + 1 :])",
        "upto, behind = stops[:i], stops[i + 1 :]",
    ),
    _program(
        "what other axes add is taken at its most",
        "boxes",
        "constant += c * (found.low if c > 0 else found.high)",
        "constant += c * (min(found.high, 4) if c > 0 else found.low)",
    ),
    _program(
        "pairs that two boxes have are counted twice",
        "draft",
        "residual=(*box[0].residual, *map(ex.not_, shared))",
        "residual=box[0].residual",
    ),
    _program(
        "pairs that two classes have are counted twice",
        "candidates",
        "mine = normalise(allowed & ~covered)",
        "mine = normalise(allowed)",
    ),
    _program(
        "rows of a class belong to the other launch as well",
        "candidates",
        "among=ex.ne(token % modulus, wanted)",
        "among=TRUE",
    ),
    _program(
        "the last slot of a class is lost",
        "layouts",
        "carried((e - residue + (modulus - 1)) // const(modulus))",
        "carried((e - residue) // const(modulus))",
    ),
    _program(
        "a class along a line begins a few tokens early",
        "layouts",
        "origin = origin + residue * line.step",
        "origin = origin + residue",
    ),
)
ORDERS = (
    _program(
        "places are numbered from the first query",
        "labels",
        "token = order + call.start(side)",
        "token = order",
        test="tests/test_layout_kernels.py::test_float32[labels of other queries-torch]",
    ),
    _program(
        "a label that no key has is that of the next keys",
        "labels",
        "theirs * STEP - torch.where(known, 0, STEP // 2)",
        "theirs * STEP",
    ),
)
LISTS = (
    _program(
        "the ragged end of a list is FULL",
        "blocks",
        "return torch.where((width < self.program.tile[1]) & (status == 2), torch.ones_like(status), status)",
        "return status",
    ),
    _program(
        "every sample has the lists of the first",
        "blocks",
        'call.batch if "b" in names or call.fields_differ else 1',
        'call.batch if "b" in names else 1',
    ),
    _program("the offsets of a list are one row off", "blocks", "offsets[1:] = ends", "offsets[:-1] = ends"),
    _program(
        "a field's greatest value in a tile is its least",
        "blocks",
        "Interval(cut.amin(-1), cut.amax(-1))",
        "Interval(cut.amin(-1), cut.amin(-1))",
    ),
    _program(
        "one live pair makes a tile FULL",
        "blocks",
        "live.flatten(1).any(1), live.flatten(1).all(1)",
        "live.flatten(1).any(1), live.flatten(1).any(1)",
    ),
)
SELECTIONS = (
    _program("the last place of a member counts", "selections", "range(places, 0, -1)", "range(1, places + 1)"),
    _program("-1 is a member", "selections", " & (member >= 0)", ""),
    _program(
        "a tile that is listed twice is visited twice", "blocks", "(code < none) & (code != ", "(code < none) | (-1 == "
    ),
    _program(
        "a tile has the list of its first row",
        "listing",
        "most_lists = int((at.high - at.low).amax()) + 1",
        "most_lists = 1",
    ),
    _program(
        "a member has one tile",
        "listing",
        "(ends - torch.arange(others, device=ends.device)).amax()",
        "(ends > 0).amax()",
    ),
    _program("a listing holds where its rank may be 0", "listing", "not _can_be_zero(predicate, n)", "n is not None"),
)
MUTANTS = (*RANGES, *SWEEPS, *BOXES, *ORDERS, *LISTS, *SELECTIONS)
