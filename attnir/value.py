"""Symbolic values: what a lambda over tokens gets, which record what is done to them.

Whatever Python would do behind the language's back (`and`, `if`, floats in masks, true division) is an error that
names the user's line.
"""

from __future__ import annotations

import operator
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import NoReturn, SupportsIndex, TypeGuard, cast

from attnir import expr as ex
from attnir import real
from attnir.errors import (
    ConditionExpectedError,
    ControlFlowError,
    DeclarationError,
    DivisorError,
    IntegerExpectedError,
    UnknownNameError,
)
from attnir.expr import Expr
from attnir.limits import divisor_problem
from attnir.ops import CONSTANT_LIMIT, REAL_LIMIT, FieldDecl, Op

_HERE = Path(__file__).parent
in_score: ContextVar[bool] = ContextVar("in_score", default=False)  # whether the lambda of a score is being traced
Operand = "Value | int"
Binary = Callable[[Expr, Expr], Expr]

# What to do instead.
_NO_BITS = "there are no operations on bits: q & 63 is q % 64, q >> 6 is q // 64, q << 6 is q * 64"
_A_FIELD = 'what a tensor says of each token is a field: ids = an.field("ids"), read as ids(q), given as ids=tensor'
_A_TENSOR = (
    'real numbers are read from a tensor: bias = an.tensor("bias", "h", "i"), as bias[h, q - k], given as bias=tensor'
)


def read_a_tensor() -> str:
    """What to do with a tensor, in the lambda that is being traced."""
    return _A_TENSOR if in_score.get() else _A_FIELD


def no_functions() -> str:
    """What to do in place of a function of another library."""
    functions = "an.exp, an.log, an.tanh, an.sigmoid, an.sqrt, " * in_score.get()
    return (
        f"write abs, an.minimum, an.maximum, an.where, {functions}and `&`, `|`, `~` for conditions; {read_a_tensor()}"
    )


