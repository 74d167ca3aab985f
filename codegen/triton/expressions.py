"""Expressions as Triton text.

Every expression has a shape: a scalar of the instance, one value per row of the tile, one per column, or one per pair.
What depends on rows alone is computed once, before the loops; what depends on columns alone once per tile; only the
rest costs something for every pair. Comparisons are rearranged so that little is left: `q - k <= 9` is `q - 9 <= k`.

Integers are computed in 32 bits where the bounds of the operands prove that it fits, and in 64 elsewhere; real numbers
in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntFlag
from functools import reduce
from operator import or_

from attnir import expr as ex
from attnir.bounds import any_call, bounds
from attnir.codegen.triton.operations import ATOM, CALLS, INFIX, quotient
from attnir.expr import COPIES, Expr
from attnir.interval import Interval
from attnir.linear import Linear, linear
from attnir.ops import COMPARISONS, NEGATED, TABLES, FieldDecl, Op, ParamDecl, SelectionDecl, TensorDecl
from attnir.order import at_most

FLIPPED = {Op.LT: Op.GT, Op.LE: Op.GE, Op.GT: Op.LT, Op.GE: Op.LE, Op.EQ: Op.EQ, Op.NE: Op.NE}
INT32 = 2**31 - 1


class Shape(IntFlag):
    """Which axes of the tile a value varies along."""

    SCALAR = 0
    ROW = 1
    COLUMN = 2
    TILE = 3


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of source, how tightly its outermost operator binds, and the shape of its value."""

    source: str
    binding: int
    shape: Shape

    def within(self, binding: int) -> str:
        """The source, in parentheses where an operator around it binds tighter."""
        return self.source if self.binding >= binding else f"({self.source})"


Define = Callable[[Expr, str, Shape], str]  # gives a value a name; returns the name


