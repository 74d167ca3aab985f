"""Facts, which a pattern reads and a call gives: of each token a field, of samples and heads a tensor; parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NoReturn

from attnir import expr as ex
from attnir.errors import DeclarationError, ParamError
from attnir.limits import axes_problem, name_problem, range_problem
from attnir.ops import PARAM_LIMIT, FieldDecl, ParamDecl, TensorDecl
from attnir.value import Value, fail, read_field


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
class PerCopy(Given):
    """An integer for each sample, each head, or both, given at call time. Read it inside a lambda: `kv_len[b]`."""

    decl: TensorDecl

    def __getitem__(self, index: object) -> Value:
        given = index if isinstance(index, tuple) else (index,)
        if [v.expr if isinstance(v, Value) else v for v in given] != [ex.COPIES[a] for a in self.decl.axes]:
            fail(DeclarationError, self.reading)
        return Value(ex.entry(self.decl))

    def __repr__(self) -> str:
        return f"<PerCopy {self.decl.name}[{', '.join(self.decl.axes)}]>"

    def __call__(self, *index: object) -> NoReturn:
        fail(DeclarationError, self.reading)

    @property
    def reading(self) -> str:
        name, axes = self.decl.name, ", ".join(self.decl.axes)
        inside = f"in a lambda with {axes}: an.mask(lambda q, k, {axes}: ...)"
        return f"the tensor `{name}` is read as `{name}[{axes}]`, {inside}"


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


def tensor(name: str, *axes: str) -> PerCopy:
    """A tensor of integers over samples, "b", query heads, "h", or both, given at call time as `name=tensor`.

    Its shape in a call is [B], [Hq] or [B, Hq]. Lengths that differ from sample to sample are an example:

    >>> import attnir as an
    >>> kv_len = an.tensor("kv_len", "b")
    >>> print(an.causal() & an.mask(lambda k, b: k < kv_len[b]))
    kv_len = tensor(b); (k <= q) & (k < kv_len[b])
    """
    if problem := axes_problem(axes):
        fail(DeclarationError, problem)
    return PerCopy(TensorDecl(_name(name), axes))


def param(name: str, *, low: int = -PARAM_LIMIT, high: int = PARAM_LIMIT) -> Value:
    """A run-time integer, given at call time as `name=value`; `low <= value <= high` is checked there.

    A parameter that divides needs a range without zero: `an.param("block", low=1)`.
    """
    if problem := range_problem(_name(name), low, high):
        raise ParamError(problem)
    return Value(ex.param(ParamDecl(name, low, high)))


def _name(name: str) -> str:
    if problem := name_problem(name):
        fail(DeclarationError, problem)
    return name
