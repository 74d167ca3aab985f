"""Patterns: which tokens may look at which. A mask is a predicate over a query token and a key token; masks compose."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NoReturn

from attnir import expr as ex
from attnir.errors import ControlFlowError, DeclarationError, IntegerExpectedError
from attnir.expr import Expr
from attnir.limits import condition_problem, predicate_problem
from attnir.notebook import never_raises, text_and_picture
from attnir.ops import FieldDecl, Op, ParamDecl, SelectionDecl, TensorDecl
from attnir.printing import declarations, format_expr
from attnir.signature import Signature
from attnir.space import NO_SPACES, Space, Spaces, Token, spaces_of
from attnir.trace import trace
from attnir.traverse import fields_of, numbers_of, params_of, reals_of, selections_of, tensors_of
from attnir.value import Value, fail, integer_argument


class Declared(ABC):
    """What is declared over tokens: expressions, how the tokens are arranged, how many heads there have to be."""

    __slots__ = ()

    @property
    @abstractmethod
    def spaces(self) -> Spaces:
        """How the queries, and how the keys are arranged."""

    @property
    @abstractmethod
    def heads(self) -> int | None:
        """How many query heads there have to be; None: any number."""

    @property
    def conditions(self) -> tuple[Expr, ...]:
        """What a call is held to: `a <= b`, over parameters."""
        return ()

    @property
    @abstractmethod
    def roots(self) -> tuple[Expr, ...]:
        """The expressions that are declared."""

    @property
    def fields(self) -> tuple[FieldDecl, ...]:
        """The fields that a call must give."""
        return fields_of(*self.roots)

    @property
    def tensors(self) -> tuple[TensorDecl, ...]:
        """The tensors of integers over samples and heads that a call must give."""
        return tensors_of(*self.roots)

    @property
    def reals(self) -> tuple[TensorDecl, ...]:
        """The real tensors that a call must give."""
        return reals_of(*self.roots)

    @property
    def selections(self) -> tuple[SelectionDecl, ...]:
        """The selections that a call must give."""
        return selections_of(*self.roots)

    @property
    def numbers(self) -> tuple[ParamDecl, ...]:
        """The real parameters that a call must give."""
        return numbers_of(*self.roots)

    @property
    def lengths(self) -> tuple[Expr, ...]:
        """The lengths of the spaces, where there are some."""
        return tuple(space.length for space in self.spaces if space)

    @property
    def params(self) -> tuple[ParamDecl, ...]:
        """The parameters that a call must give."""
        return params_of(*self.roots, *self.lengths, *self.conditions)

    @property
    def signature(self) -> Signature:
        """What a call gives. It is computed here: what binds many calls keeps it."""
        spaces, heads, conditions = self.spaces, self.heads, self.conditions
        return Signature(
            self.fields,
            self.params,
            self.tensors,
            spaces,
            heads,
            conditions,
            self.reals,
            self.numbers,
            self.selections,
        )

    def __str__(self) -> str:
        """The expressions, behind what they need declared; it reads back."""
        names: dict[Expr, str] = {}
        for token, space in zip((ex.Q, ex.K), self.spaces, strict=True):
            axes = space.coordinates(token) if space else {}
            names |= {e: f"{token.value}.{name}" for name, e in axes.items() if e is not token and not e.is_const}
        shown = _declared_spaces(self.spaces) + ([f"h = heads({self.heads})"] if self.heads else [])
        shown += [f"assert {format_expr(condition)}" for condition in self.conditions]
        read = declarations(*self.roots, *self.lengths, *self.conditions)
        return "; ".join([*read, *shown, *self.lines(names)])

    def lines(self, names: Mapping[Expr, str]) -> list[str]:
        """The texts of what is declared, behind all declarations."""
        return [format_expr(root, names) for root in self.roots]

    @never_raises
    def _repr_html_(self) -> str:
        """The text, and a small picture of the mask where it needs no tensors; for notebooks."""
        return text_and_picture(str(self), self.roots[0], self.signature)


@dataclass(frozen=True, slots=True)
class Mask(Declared):
    """A predicate: may query token `q` look at key token `k`? Combine masks with `&`, `|` and `~`.

    >>> import attnir as an
    >>> near = an.mask(lambda q, k: abs(q - k) <= 256)
    >>> print(an.causal() & (near | an.mask(lambda q, k: k < 4)))
    (k <= q) & ((abs(q - k) <= 256) | (k < 4))
    >>> an.parse(str(near)) == near
    True
    """

    predicate: Expr
    spaces: Spaces = NO_SPACES  # how the queries, and how the keys are arranged
    heads: int | None = None  # how many query heads there have to be
    conditions: tuple[Expr, ...] = ()

    def __post_init__(self) -> None:
        problems = [condition_problem(e) for e in self.conditions]
        for problem in (*problems, predicate_problem(self.predicate, *self.lengths, *self.conditions)):
            if problem:
                fail(DeclarationError, problem)

    def __and__(self, other: Mask) -> Mask:
        return Mask(self.predicate & _mask(other), *joined(self, other))

    def __or__(self, other: Mask) -> Mask:
        return Mask(self.predicate | _mask(other), *joined(self, other))

    def __xor__(self, other: Mask) -> Mask:
        return (self & ~other) | (~self & other) if isinstance(other, Mask) else _not_a_mask(other)

    def __invert__(self) -> Mask:
        return replace(self, predicate=~self.predicate)

    def __bool__(self) -> NoReturn:
        fail(ControlFlowError, f"the mask `{self}` has no truth value; combine masks with `&`, `|`, `~`")

    @property
    def roots(self) -> tuple[Expr, ...]:
        return (self.predicate,)

    def __repr__(self) -> str:
        return f"<Mask {self}>"


def _declared_spaces(spaces: Spaces) -> list[str]:
    queries, keys = spaces
    if queries == keys:
        return [f"q, k = {queries}"] if queries else []
    return [f"{token} = {space}" for token, space in (("q", queries), ("k", keys)) if space]


def _mask(mask: object) -> Expr:
    return mask.predicate if isinstance(mask, Mask) else _not_a_mask(mask)


def joined(a: Declared, b: Declared) -> tuple[Spaces, int | None, tuple[Expr, ...]]:
    """The spaces, heads and conditions of two that are combined.

    One that leaves spaces or heads open takes those of the other one; a call is held to the conditions of both.
    """
    if a.heads and b.heads and a.heads != b.heads:
        fail(DeclarationError, f"one mask is for {a.heads} heads, the other for {b.heads}")
    for side, one, two in zip(("queries", "keys"), a.spaces, b.spaces, strict=True):
        if one and two and one != two:
            fail(DeclarationError, f"the masks arrange the {side} differently: {one}, and {two}; use one for both")
    spaces = a.spaces[0] or b.spaces[0], a.spaces[1] or b.spaces[1]
    return spaces, a.heads or b.heads, tuple(dict.fromkeys((*a.conditions, *b.conditions)))


def _not_a_mask(other: object) -> NoReturn:
    if isinstance(other, Declared):
        said = "masks combine with masks; a score, a factor or weights stand beside one, an.pattern(mask, score=...)"
        fail(DeclarationError, f"{said}, and a pattern with them first, `pattern & mask`; here {other!r} comes second")
    fail(DeclarationError, f"masks combine with masks, not with {other!r}; wrap a condition: an.mask(lambda q, k: ...)")


Grid = Space | tuple[Space | None, Space | None] | None  # of queries and keys, or of each


def tokens_on(spaces: Spaces) -> dict[str, Value]:
    """The symbolic tokens of a lambda, with the coordinates that their spaces give."""
    return {n: Token(ex.TOKENS[n], space) for n, space in zip(("q", "k"), spaces, strict=True)}


def mask(function: Callable[..., object], *, grid: Grid = None) -> Mask:
    """The mask that a lambda over `q`, `k` and, when wanted, `b` (batch) and `h` (query head) says.

    Tokens are positions: integers that start at 0. The lambda is traced once, with symbolic tokens. With a `grid`
    (`an.grid`, `an.concat`, or a pair for queries and keys) they have coordinates as well: `q.y`, `k.in_("text")`.

    >>> import attnir as an
    >>> print(an.mask(lambda q, k, h: (q - k) % (h + 1) == 0))
    (q - k) % (h + 1) == 0

    Raises ControlFlowError for `and`, `or`, `if`; IntegerExpectedError for floats; UnknownNameError for other names.
    """
    spaces = spaces_of(grid)
    return Mask(trace(function, tokens_on(spaces)), spaces)


def causal() -> Mask:
    """A query sees the keys up to its own position: k <= q."""
    return Mask(ex.K <= ex.Q)


def full() -> Mask:
    """Every query sees every key."""
    return Mask(ex.TRUE)


_UNBOUNDED = (
    "without a bound on the left, write an.mask(lambda q, k: k <= q + right), or an.causal() for right = 0; "
    "without one on the right, an.mask(lambda q, k: q - k <= left); without both, an.full()"
)


def window(left: int | Value, right: int | Value | None = None) -> Mask:
    """A query sees the keys in [q - left, q + right]; right = left when left out. Bounds may be parameters.

    >>> import attnir as an
    >>> print(an.window(1023, 0))
    (q - k <= 1023) & (k <= q)
    >>> print(an.window(an.param("w"), 0))
    w = param(); (q - k <= w) & (k <= q)

    Raises DeclarationError for constants that leave no key; -1 is an offset here, not the lack of a bound.
    """
    if left is None:
        fail(IntegerExpectedError, f"a window has a bound on the left, not None; {_UNBOUNDED}")
    before = integer_argument(left)
    after = before if right is None else integer_argument(right)
    if before.op is Op.CONST is after.op and before.const + after.const < 0:
        seen = f"a query would see the keys from q - ({before}) to q + ({after}), which are none"
        fail(DeclarationError, f"{seen}; {_UNBOUNDED}")
    right_side = ex.K <= ex.Q if ex.is_int(after, 0) else (ex.K - ex.Q) <= after
    return Mask(((ex.Q - ex.K) <= before) & right_side)


def _window_form(left: Expr, right: Expr | None = None) -> Expr:
    return window(Value(left), None if right is None else Value(right)).predicate


SHORT_FORMS: dict[str, Callable[..., Expr]] = {
    "causal": lambda: causal().predicate,
    "full": lambda: full().predicate,
    "window": _window_form,
}
