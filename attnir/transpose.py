"""Transposing: queries and keys change places, in what a pattern says of them."""

from __future__ import annotations

from dataclasses import replace

from attnir.errors import DeclarationError
from attnir.expr import Expr, K, Q, build, node
from attnir.masks import Mask
from attnir.ops import Op, TensorDecl
from attnir.scores import Pattern
from attnir.traverse import nodes
from attnir.value import fail
from attnir.weighing import SOFTMAX

_OTHER_AXIS = {"q": "k", "k": "q"}
_OTHER_TOKEN = {Q: K, K: Q}


def transpose(pattern: Mask | Pattern) -> Mask | Pattern:
    """The pattern in which keys look at queries: a call of it takes k for q, and q for k, from position 0 on.

    Its lse is that of each key over the queries that see it, which a softmax over columns divides by. Tensors of scores
    stay as they are. Pairs of values that a call gives for a field, (for queries, for keys), change places.

    >>> import attnir as an
    >>> print(an.transpose(an.causal() & an.mask(lambda q, k: q - k < 9)))
    (q <= k) & (k - q < 9)

    Raises DeclarationError for weights that are not softmax's: rows, not columns, have their sums and sinks.
    """
    if not isinstance(pattern, Mask | Pattern):
        fail(DeclarationError, f"a pattern is a mask, not {pattern!r}; declare one: an.mask(lambda q, k: ...)")
    if isinstance(pattern, Mask):
        return _mask(pattern)
    if pattern.weights != SOFTMAX:
        fail(DeclarationError, "sums, sinks and factors belong to rows; transpose the mask and its scores alone")
    return Pattern(_mask(pattern.mask), _turned(pattern.score))


def _mask(mask: Mask) -> Mask:
    return replace(mask, predicate=_turned(mask.predicate), spaces=mask.spaces[::-1])


def _turned(e: Expr) -> Expr:
    done: dict[Expr, Expr] = {}
    for n in nodes(e):
        args, value = tuple(done[a] for a in n.args), n.value
        if isinstance(value, TensorDecl):
            value = replace(value, axes=tuple(_OTHER_AXIS.get(a, a) for a in value.axes))
        done[n] = (
            _OTHER_TOKEN[n]
            if n in _OTHER_TOKEN
            else (node(n.op, args, value) if n.op is Op.READ else build(n.op, args, value))
        )
    return done[e]
