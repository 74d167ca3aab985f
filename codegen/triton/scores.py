"""What is computed of the tokens of a pair, as text: which of a partial tile are live, their scores and weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from attnir.codegen.tangents import MOST, error_of_tangents
from attnir.codegen.triton.distances import BASE, OFFSET, Distances
from attnir.codegen.triton.expressions import Printer, Shape, Text
from attnir.codegen.triton.frame import QUERY, Frame
from attnir.codegen.triton.landmarks import write_by_landmarks
from attnir.codegen.triton.operations import ATOM
from attnir.codegen.triton.tiles import column_coordinates, columns_inside, row_coordinates
from attnir.codegen.triton.units import LOG2E, PRODUCT, SCALE, times
from attnir.expr import FALSE, TRUE, Expr, H, K, Q
from attnir.interval import Interval
from attnir.labels import TOKEN
from attnir.ops import POSITION_LIMIT, Op, Side
from attnir.program import Status
from attnir.real import ONE, SCORE, derivative, is_unbounded, slope, tensors_read
from attnir.traverse import contains, nodes, rebuild

IN_TWOS = ("forward", "dq", "dkv")  # kernels whose softmax takes powers of two, where q is not float32
UNTURNED = ("forward", "rows", "columns")  # kernels that take no gradient through the scores
SUMMING = ("dq", "pulled_dq")  # those that sum up the gradients of real tensors
WORDS = {Shape.SCALAR: "scalar", Shape.ROW: "row", Shape.COLUMN: "column"}


class Values:
    """Expressions of a program's pairs. What is known of rows is computed before the loops, the rest in each tile."""

    def __init__(self, f: Frame, prefix: str = "") -> None:
        self.f, self.prefix = f, prefix
        self.before: list[tuple[str, str]] = []  # values of rows: (name, text)
        self.inside: list[tuple[str, str]] = []  # values of columns
        self.counts = Counter[Shape]()
        ranges = (
            dict.fromkeys((str(BASE.value), str(OFFSET.value)), Interval(-POSITION_LIMIT, POSITION_LIMIT)) | f.ranges
        )
        strays = not (f.program.rows.is_sequence and f.program.columns.is_sequence)
        weighed = (f.program.score, *f.program.weights.roots, *(t.value for t in f.program.terms))
        exact = f.spec.natural or error_of_tangents(*weighed, *map(slope, weighed)) > MOST
        self.printer = Printer(self._leaf, self._name, ranges, exact=exact, far=f.spec.far, strays=strays)
        self.of_runs = f.program.columns.is_sequence and f.program.rows.is_sequence and not f.ordered
        position = (Q if f.columns is QUERY else K) if self.of_runs else None
        self.distances = Distances(position, self.printer.shape, self.printer.range, rounds=not f.spec.natural)

    def _leaf(self, e: Expr) -> Text:
        if e is BASE:
            return Text("first_key", ATOM, Shape.SCALAR)
        if e is OFFSET and self.transposed:
            return Text("q_pos - first_key", 4, Shape.COLUMN)
        if e is OFFSET:
            return Text("keys_in_tile", ATOM, Shape.COLUMN)
        if e is PRODUCT:
            return Text("s", ATOM, Shape.TILE)
        if e is SCALE or e is LOG2E:
            return Text(str(e.value), ATOM, Shape.SCALAR)
        return self.f.leaf(e)

    def by_blocks(self, e: Expr) -> Expr:
        """The same with the block of a tile's first key, where all of its keys lie in it: `k // 128` in tiles of 64."""
        size = self.f.spec.config.block_k

        def of_first(n: Expr) -> Expr | None:
            whole = n.op is Op.FLOORDIV and n.args[0] is K and n.args[1].op is Op.CONST and n.args[1].const % size == 0
            return BASE // n.args[1] if whole else None

        return rebuild(e, of_first) if self.of_runs else e

    def of_score(self, e: Expr, factor: Expr = ONE) -> Text:
        """A score or its slope, times a factor, with the scores of a tile in `s` as products that are not scaled."""
        return self.printer.text(times(self.distances(e), factor, self.printer.shape))

    def _name(self, e: Expr, source: str, shape: Shape) -> str:
        """What depends on no column is known before the loops, unless the head is not."""
        late = (self.f.loops_over_heads and contains(e, H)) or any(self._moves(n) for n in nodes(e))
        name = f"{self.prefix}{WORDS[shape]}_{self.counts[shape]}"
        self.counts[shape] += 1
        (self.inside if late else self.before).append((name, source))
        return name

    def _moves(self, e: Expr) -> bool:
        """Whether a leaf differs from one column tile to the next."""
        if e is BASE or e is OFFSET:
            return self.transposed is (e is OFFSET)
        return not e.args and bool(self.printer.shape(e) & Shape.COLUMN)

    @property
    def transposed(self) -> bool:
        return self.f.program.transposed

    def write_before(self) -> None:
        """The values of rows."""
        for name, source in self.before:
            self.f.w.let(name, source)

    def write(self) -> None:
        """The values of columns."""
        for name, source in self.inside:
            self.f.w.let(name, source)


