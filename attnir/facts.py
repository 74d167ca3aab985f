"""Facts, which a pattern reads and a call gives: of each token a field, of samples and heads a tensor; parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NoReturn

from attnir import expr as ex
from attnir.errors import DeclarationError, ParamError
from attnir.limits import axes_problem, name_problem, range_problem, real_axes_problem, selection_axes_problem
from attnir.ops import PARAM_LIMIT, FieldDecl, ParamDecl, SelectionDecl, TensorDecl
from attnir.value import Value, fail, in_score, integer_argument, read_field


class Given(ABC):
    """What a call gives and a lambda reads at tokens, samples or heads; on its own it is no integer."""

    __slots__ = ()

    @property
    @abstractmethod
    def reading(self) -> str:
        """How it is read."""

    def _unread(self, *others: object) -> NoReturn:
        fail(DeclarationError, self.reading)

    __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _unread
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __neg__ = __abs__ = __and__ = __rand__ = _unread
    __or__ = __ror__ = __xor__ = __rxor__ = __invert__ = __bool__ = __iter__ = __index__ = _unread

    __eq__ = __ne__ = _unread  # else one that nobody read would compare as False, and a condition vanish
    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, eq=False)
class Field(Given):
    """A fact about tokens, one integer each, given at call time. Call it with a token inside a lambda."""

    decl: FieldDecl

    def __call__(self, token: object) -> Value:
        return read_field(self.decl, token)

    __getitem__ = Given._unread

    @property
    def reading(self) -> str:
        name = self.decl.name
        return f"the field `{name}` is a fact about a token: read it at one, {name}(q) or {name}(k)"

    def __repr__(self) -> str:
        return f"<Field {self.decl.name}{', sorted' if self.decl.sorted else ''}>"


@dataclass(frozen=True, slots=True, eq=False)
class Tensor(Given):
    """Numbers that a call gives, one for each index. Read it inside a lambda: `kv_len[b]`, `bias[h, q - k]`."""

    name: str
    axes: tuple[str, ...]
    dtype: type | None = None  # what it holds: int, float, or real numbers in scores and integers in masks

    def __getitem__(self, index: object) -> Value:
        given = index if isinstance(index, tuple) else (index,)
        if self.dtype is float or (self.dtype is None and in_score.get()):
            if len(given) != len(self.axes):
                fail(DeclarationError, self.reading)
            return Value(ex.read(TensorDecl(self.name, self.axes, real=True), [integer_argument(v) for v in given]))
        if problem := axes_problem(self.axes):
            fail(DeclarationError, f"outside of a score {problem}; {self.reading}")
        if [v.expr if isinstance(v, Value) else v for v in given] != [ex.COPIES[a] for a in self.axes]:
            fail(DeclarationError, self.reading)
        return Value(ex.entry(TensorDecl(self.name, self.axes)))

    def __repr__(self) -> str:
        return f"<Tensor {self.name}[{', '.join(self.axes)}]>"

    def __call__(self, *index: object) -> NoReturn:
        fail(DeclarationError, self.reading)

    @property
    def reading(self) -> str:
        axes = ", ".join(self.axes)
        if axes_problem(self.axes):
            return (
                f"the tensor `{self.name}` is read in a score, with one integer per axis: `{self.name}[{axes or '()'}]`"
            )
        inside = f"in a lambda with {axes}: an.mask(lambda q, k, {axes}: ...)"
        return f"the tensor `{self.name}` is read as `{self.name}[{axes}]`, {inside}"


@dataclass(frozen=True, slots=True, eq=False)
class Selection(Given):
    """Lists that a call gives. Call it with the number of a list and a member: `picks(q // 64, k // 64)`."""

    decl: SelectionDecl

    def __call__(self, at: object, member: object) -> Value:
        return Value(ex.rank(self.decl, integer_argument(at), integer_argument(member)))

    __getitem__ = Given._unread

    @property
    def reading(self) -> str:
        name = self.decl.name
        return (
            f"the selection `{name}` gives the place of a member in a list, from 1, or 0: {name}(q // 64, k // 64) > 0"
        )

    def __repr__(self) -> str:
        return f"<Selection {self.decl.name}{list(self.decl.axes)}>"


def field(name: str, *, sorted: bool = False) -> Field:
    """A named fact about tokens: one integer per token, given at call time as `name=tensor`.

    `sorted=True` promises that it never decreases along the sequence, and ranges follow from it. The promise is tested
    at every call on a CPU, and with `an.compile(..., check=True)` on a GPU, which has to be waited for.

    >>> import attnir as an
    >>> doc = an.field("doc", sorted=True)
    >>> print(an.mask(lambda q, k: doc(q) == doc(k)))
    doc = field(sorted=True); doc(q) == doc(k)
    """
    return Field(FieldDecl(_name(name), bool(sorted)))


def tensor(name: str, *axes: str, dtype: type | None = None) -> Tensor:
    """A tensor that masks or scores read, given at call time as `name=tensor`.

    In a mask it holds integers over samples, "b", query heads, "h", or both: its shape in a call is [B], [Hq] or
    [B, Hq], and it is read as `name[b]`, `name[h]` or `name[b, h]`. Lengths that differ from sample to sample:

    >>> import attnir as an
    >>> kv_len = an.tensor("kv_len", "b")
    >>> print(an.causal() & an.mask(lambda k, b: k < kv_len[b]))
    kv_len = tensor(b); (k <= q) & (k < kv_len[b])

    In a score it holds real numbers, float16 to float64, which may need gradients. It has any axes, none
    included, and is read at an integer for each: `bias[h, q - k + 64]`. Outside of the tensor it is 0. Axes named
    "b", "h", "q" and "k" are as long as the call says, or 1 for all alike, and "q" counts from the call's first query;
    any other axis is as long as the tensor that is given. With `dtype=int` a score reads integers, as a mask does.

    >>> slopes = an.tensor("slopes", "h")
    >>> print(an.pattern(an.causal(), score=an.score(lambda s, q, k, h: s + slopes[h] * (k - q))))
    slopes = tensor(h, dtype=float); k <= q; score = s + slopes[h] * (k - q)
    """
    if dtype not in (None, int, float):
        fail(DeclarationError, f"a tensor holds int or float, not {dtype!r}")
    if problem := axes_problem(axes) if dtype is int else real_axes_problem(axes):
        fail(DeclarationError, problem)
    return Tensor(_name(name), axes, dtype)


def selection(name: str, *axes: str) -> Selection:
    """Lists of integers, given at call time as `name=tensor`: which units of keys each unit of queries has chosen.

    In a lambda `name(i, m)` is the place of m in list i, counted from 1, and 0 where it is not in it. A call gives
    integers [lists, places], or with axes "b" and "h", which say that samples and query heads have lists of their own,
    [B, lists, places], [Hq, lists, places] or [B, Hq, lists, places]. A member below 0 is none, so lists may be shorter
    than the tensor is wide; one that stands there twice counts once, at its first place; a list that is not there is
    empty. Blocks of 64 keys, chosen for each block of 64 queries:

    >>> import attnir as an, torch
    >>> picks = an.selection("picks", "h")
    >>> pattern = an.causal() & an.mask(lambda q, k: picks(q // 64, k // 64) > 0)
    >>> print(pattern)
    picks = selection(h); (k <= q) & (picks(q // 64, k // 64) > 0)
    >>> q = k = v = torch.randn(1, 2, 256, 16)
    >>> chosen = torch.tensor([[[0, -1], [1, 0], [2, 0], [3, 1]]]).expand(2, -1, -1)
    >>> an.compile(pattern)(q, k, v, picks=chosen).shape
    torch.Size([1, 2, 256, 16])

    Only tiles of listed blocks are visited where a tile lies within its block: no table of all blocks is made.
    """
    if problem := selection_axes_problem(axes):
        fail(DeclarationError, problem)
    return Selection(SelectionDecl(_name(name), axes))


def param(name: str, *, low: int = -PARAM_LIMIT, high: int = PARAM_LIMIT, dtype: type = int) -> Value:
    """A run-time integer, given at call time as `name=value`; `low <= value <= high` is checked there.

    A parameter that divides needs a range without zero: `an.param("block", low=1)`. With `dtype=float` it is a real
    number, for scores, without a range:

    >>> import attnir as an
    >>> cap = an.param("cap", dtype=float)
    >>> attn = an.compile(an.causal(), score=an.score(lambda s: cap * an.tanh(s / cap)))      # attn(q, k, v, cap=30.0)
    """
    if dtype not in (int, float):
        fail(DeclarationError, f"a parameter is an int or a float, not {dtype!r}")
    if problem := range_problem(_name(name), low, high):
        raise ParamError(problem)
    if dtype is int:
        return Value(ex.param(ParamDecl(name, low, high)))
    if (low, high) != (-PARAM_LIMIT, PARAM_LIMIT):
        raise ParamError(f"the real parameter `{name}` has no range; leave low and high out")
    return Value(ex.number(ParamDecl(name, real=True)))


def _name(name: str) -> str:
    if problem := name_problem(name):
        fail(DeclarationError, problem)
    return name
