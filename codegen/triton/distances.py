"""Distances of a tile's pairs as real numbers that cost little.

An integer of a pair, `q - k`, is made and converted for every pair. As a difference of two real numbers, one of the row
and one of the column, it costs an addition; and the product of a number of the instance with it, as in ALiBi, is a
difference of two products that belong to the row and to the column, where scores are not float32.

That is as exact as the conversion. Positions count from the tile's first key, `(q - base) - (k - base)`: the second
number is below the tile's size, so the difference is as large as its terms, and nothing cancels but what is exact.
Numbers of keys are then the same in every tile: kept by rows in dK and dV, by columns elsewhere.
Other differences are taken apart only where all their parts are below 2**24, which float32 has exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from attnir import real
from attnir.codegen.triton.expressions import Shape
from attnir.expr import Expr, build, node
from attnir.interval import Interval
from attnir.linear import Linear, linear
from attnir.ops import Op
from attnir.traverse import contains, rebuild

BASE = node(Op.SYM, (), "tile_base")  # the position of the tile's first key
OFFSET = node(Op.SYM, (), "tile_offset")  # the positions of the tile's columns, counted from it
EXACT = 2**24  # float32 has all integers up to it
MADE: dict[Op, Callable[..., Expr]] = {
    Op.NEG: real.neg,
    Op.ABS: real.absolute,
    Op.MIN: real.minimum,
    Op.MAX: real.maximum,
    Op.ADD: real.add,
    Op.SUB: real.sub,
    Op.MUL: real.mul,
}
KEEPS = frozenset({Op.NEG, Op.ABS, Op.MIN, Op.MAX, Op.MUL})  # whose relative error is that of what they are made of
MOST_FACTOR = 2**10  # by which a position is multiplied


@dataclass(frozen=True, slots=True)
class Distances:
    """Takes integers of pairs apart.

    position  the columns' positions, where they are the base plus the offsets; None: rows or columns are no runs
    shape     which axes of the tile an expression varies along
    range     the bounds of an integer
    rounds    whether a product with a distance may be a difference of two, each of them rounded
    """

    position: Expr | None
    shape: Callable[[Expr], Shape]
    range: Callable[[Expr], Interval[int]]
    rounds: bool

    def __call__(self, e: Expr) -> Expr:
        """An equal real expression."""
        return rebuild(e, self._cheaper)

    def _cheaper(self, e: Expr) -> Expr | None:
        if not e.is_real or e.op in (Op.READ, Op.LOG):
            return None
        args = tuple(self._operand(a) for a in e.args)
        if e.op is Op.FLOAT:
            return args[0] if args[0].is_real else None
        changed = None if args == e.args else build(e.op, args, e.value)
        return self._distributed(*args) if e.op is Op.REAL_MUL and self._distributes(*args) else changed

    def _operand(self, a: Expr) -> Expr:
        """An argument of a real operation, as it is where it is no integer of pairs that can be taken apart."""
        if a.is_real or a.is_bool or self.shape(a) is not Shape.TILE:
            return a
        found = self._real(a)
        return a if found is None else found

    def _distributes(self, a: Expr, b: Expr) -> bool:
        """Whether one is a factor of the instance, and the other a distance from the base."""
        factor, sum_ = (a, b) if contains(b, OFFSET) else (b, a)
        if not self.rounds or self.shape(factor) is not Shape.SCALAR or sum_.op not in (Op.REAL_ADD, Op.REAL_SUB):
            return False
        return contains(sum_, OFFSET) and Shape.TILE not in map(self.shape, sum_.args)

    def _distributed(self, a: Expr, b: Expr) -> Expr:
        """The product as a sum of products."""
        factor, sum_ = (a, b) if contains(b, OFFSET) else (b, a)
        made = real.add if sum_.op is Op.REAL_ADD else real.sub
        return made(*(real.mul(factor, x) for x in sum_.args))

    def _real(self, e: Expr) -> Expr | None:
        """The integer as a real number, made of those of rows and columns; None where that is not as exact."""
        if self.shape(e) is not Shape.TILE:
            return real.of_integer(e)
        if (found := self._from_base(e)) is not None:
            return found
        made = MADE.get(e.op)
        if made is None or not (e.op in KEEPS or self._exact(e) or self._grows(e)):
            return None
        args = [self._real(a) for a in e.args]
        return None if any(a is None for a in args) else made(*args)

    def _exact(self, e: Expr) -> bool:
        """Whether float32 has the integer, and the numbers of pairs, rows and columns that it is made of."""
        found = self.range(e)
        if found.low < -EXACT or found.high > EXACT:
            return False
        return self.shape(e) is not Shape.TILE or all(self._exact(a) for a in e.args if not a.is_bool)

    def _grows(self, e: Expr) -> bool:
        """Whether it is a sum of what is not negative, in which nothing cancels."""
        return e.op is Op.ADD and all(self.range(a).low >= 0 or _is_square(a) for a in e.args)

    def _from_base(self, e: Expr) -> Expr | None:
        """rest + factor * column, as (rest + factor * base) + factor * offset."""
        form = linear(e)
        factor = 0 if self.position is None else form.coefficient(self.position)
        if self.position is None or not 0 < abs(factor) <= MOST_FACTOR:
            return None
        rest = form.without(self.position)
        if any(self.shape(atom) & Shape.COLUMN for atom in rest.atoms):
            return None
        row = real.of_integer(rest.plus(Linear(((BASE, factor),), 0)).expr())
        offset = real.mul(real.of_integer(OFFSET), real.real(abs(factor)))
        return real.add(row, offset) if factor > 0 else real.sub(row, offset)


def _is_square(e: Expr) -> bool:
    return e.op is Op.MUL and e.args[0] is e.args[1]