@dataclass(frozen=True, slots=True)
class Learned:
    """A place at which a tensor is read whose gradient is summed up, as text: the gradient of what reads it; the slope
    of that by the tensor, empty where that is 1; where its entry's sum lies; what must hold for there to be one, empty
    where nothing; the shape of both.
    """

    name: str
    gradient: str
    slope: str
    at: str
    mask: str
    shape: Shape


class Pairs:
    """The pairs of a program's tiles: the predicate of partial tiles, and the scores of all of them."""

    def __init__(self, f: Frame) -> None:
        self.f = f
        self.checked = Values(f)
        self.live = self._live()
        self.changed = Values(f, "score_")
        own, factor = f.program.weighed, f.program.weights.factor
        turned = slope(own)
        in_twos = f.program.weights.is_softmax and not f.spec.natural and f.kind in IN_TWOS
        plain = own is SCORE and f.program.weights.landmarks is None
        self.weighed = "" if plain else self._text(own, LOG2E if in_twos else ONE)  # the score, or else the weight
        self.slope = "" if turned is ONE or f.kind in UNTURNED else self._text(turned)
        self.factor = "" if factor is ONE else self._text(factor)
        self.unbounded, self.unbounded_factor = is_unbounded(own), is_unbounded(factor)
        self.learned = [
            self._learned(name, n, root, gradient)
            for root, gradient in ((own, "ds"), (factor, "p * dp"))
            for name, n in tensors_read(root)
            if f.kind in SUMMING and name in f.spec.learned
        ]
        for name in dict.fromkeys(one.name for one in self.learned):
            self.changed.before.append((f"unit_{name}_value", f"tl.load(unit_{name})"))

    def _learned(self, name: str, n: Expr, root: Expr, gradient: str) -> Learned:
        turned = derivative(root, n)
        text = "" if turned is ONE else self._text(turned)
        return Learned(name, gradient, text, *self.changed.printer.place(n, "sum"))

    def _live(self) -> str:
        columns = self.f.columns
        inside = f"{columns.one}_in[None, :]"
        predicate = self.f.program.predicate
        if predicate is TRUE:
            return inside
        if predicate is FALSE:
            return f"({columns.index} < 0)[None, :]"
        return f"{self.checked.printer.tile(self.checked.by_blocks(predicate)).within(2)} & {inside}"

    def _text(self, e: Expr, factor: Expr = ONE) -> str:
        """The text of a score or its slope, times a factor, one value per pair."""
        found = self.changed.of_score(e, factor)
        if found.shape is Shape.TILE:
            return found.source
        spread = {Shape.ROW: "[:, None]", Shape.COLUMN: "[None, :]"}.get(found.shape, "")
        return f"tl.zeros_like(s) + {found.within(ATOM if spread else 5)}{spread}"

    def write_before(self) -> None:
        """What the scores of all tiles, and what is summed up of them, need beforehand."""
        if self.f.program.reads_pairs:
            self._coordinates()
            self.changed.write_before()

    def write_before_partial(self) -> None:
        """What partial tiles check."""
        if not self.f.program.reads_pairs:
            self._coordinates()
        self.checked.write_before()

    def _coordinates(self) -> None:
        row_coordinates(self.f)
        column_coordinates(self.f)

    def write(self, status: Status) -> None:
        """The columns of a tile, where something is computed of them, and which pairs of a partial tile are live."""
        partial = status is Status.PARTIAL
        if partial or self.f.program.reads_pairs:
            columns_inside(self.f)
            self._columns()
        elif self.f.ordered:
            self.f.w.let(self.f.columns.index, f"first_{self.f.columns.one} + {self.f.columns.index}_in_tile")
            self._load_field(TOKEN.name)
        if self.f.ordered:
            self.f.w.let(self.f.indices(self.f.columns), self.f.token_index(self.f.columns))
        if self.f.program.reads_pairs:
            self.changed.write()
        if partial:
            self.checked.write()
            self.f.w.let("live", self.live)

    def _columns(self) -> None:
        """Positions and fields of the columns."""
        f, columns = self.f, self.f.columns
        if f.program.columns.is_sequence:
            position = f"q_start + {columns.index}" if columns.side is Side.QUERIES else columns.index
            f.w.let(columns.position, position)
        for name, side in f.reads.fields:
            if side is columns.side:
                self._load_field(name, f", mask={columns.one}_in, other=0")

    def _load_field(self, name: str, mask: str = "") -> None:
        """A field of the columns."""
        side, index = self.f.columns.side, self.f.columns.index
        self.f.w.let(f"f_{name}_{side}", f"tl.load(field_{name}_{side}_at + {index}{mask})")

    def weighing(self, status: Status) -> str:
        """The name of the condition on which a pair has a weight; empty where all of a tile have one."""
        if self.f.program.weights.landmarks is not None:
            return "weighs"
        return "live" if status is Status.PARTIAL else ""

    def write_score(self, status: Status) -> tuple[str, str]:
        """Change the scores of a tile, for softmax; (their name, what takes them to its unit).

        What is changed has that unit already; `s` stays the product of q and k.
        """
        w, spec = self.f.w, self.f.spec
        if not self.weighed:
            return "s", " * scale" if spec.natural else " * to_log2"
        w.let("score", self.weighed)
        if self.f.program.weights.landmarks is not None:
            write_by_landmarks(self.f, status)
        return "score", ""

    def write_weights(self, status: Status) -> bool:
        """The weights `p` of a tile, where they are not softmax's, before they are divided; whether they are needed."""
        w = self.f.w
        if self.f.kind == "dq" and all(one.gradient == "ds" for one in self.learned):
            return False  # gradients follow from slopes alone
        w.let("p", self.weighed or "s * scale")
        if status is Status.PARTIAL:
            w.let("p", "tl.where(live, p, 0.0)")
        return True

    def write_counted(self, status: Status, name: str) -> str:
        """A value of pairs times their factors; its name."""
        if not self.factor:
            return name
        given = f"{name} * ({self.factor})"
        # On a pair without a weight a factor may be infinite.
        weighs = self.weighing(status) if self.unbounded_factor else ""
        self.f.w.let(f"{name}_counted", f"tl.where({weighs}, {given}, 0.0)" if weighs else given)
        return f"{name}_counted"

    def write_slope(self, status: Status) -> None:
        """The gradient of the score before it was changed."""
        if self.slope:
            given = f"ds * ({self.slope})"
            # On a dead pair a slope may be infinite, and ds is 0.
            guarded = self.unbounded and status is Status.PARTIAL
            self.f.w.let("ds", f"tl.where(live, {given}, 0.0)" if guarded else given)

    def write_learned(self, status: Status) -> None:
        """Add what the tile gives to the sums of the tensors that are learned.

        Sums are integers in units of a power of two, so that they come out the same in whatever order they are made.
        """
        w, inside = self.f.w, f"{'live & ' * (status is Status.PARTIAL)}{self.f.rows.one}_in[:, None]"
        for one in self.learned:
            w.let("given", f"tl.where({inside}, {one.gradient}{one.slope and f' * ({one.slope})'}, 0.0)")
            whole = {Shape.SCALAR: "tl.sum(tl.sum(given, 1), 0)", Shape.ROW: "tl.sum(given, 1)"}
            whole |= {Shape.COLUMN: "tl.sum(given, 0)", Shape.TILE: "given"}
            found = whole[one.shape]
            if self.f.spec.measures:  # as integers, floats that are not negative have the order that they have
                largest = f"tl.abs({found})"
                for _ in range(one.shape.bit_count()):
                    largest = f"tl.max({largest}, 0)"
                place = f"unit_{one.name}.to(tl.pointer_type(tl.int32))"
                w.line(f'tl.atomic_max({place}, {largest}.to(tl.int32, bitcast=True), sem="relaxed")')
                continue
            w.let("units", f"tl.floor({found} * unit_{one.name}_value + 0.5).to(tl.int64)")
            w.line(f'tl.atomic_add({one.at}, units{one.mask and f", mask={one.mask}"}, sem="relaxed")')
