"""Normalisers: softmax, with a sink or without, and weights that are any function of the score."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch

from attnir import real
from attnir.errors import DeclarationError
from attnir.expr import TOKENS, Expr
from attnir.facts import Tensor
from attnir.functions import where
from attnir.trace import trace_real
from attnir.value import Value, fail, is_function, number_argument
from attnir.weighing import OF_ROWS, Weights

Normalizer = Weights | Callable[..., object]
Sink = Tensor | Value | float | Callable[..., object]


def softmax(*, sink: Sink | None = None, landmarks: int | None = None) -> Weights:
    """exp(score), divided by its sum over the row. It is what a pattern has where nothing else is said.

    sink       the score of one more key, whose value is 0, so that a row may look at nothing: a tensor over heads,
               samples and queries, or some of these, which may be learned; a function of `h`, `b` and `q`; or a number
    landmarks  keys of a block, 16, 32, 64 or 128, whose last key is its landmark: at positions landmarks - 1,
               2 * landmarks - 1, and so on. A query attends to the other live keys of its own block, and to the live
               landmarks of others; the weight of a landmark is shared among the live keys of its block by a softmax
               over these. A block whose landmark is not live, or has no live key beside it, weighs nothing

    With a sink, lse holds it as well: lse' = logaddexp(lse, sink). A row without a live key gives 0, and its lse is the
    sink. OpenAI: gpt-oss; Attention Is Off By One, for a sink of 0.

    >>> import attnir as an, torch
    >>> attn = an.compile(an.causal(), normalize=an.softmax(sink=an.tensor("sink", "h")))
    >>> attn
    <Attention sink = tensor(h, dtype=float); k <= q; weights = softmax(sink[h])>
    >>> q = k = v = torch.ones(1, 2, 3, 16)
    >>> attn(q, k, v, sink=torch.tensor([-torch.inf, 4.0]))[0, :, 0, 0]    # the first query sees one key, of score 4
    tensor([1.0000, 0.5000])
    >>> print(an.pattern(an.causal(), normalize=an.softmax(landmarks=64)))    # Landmark Attention
    k <= q; weights = softmax(landmarks=64)

    Mohtashami and Jaggi: Landmark Attention. Random-Access Infinite Context Length for Transformers.

    Raises DeclarationError for a sink that differs from key to key, or is no number, and for other blocks.
    """
    return _checked(Weights(sink=None if sink is None else _sink(sink), landmarks=landmarks))


def weights(value: Callable[..., object], *, divide: bool = False) -> Weights:
    """Weights that are a function of the score `s`, and, when wanted, of `q`, `k`, `b` and `h`, as in a score.

    value    the weight of a live pair; others have none. A function of one argument is one of the score: an.sigmoid
    divide   divide by the sum over the row. It has to be positive; rows where it is not are like dead ones

    Rows of weights that are not divided have no lse. The derivative follows from the expression.

    >>> import attnir as an
    >>> print(an.pattern(an.causal(), normalize=an.weights(lambda s: 1 + s + s * s / 2, divide=True)))
    k <= q; weights = normalized(1.0 + s + s * s / 2.0)
    >>> print(an.pattern(an.full(), normalize=an.relu2))
    True; weights = where(s > 0.0, s * s, 0.0)

    Theory, Analysis, and Best Practices for Sigmoid Self-Attention; Primer: Searching for Efficient Transformers.

    Raises DeclarationError for what is no real number, and the errors of `an.score`.
    """
    traced = trace_real("weight", _of_score(value), {"s": Value(real.SCORE)})
    return _checked(Weights(traced, divided=bool(divide)))


def relu2(x: object) -> Value:
    """max(x, 0) squared; as `normalize=an.relu2`, or inside a score."""
    x = Value(number_argument(x))
    return where(x > 0.0, x * x, 0.0)


def _sink(sink: Sink) -> Expr:
    if isinstance(sink, torch.Tensor):
        fail(DeclarationError, 'declare the sink, an.tensor("sink", "h"), and give its values in the call: sink=tensor')
    if isinstance(sink, Tensor):
        if not set(sink.axes) <= OF_ROWS:
            fail(DeclarationError, f"a sink is a number for each row; the axes of {sink!r} are among b, h and q")
        return trace_real("sink", lambda: sink[tuple(Value(TOKENS[a]) for a in sink.axes)], {})
    function = sink if is_function(sink) else lambda: sink
    return trace_real("sink", function, {})


def _of_score(function: Callable[..., object]) -> Callable[..., object]:
    """The function, of `s` where it has one argument of another name."""
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return function
    if len(names) == 1 and names[0] not in ("s", *TOKENS):
        return lambda s: function(s)
    return function


def _checked(found: Weights) -> Weights:
    if problem := found.problem():
        fail(DeclarationError, problem)
    return found
