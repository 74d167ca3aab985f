"""Statistics of attention: what a call of `Attention.statistics` gives, made of what the tiles sum up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from attnir.asked import OF_SOFTMAX, Kind
from attnir.codegen.statistics_operator import measure
from attnir.errors import DeclarationError, DeviceError, StatisticError, UnknownBindingError
from attnir.heads import maps_of, spread
from attnir.inputs import autocast, check_inputs, check_transforms, factor_of
from attnir.ops import FieldDecl, ParamDecl, SelectionDecl, TensorDecl
from attnir.requests import GIVEN, MATRIX, Request, Statistic, Weight, asked_for
from attnir.routed import with_lists
from attnir.signature import REAL_DTYPES, Signature
from attnir.weighing import Weights

if TYPE_CHECKING:
    from attnir.api import Attention

MOST_ENTRIES = 2**24  # of P, where it is asked for itself


def statistics(
    self: Attention,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    requests: Request | Iterable[Request],
    *,
    scale: float | None = None,
    q_start: int | None = None,
    **bindings: object,
) -> dict[str, Tensor]:
    """Statistics of the probabilities P [B, Hq, Sq, Sk] of an attention, which are never stored; by name, float32.

    q, k, v         as in a call, and so are scale, q_start and bindings
    requests        what is asked for, names or what functions make, any number at once, which share their walks:

    of each row, [B, Hq, Sq]:
    "row-entropy"           -sum_j P_ij log P_ij, and the same of the sink's probability, where there is one
    "row-mean-logit"        sum_j P_ij score_ij
    "row-max-prob"          the largest P_ij; "row-argmax": its key, int64, the first of equal ones, else -1
    "row-collision"         sum_j P_ij ** 2
    "value-norm-mass"       sum_j P_ij |v_j|; an.value_norm_mass(norms)
    "mean-distance"         sum_j P_ij |i - j|; an.waad(width) caps it
    an.segment_mass(...)    the probability of sets of keys; an.row_mean(...): the mean of any number of pairs

    of each column, [B, Hq, Sk]:
    "received-mass"         sum_i P_ij; an.received_mass(rows) weighs the rows
    "fai"                   the mean of P_ij over later rows that may see it; an.fai(low, high)
    "pair-norm-received"    sum_i P_ij |v_j|
    an.gradient_received(do)  sum_i P_ij (dO_i . v_j)

    "probabilities"         P itself, [B, Hq, Sq, Sk], for small calls

    Of weights that are no softmax P is the weight of a pair, divided or not, before its factor; entropy, the mean logit
    and the largest probability are softmax's alone.

    Each query head has its own; a row without a live key gives 0. All are differentiable in q, k and v and in the
    tensors that they or a score read, but for "row-argmax" and an.gradient_received.

    >>> import attnir as an, torch
    >>> q = k = v = torch.zeros(1, 1, 4, 8)
    >>> found = an.compile(an.causal()).statistics(q, k, v, ["row-max-prob", "received-mass"])
    >>> found["row-max-prob"].tolist()
    [[[1.0, 0.5, 0.3333333432674408, 0.25]]]
    >>> (12 * found["received-mass"]).round().tolist()
    [[[25.0, 13.0, 7.0, 3.0]]]

    Raises StatisticError for what does not exist, is asked for twice, or does not fit.
    """
    found = asked_for(requests)
    _check_weights(self.pattern.weights, found)
    q, k, v = autocast(q, k, v)
    check_inputs(q, k, v, self.plan.heads)
    check_transforms(q, k, v, *bindings.values())
    text, keys, maps = self.text, k, maps_of(self.plan.heads, q.shape[1], k.shape[1], v.shape[1])
    if maps is not None:  # in float32, as the gradients of heads that are one are summed before they are rounded
        text, q = replace(self.plan, heads=None).text(), q.float()
        k, v = spread(k.float(), maps.k), spread(v.float(), maps.v)
    measured = _Measured.of(self.signature, found, q, k, v)
    check_transforms(*measured.pulling, *measured.weights.values())
    if unknown := sorted(measured.weights.keys() & bindings.keys()):
        raise UnknownBindingError(f"`{unknown[0]}` given, but it is made of a request; leave it out")
    start = self.signature.start(q_start, q.shape[2], k.shape[2])
    chosen = with_lists(self.routes, q, keys, start, self.plan.heads, bindings, measured.signature.names)
    call = measured.signature.bind(
        {**chosen, **measured.weights},
        batch=q.shape[0],
        heads=q.shape[1],
        q_len=q.shape[2],
        k_len=k.shape[2],
        q_start=q_start,
        device=q.device,
    )
    given, factor = measured.signature.flat(call), factor_of(scale, q.shape[-1])
    results = measure(q, k, measured.pulling, *given, text, measured.text, factor, call.q_start)
    return measured.named(results)


def _check_weights(weights: Weights, asked: Sequence[Statistic]) -> None:
    """Raise StatisticError for statistics that such weights do not have."""
    if weights.landmarks is not None:
        raise StatisticError(
            f"statistics are of weights that follow from a row's scores in one step; landmarks share theirs: "
            f"{weights.lines()[0]}"
        )
    for s in () if weights.is_softmax else asked:
        if any(Kind(part.split(": ")[0]) in OF_SOFTMAX for part in s.parts):
            raise StatisticError(
                f"`{s.name}` is of softmax's probabilities; of {weights.lines()[0]} there are sums and masses: "
                "segment-mass, received-mass, mean-distance, an.row_mean(...)"
            )


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """The parts of all that is asked for, as text, and what they read: of the call, and of the requests."""

    asked: tuple[Statistic, ...]
    text: str
    signature: Signature
    weights: dict[str, Tensor]
    pulling: list[Tensor]
    norms: Tensor | None

    @staticmethod
    def of(signature: Signature, asked: Sequence[Statistic], q: Tensor, k: Tensor, v: Tensor) -> _Measured:
        lines: list[str] = []
        weights: dict[str, Tensor] = {}
        pulling: list[Tensor] = []
        norms = None
        for s in asked:
            signature = signature if s.reads is None else _joined(signature, s.reads, s.name)
            if s.norms and norms is None:
                norms = torch.linalg.vector_norm(v.float(), dim=-1).repeat_interleave(q.shape[1] // v.shape[1], 1)
            weight = norms if s.norms == "inside" else None if s.weight is None else _weight(s.weight, q, k)
            name = f"{GIVEN}_{len(weights)}"
            while name in signature.names:
                name += "_"
            if weight is not None:
                side = "k" if s.weight is None else s.weight.side
                weights[name] = weight
                signature = _joined(
                    signature, Signature(reals=(TensorDecl(name, ("b", "h", side), real=True),)), s.name
                )
            if s.pulls is not None:
                pulling = [v.detach(), _pulling(s.pulls, q, v)]
            if s.name == MATRIX and q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2] > MOST_ENTRIES:
                raise StatisticError(
                    f"`{MATRIX}` of shape {[*q.shape[:3], k.shape[2]]} have more than 2**24 entries; give fewer "
                    "queries, with q_start, or take a statistic that stores no matrix"
                )
            lines += s.parts if weight is None else [part.replace(GIVEN, name) for part in s.parts]
        return _Measured(tuple(asked), "\n".join(lines), signature, weights, pulling, norms)

    def named(self, results: Sequence[Tensor]) -> dict[str, Tensor]:
        """The statistics by name, of the results of all parts."""
        found, at = {}, 0
        for s in self.asked:
            result = results[at]
            if len(s.parts) == 2:  # a sum, and of how many rows
                result = result / results[at + 1].clamp(min=1.0)
            if s.norms == "outside" and self.norms is not None:
                result = result * self.norms
            found[s.name] = result
            at += len(s.parts)
        return found


def _joined(a: Signature, b: Signature, name: str) -> Signature:
    """What two signatures read, each once, by name."""
    parts = [
        {d.name: d for d in (*own, *more)}
        for own, more in (
            (a.fields, b.fields),
            (a.params, b.params),
            (a.tensors, b.tensors),
            (a.reals, b.reals),
            (a.numbers, b.numbers),
            (a.selections, b.selections),
        )
    ]
    fields, params, tensors, reals, numbers, selections = (tuple(found[n] for n in sorted(found)) for found in parts)
    if any(a.spaces) and any(b.spaces) and a.spaces != b.spaces:
        raise DeclarationError(f"`{name}` is on {b.spaces[0]}, and the pattern, or another statistic, on {a.spaces[0]}")
    spaces = a.spaces if any(a.spaces) else b.spaces
    conditions = tuple(dict.fromkeys((*a.conditions, *b.conditions)))
    joined = replace(
        a,
        fields=fields,
        params=params,
        tensors=tensors,
        reals=reals,
        numbers=numbers,
        selections=selections,
        spaces=spaces,
        conditions=conditions,
    )
    names = joined.names
    for n in b.names:
        if names.count(n) > 1 or (n in a.names and _declared(a, n) != _declared(b, n)):
            raise DeclarationError(
                f"`{n}` is one thing in the pattern, or in another statistic, and another in `{name}`; rename one"
            )
    return joined


def _declared(signature: Signature, name: str) -> object:
    every: tuple[tuple[FieldDecl | ParamDecl | TensorDecl | SelectionDecl, ...], ...] = (
        signature.fields,
        signature.params,
        signature.tensors,
        signature.reals,
        signature.numbers,
        signature.selections,
    )
    return next(d for decls in every for d in decls if d.name == name)


def _weight(weight: Weight, q: Tensor, k: Tensor) -> Tensor:
    """A tensor that a request brings, float32 [B or 1, Hq or 1, S]."""
    t = weight.tensor
    length = k.shape[2] if weight.side == "k" else q.shape[2]
    shapes: list[tuple[int, ...]] = [(length,), (q.shape[0], length)]
    if weight.by_head:
        shapes.append((q.shape[0], q.shape[1], length))
    allowed = " or ".join(str(list(shape)) for shape in shapes)
    if not isinstance(t, Tensor):
        raise StatisticError(f"{weight.what}: a tensor of shape {allowed}, not {type(t).__name__}")
    dense = t.layout is torch.strided
    if not dense or (t.dtype not in REAL_DTYPES and not (t.dtype is torch.bool and weight.bools)):
        given = t.dtype if dense else t.layout
        raise StatisticError(f"{weight.what}: {'bool or ' * weight.bools}real numbers in a dense tensor, not {given}")
    if tuple(t.shape) not in shapes:
        raise StatisticError(f"{weight.what}: shape {allowed}, not {list(t.shape)}")
    if t.device != q.device:
        raise DeviceError(f"{weight.what} is on {t.device}, q on {q.device}; move one of them")
    t = t.float()
    return t[None, None] if t.dim() == 1 else t[:, None] if t.dim() == 2 else t


def _pulling(do: Tensor, q: Tensor, v: Tensor) -> Tensor:
    """The gradient of the output, in q's dtype."""
    shape = (*q.shape[:3], v.shape[3])
    if do.shape != shape or not do.is_floating_point() or do.layout is not torch.strided:
        given = f"{do.dtype} {list(do.shape)}{'' if do.layout is torch.strided else f', {do.layout}'}"
        raise StatisticError(f"gradient_received takes dO, dense real numbers {list(shape)}, not {given}")
    if do.device != q.device:
        raise DeviceError(f"dO is on {do.device}, q on {q.device}; move one of them")
    do = do.detach().to(q.dtype)
    return do if do.stride(-1) == 1 else do.contiguous()
