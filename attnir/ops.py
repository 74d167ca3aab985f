"""The words of expressions: operations, the two sides of the score matrix, declarations, and the limits of values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum


class Op(Enum):
    """What a node does. The value is how it prints."""

    CONST = "const"
    BOOL = "bool"
    SYM = "sym"
    PARAM = "param"
    FIELD = "field"  # a field read at a token: args = (token,)
    ENTRY = "entry"  # a tensor read at a sample, a head, or both: args of b and h
    RANK = (
        "rank"  # the place of a member in a list of a selection, from 1; 0: it is not there. args = (list, member, ...)
    )
    ADD = "+"
    SUB = "-"
    NEG = "neg"
    MUL = "*"
    FLOORDIV = "//"
    MOD = "%"
    ABS = "abs"
    MIN = "min"
    MAX = "max"
    WHERE = "where"
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    EQ = "=="
    NE = "!="
    AND = "&"
    OR = "|"
    NOT = "~"
    # Real numbers, only in scores; an integer among the arguments stands for itself.
    REAL = "real"  # a constant
    SCORE = "s"  # the score before
    NUMBER = "number"  # a real parameter
    READ = "read"  # a real tensor, read at the integers that are its arguments, one for each axis
    RANDOM = "random"  # a number from [0, 1), drawn by a seed and four counters: args of integers
    REAL_ADD = "+."
    REAL_SUB = "-."
    REAL_NEG = "neg."
    REAL_MUL = "*."
    REAL_DIV = "/."
    REAL_ABS = "abs."
    REAL_MIN = "min."
    REAL_MAX = "max."
    REAL_WHERE = "where."
    EXP = "exp"
    LOG = "log"  # of an integer, 0 where it is below 1
    REAL_LOG = "log."
    TANH = "tanh"
    SIGMOID = "sigmoid"
    SQRT = "sqrt"
    FLOAT = "float"  # an integer as a real number
    # Only in tile programs:
    ROWMIN = "rowmin"  # smallest value of the argument over the rows of the tile
    ROWMAX = "rowmax"
    # A row table, args = (bound, at): `bound` is an expression of the row token; the table holds, for every row, the
    # position of the first column whose (sorted) field is >= bound (> bound), and is read at the row position `at`.
    LOWER_BOUND = "lower_bound"
    UPPER_BOUND = "upper_bound"

    def __repr__(self) -> str:
        return f"Op.{self.name}"


COMPARISONS = frozenset({Op.LT, Op.LE, Op.GT, Op.GE, Op.EQ, Op.NE})
CONNECTIVES = frozenset({Op.AND, Op.OR, Op.NOT})
BOOLEAN = COMPARISONS | CONNECTIVES | {Op.BOOL}
TABLES = frozenset({Op.LOWER_BOUND, Op.UPPER_BOUND})
FUNCTIONS = frozenset({Op.EXP, Op.REAL_LOG, Op.TANH, Op.SIGMOID, Op.SQRT})  # of one real number
REALS = FUNCTIONS | {Op.REAL, Op.SCORE, Op.NUMBER, Op.READ, Op.LOG, Op.FLOAT, Op.RANDOM}
REALS |= {Op.REAL_ADD, Op.REAL_SUB, Op.REAL_NEG, Op.REAL_MUL, Op.REAL_DIV}
REALS |= {Op.REAL_ABS, Op.REAL_MIN, Op.REAL_MAX, Op.REAL_WHERE}
UNBOUNDED = frozenset({Op.REAL_DIV, Op.EXP, Op.REAL_LOG, Op.SQRT})  # whose value, or slope, may be infinite or NaN
LEAVES = frozenset({Op.CONST, Op.BOOL, Op.SYM, Op.PARAM, Op.REAL, Op.SCORE, Op.NUMBER})

NEGATED = {Op.LT: Op.GE, Op.LE: Op.GT, Op.GT: Op.LE, Op.GE: Op.LT, Op.EQ: Op.NE, Op.NE: Op.EQ}

POSITION_LIMIT = 2**28  # positions stay below it, so that sums and differences of positions fit 32 bits
COPIES_LIMIT = 2**20  # samples, and query heads
LISTED_LIMIT = 2**20  # members in a list of a selection
PARAM_LIMIT = 2**30  # parameters stay within +- this
CONSTANT_LIMIT = 2**62  # and constants within this
REAL_LIMIT = 1e12  # and those of scores within this
SLOPE_LIMIT = 1e30  # what a score may grow by, where that is a constant


class Side(StrEnum):
    """A side of the score matrix. The value names its token."""

    QUERIES = "q"
    KEYS = "k"

    @property
    def other(self) -> Side:
        return Side.KEYS if self is Side.QUERIES else Side.QUERIES


@dataclass(frozen=True, slots=True)
class ParamDecl:
    """A named run-time integer with `low <= value <= high`; `real`: a real number, without bounds."""

    name: str
    low: int = -PARAM_LIMIT
    high: int = PARAM_LIMIT
    real: bool = False


class Of(StrEnum):
    """Which coordinate of a layout: a token's, that of the tile's first or last row, or what lies between two."""

    TOKEN = ""
    FIRST = "0"
    LAST = "1"
    BEFORE = " before"  # from the axis' least coordinate to the first row's; for proofs
    SINCE = " since"  # from the first row's to a later one's; for proofs


@dataclass(frozen=True, slots=True)
class Coordinate:
    """A coordinate of a layout: `q.slot`, `q0.y`, `k1.x`. It is at least 0, and below `size` if that is known."""

    side: Side
    axis: str
    of: Of = Of.TOKEN
    size: int | ParamDecl | None = None

    def __str__(self) -> str:
        return f"{self.side}{self.of}.{self.axis}"


@dataclass(frozen=True, slots=True)
class FieldDecl:
    """A named fact about tokens: one integer per token. `sorted`: it never decreases along the sequence.

    limit: all values are known to lie in [0, limit), as those of facts that attnir makes itself.
    """

    name: str
    sorted: bool = False
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class TensorDecl:
    """A named tensor. `axes` names its axes in order.

    One of integers has one for each sample ("b"), each head ("h"), or both, and masks read it. One that is `real` has
    any axes, and scores read it at any integers; the sizes of axes named as a TOKEN are those of the call.
    """

    name: str
    axes: tuple[str, ...]
    real: bool = False


@dataclass(frozen=True, slots=True)
class SelectionDecl:
    """A named selection: lists of integers, numbered from 0, each of its members at a place of its list.

    axes: whether each sample ("b") and each query head ("h") has lists of its own.
    """

    name: str
    axes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Searched:
    """A sorted field along one side, in which LOWER_BOUND and UPPER_BOUND search; the table has the other's rows."""

    field: FieldDecl
    side: Side
