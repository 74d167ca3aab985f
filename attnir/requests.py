"""Requests: which statistics of attention a user asks for, by the name of one or with what it is measured by.

A request is text, and the tensors that it brings: a traced call builds no expression.

>>> import attnir as an
>>> [s.name for s in asked_for(["row-entropy", an.waad(8)])]
['row-entropy', 'waad']
>>> an.waad(8).parts
('row: True; score = float(min(abs(q - k), 8))',)
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor

from attnir.asked import Kind
from attnir.errors import StatisticError
from attnir.expr import TRUE
from attnir.masks import Grid, Mask, tokens_on
from attnir.ops import PARAM_LIMIT
from attnir.scores import Pattern
from attnir.signature import Signature
from attnir.space import spaces_of
from attnir.trace import trace_real

GIVEN = "statistic_weight"  # what the tensor that a request brings is called in its text
OF_KEYS = f"{GIVEN} = tensor(b, h, k, dtype=float); True; score = {GIVEN}[b, h, k]"
OF_QUERIES = f"{GIVEN} = tensor(b, h, q, dtype=float); True; score = {GIVEN}[b, h, q]"
DISTANCE = "abs(q - k)"
MATRIX = "probabilities"


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """A tensor that a request brings, [.., Sk] or [.., Sq]; what it is, for messages."""

    what: str
    tensor: Tensor
    side: str  # "k" or "q"
    by_head: bool = True  # whether heads may have their own
    bools: bool = True  # whether bool is taken


@dataclass(frozen=True, slots=True, eq=False)
class Statistic:
    """One statistic that is asked for. Functions such as `an.waad` make them.

    name      of the result
    parts     what is summed up, as lines of text: see `asked.py`
    weight    a tensor that the parts read
    norms     "inside": the parts read the norms of the values; "outside": these multiply the result
    pulls     the gradient of the output, where a part reads it
    reads     the fields, tensors and parameters that the call gives for it
    """

    name: str
    parts: tuple[str, ...]
    weight: Weight | None = None
    norms: str = ""
    pulls: Tensor | None = None
    reads: Signature | None = None  # default instances are nothing that torch traces

    def __repr__(self) -> str:
        return f"<Statistic {self.name}>"


def _part(kind: Kind, value: str = "1.0") -> str:
    return f"{kind.value}: {value if ';' in value else f'True; score = {value}'}"


def _row(name: str, integer: str) -> Statistic:
    return Statistic(name, (_part(Kind.ROW, f"float({integer})"),))


def _whole(name: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= PARAM_LIMIT:
        raise StatisticError(f"{name} is an integer from {least} to {PARAM_LIMIT}, not {value!r}")
    return value


def value_norm_mass(norms: Tensor | None = None) -> Statistic:
    """The length of the values that a row takes in, sum_j P_ij |v_j|: [B, Hq, Sq].

    norms   float [Sk], [B, Sk] or [B, Hq, Sk] to take instead, |W_o v_j| for example

    Attention is Not Only a Weight: Analyzing Transformers with Vector Norms.
    """
    weight = None if norms is None else Weight("norms", norms, "k", bools=False)
    return Statistic("value-norm-mass", (_part(Kind.ROW, OF_KEYS),), weight, norms="" if weight else "inside")


def segment_mass(**masks: Tensor) -> tuple[Statistic, ...]:
    """The probability that a row gives to sets of keys, sum_j P_ij [j in set]: one result [B, Hq, Sq] for each name.

    masks   by name: bool, or float weights, [Sk] or [B, Sk]

    >>> import attnir as an, torch
    >>> q = k = v = torch.randn(1, 2, 100, 16)
    >>> found = an.compile(an.causal()).statistics(q, k, v, [an.segment_mass(sink=torch.arange(100) < 4)])
    >>> found["sink"].shape
    torch.Size([1, 2, 100])

    Raises StatisticError for no mask.
    """
    if not masks:
        raise StatisticError("segment_mass() has no mask; give sets of keys by name: an.segment_mass(image=is_image)")
    part = (_part(Kind.ROW, OF_KEYS),)
    return tuple(
        Statistic(name, part, Weight(f"the mask `{name}`", t, "k", by_head=False)) for name, t in masks.items()
    )


def waad(width: int) -> Statistic:
    """How far a row looks back, each distance capped by a width: sum_j P_ij min(|i - j|, width), [B, Hq, Sq].

    Windowed average attention distance, of Attention Illuminates LLM Reasoning.
    """
    return _row("waad", f"min({DISTANCE}, {_whole('width', width, 1)})")


def received_mass(rows: Tensor | None = None) -> Statistic:
    """The probability that a key receives from all rows, sum_i r_i P_ij: [B, Hq, Sk].

    rows    bool, or float weights r, [Sq], [B, Sq] or [B, Hq, Sq]; 1 where left out
    """
    if rows is None:
        return Statistic("received-mass", (_part(Kind.COLUMN),))
    return Statistic("received-mass", (_part(Kind.COLUMN, OF_QUERIES),), Weight("rows", rows, "q"))


def fai(low: int = 1, high: int | None = None) -> Statistic:
    """How much later rows look at a key: the mean of P_ij over the rows j + low <= i <= j + high that may, [B, Hq, Sk].

    0 where there is no such row. Future attention influence, of Attention Illuminates LLM Reasoning.
    """
    inside = f"(q - k >= {_whole('low', low, -PARAM_LIMIT)})"
    if high is not None:
        inside += f" & (q - k <= {_whole('high', high, low)})"
    value = f"where({inside}, 1.0, 0.0)"
    return Statistic("fai", (_part(Kind.COLUMN, value), _part(Kind.COUNT, value)))


def gradient_received(do: Tensor) -> Statistic:
    """The gradient that the probabilities of a key receive, sum_i P_ij (dO_i . v_j): [B, Hq, Sk]. It has no gradient.

    do      the gradient of the output, [B, Hq, Sq, Dv]
    """
    if not isinstance(do, Tensor):
        raise StatisticError(f"gradient_received takes dO, a tensor [B, Hq, Sq, Dv], not {type(do).__name__}")
    return Statistic("gradient-received", (_part(Kind.PULLED),), pulls=do)


def row_mean(function: Callable[..., object], *, name: str = "row-mean", grid: Grid = None) -> Statistic:
    """The mean of a number of pairs under P, sum_j P_ij f(i, j): [B, Hq, Sq].

    function    of `q`, `k`, `b`, `h`: a real number, as a score is, over positions, fields, tensors and parameters,
                which the call gives beside those of the pattern
    name        of the result

    Make it outside of what torch.compile traces.

    >>> import attnir as an, torch
    >>> doc = an.field("doc")
    >>> same = an.row_mean(lambda q, k: an.where(doc(q) == doc(k), 1.0, 0.0), name="own document")
    >>> q = k = v = torch.randn(1, 2, 4, 16)
    >>> found = an.compile(an.causal()).statistics(q, k, v, [same], doc=torch.tensor([0, 0, 1, 1]))
    >>> found["own document"][0, 0, :2].round(decimals=3).tolist()
    [1.0, 1.0]

    Raises DeclarationError for what is no real number.
    """
    if not isinstance(name, str):
        raise StatisticError(f"the name of a mean is a text, not {name!r}")
    spaces = spaces_of(grid)
    weight = Pattern(Mask(TRUE, spaces), trace_real("weight", function, tokens_on(spaces)))
    return Statistic(name, (_part(Kind.ROW, str(weight)),), reads=weight.signature)


STANDARD = {
    s.name: s
    for s in (
        Statistic("row-entropy", (_part(Kind.ENTROPY),)),
        Statistic("row-mean-logit", (_part(Kind.MEAN),)),
        Statistic("row-max-prob", (_part(Kind.LARGEST),)),
        Statistic("row-argmax", (_part(Kind.ARGMAX),)),
        Statistic("row-collision", (_part(Kind.COLLISION),)),
        value_norm_mass(),
        _row("mean-distance", DISTANCE),
        received_mass(),
        fai(),
        Statistic("pair-norm-received", (_part(Kind.COLUMN),), norms="outside"),
        Statistic(MATRIX, (_part(Kind.MATRIX),)),
    )
}
TOLD = {
    "segment-mass": "an.segment_mass(image=is_image)",
    "waad": "an.waad(width)",
    "gradient-received": "an.gradient_received(do)",
    "row-mean": "an.row_mean(lambda q, k: ...)",
}

Request = str | Statistic | tuple[Statistic, ...]


def asked_for(requests: Request | Iterable[Request]) -> list[Statistic]:
    """The statistics that are asked for, in order.

    Raises StatisticError for one that does not exist, and for one that is asked for twice.
    """
    given: Iterable[object] = requests if isinstance(requests, Iterable) else [requests]
    if isinstance(requests, str | Statistic | Tensor):
        given = [requests]
    found: list[Statistic] = []
    for request in given:
        found += map(_one, request) if isinstance(request, tuple | list) else [_one(request)]
    if not found:
        raise StatisticError(f"no statistic is named; take some of {', '.join((*STANDARD, *TOLD))}")
    names = [s.name for s in found]
    for name in names:
        if names.count(name) > 1:
            raise StatisticError(f"`{name}` is asked for twice; ask once, or give one another name")
    return found


def _one(request: object) -> Statistic:
    if isinstance(request, Statistic):
        return request
    if not isinstance(request, str):
        raise StatisticError(
            f'a statistic is a name, "row-entropy", or made by a function, an.waad(8), not {request!r}'
        )
    if request in STANDARD:
        return STANDARD[request]
    if request in TOLD:
        raise StatisticError(f"`{request}` has to be told more: {TOLD[request]}")
    near = difflib.get_close_matches(request, (*STANDARD, *TOLD), 3, 0.4) or (*STANDARD, *TOLD)
    raise StatisticError(f"there is no statistic {request!r}; did you mean {', '.join(near)}?")