class Printer:
    """Prints expressions of one kernel.

    leaf    the text of a symbol, field, parameter or row table
    define  names what is computed once, per instance or per column tile, instead of once per pair
    ranges  what is known of symbols that the program defines
    exact   whether functions are as precise as float32; else as sums of scores are
    far     whether offsets in real tensors take 64 bits
    strays  whether a tile may have positions before the first one: those of a class that no token is of
    """

    def __init__(
        self,
        leaf: Callable[[Expr], Text],
        define: Define,
        ranges: dict[str, Interval[int]] | None = None,
        *,
        exact: bool = True,
        far: bool = True,
        strays: bool = False,
    ) -> None:
        self.leaf, self.define, self.exact, self.far, self.strays = leaf, define, exact, far, strays
        self.ranges = {} if ranges is None else ranges
        self._named: dict[Expr, Text] = {}
        self._floats: dict[Expr, Text] = {}  # integers of rows and columns as real numbers

    def __call__(self, e: Expr) -> str:
        return self.text(e).source

    def text(self, e: Expr) -> Text:
        if e in self._named:
            return self._named[e]
        if e.op is Op.READ:
            return self._read(e)
        if isinstance(e.value, SelectionDecl):
            return self._rank(e, e.value)
        if e.op in TABLES or isinstance(e.value, FieldDecl | TensorDecl | ParamDecl) or e.op in (Op.SYM, Op.SCORE):
            return self.leaf(e)
        match e.op:
            case Op.CONST | Op.BOOL:
                return Text(str(e.value), ATOM if e.op is Op.BOOL or e.const >= 0 else 6, Shape.SCALAR)
            case Op.REAL:
                return Text(str(e.value), 6 if str(e.value).startswith("-") else ATOM, Shape.SCALAR)
            case Op.FLOAT:
                return self.real(e.args[0])
            case Op.ROWMIN | Op.ROWMAX:
                return self._reduced(e)
            case Op.NOT:
                return self._negated(e.args[0])
        if e.op in COMPARISONS and not any(a.is_real for a in e.args):
            e = separated(e, self.shape)
        return self._operation(e)

    def _read(self, e: Expr) -> Text:
        """A real tensor at an index for each axis, 0 outside of it."""
        at, mask, shape = self.place(e, "real")
        masked = f", mask={mask}, other=0.0" if mask else ""
        text = Text(f"tl.load({at}{masked}).to(tl.float32)", ATOM, shape)
        if shape is not Shape.TILE:
            text = self._named[e] = Text(self.define(e, text.source, shape), ATOM, shape)
        return text

    def _rank(self, e: Expr, selection: SelectionDecl) -> Text:
        """The place of a member in a list."""
        name, args = f"selection_{selection.name}", e.args[:2]
        begin = " + ".join([name, *(f"{axis} * {name}_{axis}" for axis in selection.axes)])
        parts = self._spread([self.text(a) for a in args], args)
        given = ", ".join(p.source for p in parts)
        text = f"rank_of({begin}, {name}_lists, {name}_places, {name}_list, {name}_place, {given})"
        return Text(text, ATOM, reduce(or_, (p.shape for p in parts)))

    def place(self, e: Expr, prefix: str) -> tuple[str, str, Shape]:
        """(where the entry of a real tensor lies that is read, or that of another one of its shape; what must hold for
        there to be one, empty: nothing; the shape of both).
        """
        assert isinstance(e.value, TensorDecl)
        name = e.value.name
        offsets: dict[Shape, list[str]] = {}
        inside: dict[Shape, list[str]] = {}
        texts = [self.text(a - ex.Q_START if axis == "q" else a) for axis, a in zip(e.value.axes, e.args, strict=True)]
        shape = reduce(or_, (t.shape for t in texts), Shape.SCALAR)
        vector = next((t for t in texts if t.shape is not Shape.SCALAR), None)
        for i, (axis, a, index) in enumerate(zip(e.value.axes, e.args, texts, strict=True)):
            far = self.far and a.op is not Op.CONST
            wide = f"{index.within(ATOM)}.to(tl.int64)" if far else index.within(5)
            offsets.setdefault(index.shape, []).append(f"{wide} * {prefix}_{name}_{i}")
            if a is not COPIES.get(axis):
                if index.shape is Shape.SCALAR and vector is not None:  # the interpreter takes no scalar for a mask
                    index = Text(f"{vector.within(5)} * 0 + {index.within(5)}", 4, vector.shape)
                size = {"q": "q_len", "k": "k_len", "h": "heads"}.get(axis, f"real_{name}_size_{i}")
                least = [] if axis != "q" and self._never_negative(a) else [f"({index.within(1)} >= 0)"]
                inside.setdefault(index.shape, []).extend([*least, f"({index.within(1)} < {size})"])
        at = " + ".join([f"{prefix}_{name}", *self._spread_sums(e, offsets, " + ", shape)])
        return at, " & ".join(self._spread_sums(e, inside, " & ", shape)), shape

    def _never_negative(self, e: Expr) -> bool:
        """Whether an index is at least 0 behind the last token as well, where it may leave what 32 bits hold."""
        found = self.range(e)
        return found.low >= 0 and found.high <= INT32 // 2 and not self.strays

    def _spread_sums(self, e: Expr, parts: dict[Shape, list[str]], sign: str, shape: Shape) -> list[str]:
        """What is joined of parts of each shape, as parts of the shape of all."""
        texts = []
        for own, terms in sorted(parts.items()):
            source = sign.join(terms)
            if shape is Shape.TILE and own in (Shape.ROW, Shape.COLUMN):
                source = self.define(e, source, own) + ("[:, None]" if own is Shape.ROW else "[None, :]")
            texts.append(source)
        return texts

    def shape(self, e: Expr) -> Shape:
        """Which axes of the tile an expression varies along."""
        leaf = e.op is not Op.READ and isinstance(e.value, FieldDecl | TensorDecl | ParamDecl)
        if leaf or e.op in (Op.SYM, Op.SCORE) or e.op in TABLES:
            return self.leaf(e).shape
        if e.op in (Op.ROWMIN, Op.ROWMAX):
            return Shape.SCALAR
        found = Shape.SCALAR
        for a in e.args:
            found |= self.shape(a)
        return found

    def range(self, e: Expr) -> Interval[int]:
        """The bounds of an integer expression over every call."""
        return bounds(e, lambda leaf: self.ranges.get(str(leaf.value)) or any_call(leaf))

    def _operation(self, e: Expr) -> Text:
        parts = self._spread([self._operand(e, a) for a in e.args], e.args)
        shape = reduce(or_, (p.shape for p in parts))
        if e.op is Op.TANH:
            return Text(f"{'exact_tanh' if self.exact else 'tanh'}({parts[0].source})", ATOM, shape)
        if e.op is Op.REAL_DIV and e.args[1].op is Op.REAL and isinstance(e.args[1].value, float):
            return Text(f"{parts[0].within(5)} * {1.0 / e.args[1].value!r}", 5, shape)
        if e.op is Op.LOG:
            return Text(f"tl.log(tl.maximum({parts[0].source}, 1.0))", ATOM, shape)
        if e.op in CALLS:
            return Text(f"{CALLS[e.op]}({', '.join(p.source for p in parts)})", ATOM, shape)
        if e.op in (Op.NEG, Op.REAL_NEG):
            return Text(f"-{parts[0].within(6)}", 6, shape)
        if e.op in (Op.FLOORDIV, Op.MOD):
            (a, b), (x, y) = (p.within(ATOM) for p in parts), e.args
            plain = self.range(y).low > 0 and (self.range(x).low >= 0 or at_most(ex.ZERO, x))
            return Text(*quotient(e.op, a, b, y, plain=plain), shape)
        binding, sign = INFIX[e.op]
        left = binding + 1 if e.op in COMPARISONS else binding
        return Text(f"{parts[0].within(left)} {sign} {parts[1].within(binding + 1)}", binding, shape)

    def _operand(self, e: Expr, a: Expr) -> Text:
        """An argument of an operation, as wide as that needs it."""
        if e.op is Op.RANDOM:
            return self.text(a)
        if e.is_real or any(x.is_real for x in e.args):
            return self.text(a) if a.is_bool or a.is_real else self.real(a)
        return self._wide(a) if self._overflows(e) else self.text(a)

    def real(self, e: Expr) -> Text:
        """The text of an integer as a real number, computed once where it belongs to rows or columns."""
        if e.op is Op.CONST:
            return Text(f"{float(e.const)}", ATOM if e.const >= 0 else 6, Shape.SCALAR)
        if e not in self._floats:
            found = self.text(e)
            text = Text(f"{found.within(ATOM)}.to(tl.float32)", ATOM, found.shape)
            if text.shape in (Shape.ROW, Shape.COLUMN):
                text = Text(self.define(e, text.source, text.shape), ATOM, text.shape)
            self._floats[e] = text
        return self._floats[e]

    def _overflows(self, e: Expr) -> bool:
        if e.op is not Op.WHERE and any(a.op is Op.CONST and abs(a.const) > INT32 for a in e.args):
            return True
        if e.op not in (Op.ADD, Op.SUB, Op.MUL, Op.NEG, Op.ABS):
            return False
        found = self.range(e)
        return bool(found.low < -INT32 or found.high > INT32)

    def _wide(self, e: Expr) -> Text:
        found = self.text(e)
        if e.op is Op.CONST or self._overflows(e):
            return found
        return Text(f"{found.within(ATOM)}.to(tl.int64)", ATOM, found.shape)

    def _spread(self, parts: list[Text], args: tuple[Expr, ...]) -> list[Text]:
        """Bring row and column values to the shape of a tile, where they meet, by names that are computed once."""
        shape = Shape.SCALAR
        for p in parts:
            shape |= p.shape
        if shape is not Shape.TILE:
            return parts
        return [self._broadcast(e, p) for e, p in zip(args, parts, strict=True)]

    def _broadcast(self, e: Expr, part: Text) -> Text:
        if part.shape in (Shape.SCALAR, Shape.TILE):
            return part
        name = part.source
        if not name.isidentifier():
            name = self.define(e, part.source, part.shape)
            self._named[e] = Text(name, ATOM, part.shape)
        return Text(f"{name}[:, None]" if part.shape is Shape.ROW else f"{name}[None, :]", ATOM, Shape.TILE)

    def tile(self, e: Expr) -> Text:
        """The text of an expression, one value per pair (or one for all)."""
        return self._broadcast(e, self.text(e))

    def _reduced(self, e: Expr) -> Text:
        inner = self.text(e.args[0])
        if inner.shape is Shape.SCALAR:
            return inner
        return Text(f"{'tl.min' if e.op is Op.ROWMIN else 'tl.max'}({inner.source}, 0)", ATOM, Shape.SCALAR)

    def _negated(self, e: Expr) -> Text:
        if e.op in COMPARISONS:
            return self.text(ex.compare(NEGATED[e.op], *e.args))
        inner = self.text(e)
        return Text(f"~{inner.within(6)}", 6, inner.shape)


