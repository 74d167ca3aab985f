"""Terms: what statistics sum up over the pairs of a row, or of a column: P times an expression of the score language.

An expression may read tokens, fields, parameters and real tensors as a score does; `s` is the score as the softmax
takes it. Besides it there are what only terms read: P itself, its logarithm, dO . v, and whether
the score is the largest of its row.

>>> from attnir.expr import K, Q, absolute
>>> from attnir.real import of_integer
>>> print(Term(of_integer(absolute(Q - K))))
sum float(abs(q - k))
>>> print(Term(LOG_P))
sum _log_p
"""

from __future__ import annotations

from dataclasses import dataclass

from attnir import expr as ex
from attnir.expr import COPIES, Expr, node
from attnir.ops import Op, TensorDecl
from attnir.traverse import nodes, reads

P = node(Op.SCORE, (), "_p")  # the probability of the pair
LOG_P = node(Op.SCORE, (), "_log_p")  # score - lse: its logarithm, exact where P underflows
PULL = node(Op.SCORE, (), "_dp")  # dO . v, of the pair's query and key
IS_FIRST = node(Op.SCORE, (), "_is_first")  # 1 at the first key with the largest score of its row, else 0
LEAVES = {str(e.value): e for e in (P, LOG_P, PULL, IS_FIRST)}


@dataclass(frozen=True, slots=True)
class Term:
    """A summand of every live pair: P * value; `counted`: the value alone."""

    value: Expr
    counted: bool = False

    @property
    def reads_tokens(self) -> bool:
        """Whether it differs from pair to pair by more than the score."""
        return bool(reads(self.value))

    @property
    def pulls(self) -> bool:
        """Whether it reads dO . v."""
        return any(n is PULL for n in nodes(self.value))

    @property
    def reads_first(self) -> bool:
        """Whether it asks which key of a row has the largest score."""
        return any(n is IS_FIRST for n in nodes(self.value))

    def __str__(self) -> str:
        return f"{'count' if self.counted else 'sum'} {self.value}"


def per(axes: str, name: str) -> Expr:
    """A real tensor with one entry for each token, sample or head that `axes` names: `per("bhq", "g")`."""
    return ex.read(TensorDecl(name, tuple(axes), real=True), [ex.TOKENS[a] for a in axes])


def side_read(n: Expr) -> str | None:
    """Along which tokens, "q" or "k" ("" for neither), a real tensor is read entry by entry; None: in another way."""
    assert isinstance(n.value, TensorDecl)
    plain = all(e is ex.TOKENS.get(axis) for axis, e in zip(n.value.axes, n.args, strict=True))
    tokens = {axis for axis in n.value.axes if axis not in COPIES}
    return "".join(tokens) if plain and len(tokens) < 2 else None
