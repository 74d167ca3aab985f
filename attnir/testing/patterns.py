"""Random patterns: masks over positions or arranged tokens, catalog entries; their scores, normalisers and factors."""

from __future__ import annotations

from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

import attnir as an
from attnir.errors import DeclarationError
from attnir.expr import Expr
from attnir.ops import Op
from attnir.testing.arranged import arranged, neighborhoods
from attnir.testing.drawing import often
from attnir.testing.entries import entries
from attnir.testing.expressions import guarded, scores
from attnir.testing.pieces import positional
from attnir.testing.weighed import factors, normalizers_of
from attnir.traverse import nodes
from attnir.weighing import SOFTMAX

MOST_PRODUCTS = 2  # of a score with itself or another: powers of scores leave what float32 holds

masks = often(positional, positional, positional, arranged(scale=2, given=True), neighborhoods())


@st.composite
def patterns(draw: st.DrawFn) -> an.Pattern:
    """A pattern: a mask of some kind, one of four alone; of the others two of three have a score, now and then one that
    the mask keeps from what is infinite, half of them a normaliser, one of four a factor, half of those of fields.

    >>> from hypothesis import find
    >>> find(patterns(), lambda p: len(p.fields) > 0).fields != ()
    True
    """
    if draw(st.integers(0, 4)) == 4:
        _, base = draw(entries())
    else:
        base = draw(masks)
    declared = an.pattern(base)
    if draw(st.integers(0, 3)) == 3:
        return declared
    if draw(st.integers(0, 7)) == 7:
        condition, score = draw(guarded())
        declared = _with(_with(declared, score=an.Score(score)) & an.Mask(condition))
    elif draw(st.integers(0, 2)):
        declared = _with(declared, score=draw(_changes))
    if draw(st.booleans()) and declared.weights == SOFTMAX:
        declared = _with(declared, normalize=draw(normalizers_of(declared.score)))
    most = 1 if declared.fields else 3
    if draw(st.integers(0, most)) == most:
        declared = _with(declared, factor=draw(factors))
    return declared


def _with(pattern: an.Pattern, **more: Any) -> an.Pattern:
    try:
        return an.pattern(pattern, **more)
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
changes = scores.filter(_few_products).map(an.Score)
_changes = often(changes, changes, counts)