def separated(e: Expr, shape: Callable[[Expr], Shape]) -> Expr:
    """An equal comparison with the columns on one side and everything else on the other, where that is possible.

    >>> kinds = {ex.Q: Shape.ROW, ex.K: Shape.COLUMN}
    >>> of = lambda e: kinds.get(e, Shape.TILE if e.args else Shape.SCALAR)
    >>> print(separated(ex.Q - ex.K <= 9, of), separated(ex.K <= ex.Q, of), separated(ex.eq((ex.Q - ex.K) % 3, 0), of))
    q - 9 <= k q >= k q % 3 == k % 3
    """
    a, b = e.args
    if e.op in (Op.EQ, Op.NE) and a.op is Op.MOD and a.args[1].op is Op.CONST and ex.is_int(b, 0):
        sides = _sides(linear(a.args[0]), shape)
        return e if sides is None else ex.compare(e.op, *(ex.mod(side.expr(), a.args[1]) for side in sides))
    sides = _sides(linear(a - b), shape)
    if sides is None:
        return e
    rest, columns = sides
    if columns.terms[0][1] < 0:
        return ex.compare(FLIPPED[e.op], rest.times(-1).expr(), columns.times(-1).expr())
    return ex.compare(e.op, rest.expr(), columns.expr())


def _sides(form: Linear, shape: Callable[[Expr], Shape]) -> tuple[Linear, Linear] | None:
    """(rest, columns) with form == rest - columns; None where an atom varies along both axes, or none along one."""
    kinds = [(shape(atom), atom, c) for atom, c in form.terms]
    found = {kind for kind, _, _ in kinds}
    if Shape.TILE in found or not {Shape.ROW, Shape.COLUMN} <= found:
        return None
    columns = Linear(tuple((atom, -c) for kind, atom, c in kinds if kind is Shape.COLUMN), 0)
    return Linear(tuple((atom, c) for kind, atom, c in kinds if kind is not Shape.COLUMN), form.constant), columns
