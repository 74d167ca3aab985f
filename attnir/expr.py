"""Expressions: one immutable, interned node for everything that is computed about tokens.

An expression is an integer or a Boolean over the query position `q`, the key position `k`, the batch and head
indices `b` and `h`, fields read at a token, parameters, and (in tile programs) the tile's own scalars. Nodes are
interned: two nodes of the same structure are the same object, so `is` decides equality and nodes are dictionary keys.
`//` and `%` have floor semantics everywhere, as in Python.

Constructors fold constants and neutral elements and change nothing else, so a printed predicate reads as declared.

>>> q, k = sym("q"), sym("k")
>>> ((q - k) <= 0 + const(7)) is ((q - k) <= 7)
True
>>> (q + 0) * 1 is q
True
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from weakref import WeakValueDictionary

from attnir.ops import (
    BOOLEAN,
    COMPARISONS,
    REALS,
    TABLES,
    Coordinate,
    FieldDecl,
    Op,
    ParamDecl,
    Searched,
    SelectionDecl,
    Side,
    TensorDecl,
)

Value = int | float | bool | str | Coordinate | FieldDecl | TensorDecl | SelectionDecl | ParamDecl | Searched | None


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Expr:
    """One node. Build it with the operators and the functions of this module, never directly."""

    op: Op
    args: tuple[Expr, ...] = ()
    value: Value = None

    @property
    def is_bool(self) -> bool:
        return self.op in BOOLEAN or (self.op is Op.WHERE and self.args[1].is_bool)

    @property
    def is_real(self) -> bool:
        return self.op in REALS

    @property
    def is_const(self) -> bool:
        return self.op is Op.CONST or self.op is Op.BOOL

    @property
    def const(self) -> int:
        assert isinstance(self.value, int), self
        return self.value

    def __add__(self, other: Expr | int) -> Expr:
        return add(self, wrap(other))

    def __radd__(self, other: int) -> Expr:
        return add(wrap(other), self)

    def __sub__(self, other: Expr | int) -> Expr:
        return sub(self, wrap(other))

    def __rsub__(self, other: int) -> Expr:
        return sub(wrap(other), self)

    def __mul__(self, other: Expr | int) -> Expr:
        return mul(self, wrap(other))

    def __rmul__(self, other: int) -> Expr:
        return mul(wrap(other), self)

    def __floordiv__(self, other: Expr | int) -> Expr:
        return floordiv(self, wrap(other))

    def __mod__(self, other: Expr | int) -> Expr:
        return mod(self, wrap(other))

    def __neg__(self) -> Expr:
        return neg(self)

    def __lt__(self, other: Expr | int) -> Expr:
        return compare(Op.LT, self, wrap(other))

    def __le__(self, other: Expr | int) -> Expr:
        return compare(Op.LE, self, wrap(other))

    def __gt__(self, other: Expr | int) -> Expr:
        return compare(Op.GT, self, wrap(other))

    def __ge__(self, other: Expr | int) -> Expr:
        return compare(Op.GE, self, wrap(other))

    def __and__(self, other: Expr) -> Expr:
        return and_(self, other)

    def __or__(self, other: Expr) -> Expr:
        return or_(self, other)

    def __invert__(self) -> Expr:
        return not_(self)

    def __bool__(self) -> bool:
        raise TypeError("an Expr has no truth value; compare nodes with `is`, or test `is_const`")

    def __str__(self) -> str:
        from attnir.printing import format_expr  # which reads nodes, so it cannot come first

        return format_expr(self)

    def __repr__(self) -> str:
        return f"<{self}>"

    def __reduce__(self) -> tuple[object, ...]:
        return node, (self.op, self.args, self.value)


_table: WeakValueDictionary[tuple[Op, tuple[Expr, ...], Value], Expr] = WeakValueDictionary()
_lock = threading.Lock()


def node(op: Op, args: tuple[Expr, ...] = (), value: Value = None) -> Expr:
    """The one node of this structure."""
    key = (op, args, value)
    with _lock:
        found = _table.get(key)
        if found is None:
            found = _table[key] = Expr(op, args, value)
        return found


def const(value: int) -> Expr:
    return node(Op.CONST, (), int(value))


def sym(name: str) -> Expr:
    return node(Op.SYM, (), name)


def param(decl: ParamDecl) -> Expr:
    return node(Op.PARAM, (), decl)


def number(decl: ParamDecl) -> Expr:
    """A real parameter."""
    return node(Op.NUMBER, (), decl)


def field(decl: FieldDecl, token: Expr) -> Expr:
    return node(Op.FIELD, (token,), decl)


TRUE = node(Op.BOOL, (), True)
FALSE = node(Op.BOOL, (), False)
ZERO = const(0)
Q, K, B, H = sym("q"), sym("k"), sym("b"), sym("h")
Q0, Q1, K0, K1 = sym("q0"), sym("q1"), sym("k0"), sym("k1")  # first and last position of a row tile
Q_START, Q_LEN, K_LEN = sym("q_start"), sym("q_len"), sym("k_len")

# The symbols that have a meaning of their own; no field, parameter or scalar of a program takes such a name.
TOKENS = {"q": Q, "k": K, "b": B, "h": H}  # what a predicate reads
SIZES = {"q_start": Q_START, "q_len": Q_LEN, "k_len": K_LEN}
TILE_ENDS = {"q0": Q0, "q1": Q1, "k0": K0, "k1": K1}
SYMBOLS = TOKENS | SIZES | TILE_ENDS
COPIES = {"b": B, "h": H}  # of which sample and head a pair is
SIDES = {Q: Side.QUERIES, Q0: Side.QUERIES, Q1: Side.QUERIES, K: Side.KEYS, K0: Side.KEYS, K1: Side.KEYS}


def entry(decl: TensorDecl) -> Expr:
    """A tensor over samples or heads, read at those of the pair."""
    return node(Op.ENTRY, tuple(COPIES[a] for a in decl.axes), decl)


def rank(decl: SelectionDecl, at: Expr, member: Expr) -> Expr:
    """The place, from 1, of a member in the list `at` of a selection; 0 where it is not there, or no such list is."""
    return node(Op.RANK, (at, member, *(COPIES[a] for a in decl.axes)), decl)


def read(decl: TensorDecl, at: Iterable[Expr]) -> Expr:
    """A real tensor, read at integers, one for each axis: 0 where they lie outside of it."""
    return node(Op.READ, tuple(at), decl)


def side_of(position: Expr) -> Side:
    """The side on which a position or a coordinate lies: a token's, or one of an end of a tile."""
    return position.value.side if isinstance(position.value, Coordinate) else SIDES[position]


