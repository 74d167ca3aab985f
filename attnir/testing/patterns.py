"""Random patterns: masks over positions, masks over arranged tokens, catalog entries, and scores for any of them."""

from __future__ import annotations

from hypothesis import assume
from hypothesis import strategies as st

import attnir as an
from attnir.errors import DeclarationError
from attnir.expr import Expr
from attnir.ops import Op
from attnir.real import of_integer
from attnir.testing.arranged import arranged
from attnir.testing.entries import entries
from attnir.testing.expressions import scores
from attnir.testing.pieces import positional
from attnir.traverse import nodes

MOST_PRODUCTS = 2  # of a score with itself or another: powers of scores leave what float32 holds

masks = st.one_of(positional, positional, arranged(scale=2, given=True))


@st.composite
def patterns(draw: st.DrawFn) -> an.Pattern:
    """A pattern: a mask of some kind, every second with a score.

    >>> from hypothesis import find
    >>> find(patterns(), lambda p: len(p.fields) > 0).fields != ()
    True
    """
    if draw(st.integers(0, 4)) == 4:
        _, base = draw(entries())
    else:
        base = draw(masks)
    declared = an.pattern(base)
    if draw(st.booleans()):
        return declared
    return _scored(declared, draw(_changes))


def _scored(pattern: an.Pattern, change: an.Score) -> an.Pattern:
    try:
        return an.pattern(pattern, score=change)
    except DeclarationError:  # names or products that do not fit each other
        assume(False)
        raise


def _few_products(e: Expr) -> bool:
    return sum(n.op is Op.REAL_MUL for n in nodes(e)) <= MOST_PRODUCTS


counts = st.sampled_from(
    [
        an.multiplicity(2),
        an.multiplicity(lambda k: an.where(k < 3, 4, 1)),
        an.multiplicity(lambda k: k % 3),
        an.multiplicity(lambda q, k: abs(q - k) + 1),
        an.multiplicity(lambda k, h: (k + h) % 4),
    ]
)
changes = scores.filter(_few_products).map(lambda e: an.Score(e if e.is_real else of_integer(e)))
_changes = st.one_of(changes, changes, counts)