class Value:
    """A symbolic integer, condition or, in a score, real number inside a lambda; also what `an.param` returns."""

    __slots__ = ("expr",)

    def __init__(self, expr: Expr) -> None:
        self.expr = expr

    def __add__(self, other: object) -> Value:
        return _computed(ex.add, real.add, self, other)

    def __radd__(self, other: object) -> Value:
        return _computed(ex.add, real.add, other, self)

    def __sub__(self, other: object) -> Value:
        return _computed(ex.sub, real.sub, self, other)

    def __rsub__(self, other: object) -> Value:
        return _computed(ex.sub, real.sub, other, self)

    def __mul__(self, other: object) -> Value:
        return _computed(ex.mul, real.mul, self, other)

    __rmul__ = __mul__

    def __floordiv__(self, other: object) -> Value:
        return Value(_divide(ex.floordiv, _integer(self), _integer(other)))

    def __rfloordiv__(self, other: object) -> Value:
        return Value(_divide(ex.floordiv, _integer(other), _integer(self)))

    def __mod__(self, other: object) -> Value:
        return Value(_divide(ex.mod, _integer(self), _integer(other)))

    def __rmod__(self, other: object) -> Value:
        return Value(_divide(ex.mod, _integer(other), _integer(self)))

    def __pow__(self, exponent: object) -> Value:
        if not isinstance(exponent, int) or not 0 <= exponent <= 4:
            roots = "; a root is an.sqrt" if self.expr.is_real else ""
            fail(IntegerExpectedError, f"an exponent is an integer constant from 0 to 4, not {exponent!r}{roots}")
        result = Value(ex.const(1))
        for _ in range(exponent):
            result = result * self
        return result

    def __neg__(self) -> Value:
        return Value(real.neg(self.expr) if self.expr.is_real else ex.neg(_integer(self)))

    def __pos__(self) -> Value:
        return Value(number_argument(self))

    def __abs__(self) -> Value:
        return Value(real.absolute(self.expr) if self.expr.is_real else ex.absolute(_integer(self)))

    def __lt__(self, other: object) -> Value:
        return _compared(Op.LT, self, other)

    def __le__(self, other: object) -> Value:
        return _compared(Op.LE, self, other)

    def __gt__(self, other: object) -> Value:
        return _compared(Op.GT, self, other)

    def __ge__(self, other: object) -> Value:
        return _compared(Op.GE, self, other)

    # A comparison is recorded, not answered, which mypy takes for a mistake. So a Value has no hash, and is no key.

    def __eq__(self, other: object) -> Value:  # type: ignore[override]  # see above
        return _compared(Op.EQ, self, other)

    def __ne__(self, other: object) -> Value:  # type: ignore[override]  # see above
        return _compared(Op.NE, self, other)

    def __and__(self, other: object) -> Value:
        return Value(ex.and_(_combined(self), _combined(other)))

    def __or__(self, other: object) -> Value:
        return Value(ex.or_(_combined(self), _combined(other)))

    def __xor__(self, other: object) -> Value:
        a, b = _combined(self), _combined(other)
        return Value((a & ~b) | (~a & b))

    __rand__ = __and__
    __ror__ = __or__
    __rxor__ = __xor__

    def __invert__(self) -> Value:
        return Value(ex.not_(_combined(self)))

    def __truediv__(self, other: object) -> Value:
        return _ratio(self, other)

    def __rtruediv__(self, other: object) -> Value:
        return _ratio(other, self)

    def _no_such_operation(self, *others: object) -> NoReturn:
        fail(
            DeclarationError,
            f"this operation is not part of the language (on `{self.expr}`); it has + - * // % ** & | ^ ~, "
            "comparisons, abs, an.minimum, an.maximum, an.where, and in scores `/` and real functions, such as an.exp",
        )

    def _no_shift(self, other: object) -> NoReturn:
        fail(DeclarationError, f"shifts are not part of the language (on `{self.expr}`); {_NO_BITS}")

    def _no_sequence(self, *others: object) -> NoReturn:
        fail(
            DeclarationError,
            f"`{self.expr}` is one symbolic integer: to index it, or a tensor by it, is not part of the language; "
            f"{read_a_tensor()}",
        )

    __lshift__ = __rlshift__ = __rshift__ = __rrshift__ = _no_shift
    __getitem__ = __iter__ = __len__ = _no_sequence
    __matmul__ = __rmatmul__ = __divmod__ = __rdivmod__ = __rpow__ = __call__ = _no_such_operation
    __array_ufunc__ = None  # an array stands aside: `array < q` asks q, which says that it takes integers

    def __bool__(self) -> NoReturn:
        fail(
            ControlFlowError,
            f"`{self.expr}` is symbolic and has no truth value, so Python's `and`, `or`, `not`, `if`, `in`, `min`, "
            "`max` and chained comparisons cannot use it; "
            "write `&`, `|`, `~`, an.where(c, a, b), an.minimum, an.maximum",
        )

    def __index__(self) -> NoReturn:
        problem = f"`{self.expr}` is symbolic and is no number yet; it cannot index or count"
        fail(IntegerExpectedError, f"{problem}; {read_a_tensor()}")

    __int__ = __float__ = __index__

    def __getattr__(self, name: str) -> Value:
        if name.startswith("__"):
            raise AttributeError(name)
        fail(UnknownNameError, f"`{self.expr}` has no coordinate `{name}`; a plain token is its position")

    def __repr__(self) -> str:
        return str(self.expr)


def user_line() -> str:
    """The innermost line of code outside attnir: `file:line: text`."""
    for frame in reversed(traceback.extract_stack()):
        generated = frame.filename.startswith("<") and frame.name == "__init__"  # of a dataclass
        if not generated and not Path(frame.filename).is_relative_to(_HERE):
            return f"{frame.filename}:{frame.lineno}: {(frame.line or '').strip()}"
    return "<unknown line>"