def coordinate(value: Coordinate) -> Expr:
    return node(Op.SYM, (), value)


def boolean(value: bool) -> Expr:
    return TRUE if value else FALSE


def wrap(value: Expr | int | bool) -> Expr:
    if isinstance(value, Expr):
        return value
    return boolean(value) if isinstance(value, bool) else const(value)


def is_int(e: Expr, value: int) -> bool:
    return e.op is Op.CONST and e.value == value


def add(a: Expr, b: Expr) -> Expr:
    if a.op is Op.CONST and b.op is Op.CONST:
        return const(a.const + b.const)
    if is_int(a, 0):
        return b
    if is_int(b, 0):
        return a
    if b.op is Op.CONST and b.const < 0:
        return sub(a, const(-b.const))
    return node(Op.ADD, (a, b))


def sub(a: Expr, b: Expr) -> Expr:
    if a.op is Op.CONST and b.op is Op.CONST:
        return const(a.const - b.const)
    if is_int(b, 0):
        return a
    if a is b:
        return ZERO
    if b.op is Op.CONST and b.const < 0:
        return add(a, const(-b.const))
    return node(Op.SUB, (a, b))


def neg(a: Expr) -> Expr:
    if a.op is Op.CONST:
        return const(-a.const)
    return a.args[0] if a.op is Op.NEG else node(Op.NEG, (a,))


def mul(a: Expr, b: Expr) -> Expr:
    if a.op is Op.CONST and b.op is Op.CONST:
        return const(a.const * b.const)
    if is_int(a, 0) or is_int(b, 0):
        return ZERO
    if is_int(a, 1):
        return b
    return a if is_int(b, 1) else node(Op.MUL, (a, b))


def floordiv(a: Expr, b: Expr) -> Expr:
    if b.op is Op.CONST and b.const == 0:
        raise ZeroDivisionError("division by zero")
    if a.op is Op.CONST and b.op is Op.CONST:
        return const(a.const // b.const)
    return a if is_int(b, 1) else node(Op.FLOORDIV, (a, b))


def mod(a: Expr, b: Expr) -> Expr:
    if b.op is Op.CONST and b.const == 0:
        raise ZeroDivisionError("modulo by zero")
    if a.op is Op.CONST and b.op is Op.CONST:
        return const(a.const % b.const)
    return ZERO if is_int(b, 1) else node(Op.MOD, (a, b))


def absolute(a: Expr) -> Expr:
    if a.op is Op.CONST:
        return const(abs(a.const))
    return a if a.op is Op.ABS else node(Op.ABS, (a,))


def _extremum(op: Op, pick: Callable[[int, int], int], a: Expr, b: Expr) -> Expr:
    if a.op is Op.CONST and b.op is Op.CONST:
        return const(pick(a.const, b.const))
    return a if a is b else node(op, (a, b))


def minimum(a: Expr | int, b: Expr | int) -> Expr:
    return _extremum(Op.MIN, min, wrap(a), wrap(b))


def maximum(a: Expr | int, b: Expr | int) -> Expr:
    return _extremum(Op.MAX, max, wrap(a), wrap(b))


def where(condition: Expr, a: Expr | int | bool, b: Expr | int | bool) -> Expr:
    a, b = wrap(a), wrap(b)
    if condition.op is Op.BOOL:
        return a if condition.value else b
    if a is b:
        return a
    if a.is_bool:  # a Boolean choice is a formula; keeping one form spares every pass a case
        return (condition & a) | (~condition & b)
    return node(Op.WHERE, (condition, a, b))


DECIDE: dict[Op, Callable[[float, float], bool]] = {
    Op.LT: operator.lt,
    Op.LE: operator.le,
    Op.GT: operator.gt,
    Op.GE: operator.ge,
    Op.EQ: operator.eq,
    Op.NE: operator.ne,
}


def compare(op: Op, a: Expr, b: Expr) -> Expr:
    if a.op is Op.CONST and b.op is Op.CONST:
        return boolean(DECIDE[op](a.const, b.const))
    if a is b:
        return boolean(op in (Op.LE, Op.GE, Op.EQ))
    return node(op, (a, b))


def eq(a: Expr, b: Expr | int) -> Expr:
    return compare(Op.EQ, a, wrap(b))


def ne(a: Expr, b: Expr | int) -> Expr:
    return compare(Op.NE, a, wrap(b))


def and_(a: Expr, b: Expr) -> Expr:
    if a is FALSE or b is FALSE:
        return FALSE
    if a is TRUE or a is b:
        return b
    return a if b is TRUE else node(Op.AND, (a, b))


def or_(a: Expr, b: Expr) -> Expr:
    if a is TRUE or b is TRUE:
        return TRUE
    if a is FALSE or a is b:
        return b
    return a if b is FALSE else node(Op.OR, (a, b))


def not_(a: Expr) -> Expr:
    if a.op is Op.BOOL:
        return boolean(not a.value)
    return a.args[0] if a.op is Op.NOT else node(Op.NOT, (a,))


def row_table(op: Op, searched: Searched, bound: Expr, at: Expr) -> Expr:
    """LOWER_BOUND or UPPER_BOUND of `bound` in a sorted field, read at the row position `at`."""
    assert op in TABLES
    return node(op, (bound, at), searched)


_BUILD: dict[Op, Callable[..., Expr]] = {
    Op.ADD: add,
    Op.SUB: sub,
    Op.NEG: neg,
    Op.MUL: mul,
    Op.FLOORDIV: floordiv,
    Op.MOD: mod,
    Op.ABS: absolute,
    Op.MIN: minimum,
    Op.MAX: maximum,
    Op.WHERE: where,
    Op.AND: and_,
    Op.OR: or_,
    Op.NOT: not_,
}


def build(op: Op, args: tuple[Expr, ...], value: Value = None) -> Expr:
    """The folded node: like `node`, through the constructor of the operation."""
    if op in COMPARISONS:
        return compare(op, *args)
    maker = _BUILD.get(op)
    return maker(*args) if maker else node(op, args, value)