def line_of(error: BaseException) -> str:
    """The line of Python that raised an error: `file:line: text`."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}: {(frame.line or '').strip()}"


def fail(error: type[DeclarationError], problem: str, where: str | None = None) -> NoReturn:
    raise error(f"{problem}\n  at {where or user_line()}")


def _integer(value: object) -> Expr:
    if isinstance(value, Value):
        if value.expr.is_bool:
            fail(ConditionExpectedError, f"`{value.expr}` is a condition; an integer is needed here")
        if value.expr.is_real:
            fail(IntegerExpectedError, f"`{value.expr}` is a real number; an integer is needed here")
        return value.expr
    if isinstance(value, bool):
        fail(ConditionExpectedError, f"{value} is a condition; an integer is needed here")
    try:
        number = operator.index(cast(SupportsIndex, value))
    except TypeError:
        fail(IntegerExpectedError, f"an integer is needed here, not {value!r} of type {type(value).__name__}")
    if abs(number) > CONSTANT_LIMIT:
        fail(IntegerExpectedError, f"an integer of {number.bit_length()} bits is given; at most 62 are taken")
    return ex.const(number)


def is_real(value: object) -> bool:
    return isinstance(value, float) or (isinstance(value, Value) and value.expr.is_real)


def is_function(given: object) -> TypeGuard[Callable[..., object]]:
    """Whether it can be traced. A Value has every operation of Python, a call too, to say what is none of its own."""
    return callable(given) and not isinstance(given, Value)


def number_argument(value: object) -> Expr:
    """An integer, or a real number of at most 1e12."""
    if isinstance(value, float):
        if not abs(value) <= REAL_LIMIT:
            fail(DeclarationError, f"a constant is finite and at most 1e12, not {value}; to hide pairs, use a mask")
        return real.real(value)
    if isinstance(value, Value) and value.expr.is_real:
        return value.expr
    number = _integer(value)
    if number.is_const and abs(number.const) > REAL_LIMIT:
        fail(DeclarationError, f"a constant is at most 1e12 in a score, not {number.const}; to hide pairs, use a mask")
    return number


def _computed(of_integers: Binary, of_reals: Binary, a: object, b: object) -> Value:
    """What an operation makes of two integers, or, where one of them is real, of two real numbers."""
    if is_real(a) or is_real(b):
        return Value(of_reals(number_argument(a), number_argument(b)))
    return Value(of_integers(_integer(a), _integer(b)))


def _compared(op: Op, a: object, b: object) -> Value:
    """A comparison of two integers, or, in a score, of real numbers."""
    if in_score.get() and (is_real(a) or is_real(b)):
        return Value(real.compare(op, number_argument(a), number_argument(b)))
    return Value(ex.compare(op, _integer(a), _integer(b)))


def _ratio(a: object, b: object) -> Value:
    """a / b, a real number."""
    if not in_score.get():
        shown = a.expr if isinstance(a, Value) else a
        fail(
            IntegerExpectedError, f"`/` makes a float of `{shown}`, which only a score has; use `//`, which rounds down"
        )
    divisor = number_argument(b)
    if divisor.op in (Op.CONST, Op.REAL) and divisor.value == 0:
        fail(DivisorError, f"the divisor `{divisor}` is zero")
    return Value(real.div(number_argument(a), divisor))


def condition(value: object, advice: str = "compare it first") -> Expr:
    if isinstance(value, Value) and value.expr.is_bool:
        return value.expr
    if isinstance(value, bool):
        return ex.boolean(value)
    shown = value.expr if isinstance(value, Value) else repr(value)
    fail(ConditionExpectedError, f"a condition is needed here, not `{shown}`; {advice}")


def _combined(value: object) -> Expr:
    """A condition that `&`, `|`, `^` or `~` is given."""
    parentheses = "in parentheses, as `&` and `|` bind tighter than comparisons: (k <= q) & (q - k < 8)"
    return condition(value, f"compare it first, {parentheses}; {_NO_BITS}")


def integer_argument(value: object) -> Expr:
    """An integer or a parameter that a user gave to a builder such as `window`."""
    return _integer(value)


def _divide(make: Callable[[Expr, Expr], Expr], a: Expr, b: Expr) -> Expr:
    if problem := divisor_problem(b, 'an.param("{}", low=1)', "an.maximum({}, 1)"):
        fail(DivisorError, problem)
    return make(a, b)


def read_field(decl: FieldDecl, token: object) -> Value:
    if isinstance(token, Value) and (token.expr is ex.Q or token.expr is ex.K):
        return Value(ex.field(decl, token.expr))
    shown = token.expr if isinstance(token, Value) else repr(token)
    fail(
        DeclarationError,
        f"the field `{decl.name}` is read at a token, {decl.name}(q) or {decl.name}(k), not at `{shown}`",
    )


def is_condition(value: object) -> bool:
    return isinstance(value, bool) or (isinstance(value, Value) and value.expr.is_bool)
