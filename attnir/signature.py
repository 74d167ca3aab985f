"""What a call gives for a pattern: sizes, fields, tensors and parameters, each checked, and then bound."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import SupportsIndex, cast

import torch
from torch import Tensor

from attnir.call import Call, FieldValues
from attnir.errors import (
    DeviceError,
    FieldError,
    HeadsError,
    MissingBindingError,
    ParamError,
    SelectionError,
    ShapeError,
    TensorError,
    UnknownBindingError,
)
from attnir.expr import Expr
from attnir.inputs import traced_or_float
from attnir.ops import (
    COPIES_LIMIT,
    LISTED_LIMIT,
    POSITION_LIMIT,
    REAL_LIMIT,
    FieldDecl,
    Op,
    ParamDecl,
    SelectionDecl,
    TensorDecl,
)
from attnir.promises import check_sorted
from attnir.space import NO_SPACES, Spaces
from attnir.traverse import params_of

REAL_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
_FIELD_DTYPES = (torch.int32, torch.int64, torch.int16, torch.int8, torch.uint8, torch.bool)


@dataclass(frozen=True, slots=True)
class Signature:
    """What a call gives for a pattern, and what has to fit it. It is kept, so that a call builds no expression."""

    fields: tuple[FieldDecl, ...] = ()
    params: tuple[ParamDecl, ...] = ()
    tensors: tuple[TensorDecl, ...] = ()
    spaces: Spaces = NO_SPACES
    heads: int | None = None  # how many heads the pattern has masks for; None: any number
    conditions: tuple[Expr, ...] = ()  # on the parameters, `a <= b`
    reals: tuple[TensorDecl, ...] = ()
    numbers: tuple[ParamDecl, ...] = ()
    selections: tuple[SelectionDecl, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What a call gives by name."""
        tensors, params = (*self.tensors, *self.reals), (*self.params, *self.numbers)
        chosen = (s.name for s in self.selections)
        return (*(f.name for f in self.fields), *(t.name for t in tensors), *chosen, *(p.name for p in params))

    def of_tiles(self, bindings: Mapping[str, object], mask: Signature) -> Signature:
        """The same without what is not given, and the mask does not read: tiles are the same without it."""
        kept = {*bindings, *mask.names}
        return replace(
            self,
            fields=tuple(f for f in self.fields if f.name in kept),
            params=tuple(p for p in self.params if p.name in kept),
            tensors=tuple(t for t in self.tensors if t.name in kept),
            reals=tuple(t for t in self.reals if t.name in kept),
            numbers=tuple(p for p in self.numbers if p.name in kept),
            selections=tuple(s for s in self.selections if s.name in kept),
        )

    def flat(self, call: Call) -> tuple[list[Tensor], list[Tensor], list[int], list[float]]:
        """What is bound, as operators take it: real tensors; of each field its values for the queries and the keys,
        then tensors of integers and selections; parameters; real ones.
        """
        fields = [t for name in sorted(call.fields) for t in (call.fields[name].queries, call.fields[name].keys)]
        fields += [call.tensors[t.name] for t in self.tensors] + [call.selections[s.name] for s in self.selections]
        params, numbers = [call.params[p.name] for p in self.params], [call.numbers[p.name] for p in self.numbers]
        return [call.reals[t.name] for t in self.reals], fields, params, numbers

    def bind(
        self,
        bindings: Mapping[str, object],
        *,
        batch: int,
        heads: int,
        q_len: int,
        k_len: int | None = None,
        q_start: int | None = None,
        device: torch.device | str = "cpu",
        check: bool = False,
    ) -> Call:
        """Check the sizes of a call and what a user gave for fields, tensors and parameters, and bind them.

        Where k_len is left out there are as many keys as queries.

        Raises MissingBindingError, UnknownBindingError, FieldError, NotSortedError (with `check`), ParamError,
        TensorError, SelectionError, ShapeError.
        """
        device, k_len = torch.device(device), q_len if k_len is None else k_len
        for name, size in (("q_len", q_len), ("k_len", k_len), ("batch", batch), ("heads", heads)):
            if isinstance(size, bool) or not isinstance(size, int | torch.SymInt) or size < 0:
                raise ShapeError(f"{name} is an integer from 0, not {size!r}")
        if max(batch, heads) > COPIES_LIMIT:
            raise ShapeError(f"at most 2**20 samples and 2**20 heads, not {batch} and {heads}; split the batch")
        if self.heads is not None and heads != self.heads:
            raise HeadsError(f"the pattern has masks for {self.heads} query heads, but there are {heads}")
        self._check_names(bindings)
        scalars = {p.name: _param(p, bindings[p.name]) for p in self.params}
        for condition in self.conditions:
            _check_condition(condition, scalars)
        start = self.start(q_start, q_len, k_len)
        whole = q_start is None and (self.is_apart or start == 0)
        _check_lengths(self.spaces, scalars, None if whole else start, q_len, k_len)
        values = {d.name: _field(d, bindings[d.name], batch, q_len, k_len, start, device) for d in self.fields}
        if check:
            for d in self.fields:
                check_sorted(d, values[d.name])
        copies = {t.name: _per_copy(t, bindings[t.name], batch, heads, device) for t in self.tensors}
        chosen = {s.name: selection(s, bindings[s.name], batch, heads, device) for s in self.selections}
        call = Call(batch, heads, q_len, k_len, start, values, scalars, device, copies, selections=chosen)
        reals = {t.name: _real(t, bindings[t.name], call.lengths, device) for t in self.reals}
        return replace(call, reals=reals, numbers={p.name: _number(p, bindings[p.name]) for p in self.numbers})

    @property
    def is_apart(self) -> bool:
        """Whether the queries have an arrangement of their own, whose first one stands at 0."""
        queries, keys = self.spaces
        return queries is not None and queries != keys

    def start(self, q_start: int | None, q_len: int, k_len: int) -> int:
        """The first query's position in a call."""
        return first_position(0 if self.is_apart and q_start is None else q_start, q_len, k_len)

    def _check_names(self, bindings: Mapping[str, object]) -> None:
        """Raise unless just what the pattern reads is given."""
        known = list(self.names)
        if unknown := sorted(set(bindings) - set(known)):
            raise UnknownBindingError(
                f"`{', '.join(unknown)}` given, but the pattern reads {_listed(known)}; "
                "check the spelling or leave it out"
            )
        if missing := [name for name in known if name not in bindings]:
            raise MissingBindingError(f"the pattern reads {_listed(missing)}; give {missing[0]}=... in the call")


def first_position(q_start: int | None, q_len: int, k_len: int) -> int:
    """The first query's position: as given, else such that the last query is the last key, else 0."""
    try:
        start = max(0, k_len - q_len) if q_start is None else _index(q_start)
    except TypeError:
        raise ShapeError(f"q_start, the position of the first query, is an integer, not {q_start!r}") from None
    if start < 0 or start + q_len > POSITION_LIMIT or k_len > POSITION_LIMIT:
        raise ShapeError(f"positions lie in [0, 2**28); q_start={start}, {q_len} queries and {k_len} keys leave it")
    return start


def _check_lengths(spaces: Spaces, params: Mapping[str, int], start: int | None, q_len: int, k_len: int) -> None:
    """Raise ShapeError unless the tokens fill their arrangement; queries from a `start` on may be some of it."""
    queries, keys = (None if space is None else value_of(space.length, params) for space in spaces)
    if keys is not None and k_len != keys:
        raise ShapeError(f"there are {k_len} keys, but the pattern arranges {keys}: {spaces[1]}")
    if queries is not None and (q_len != queries if start is None else start + q_len > queries):
        placed = f"{q_len} queries" + (f" from position {start}" if start else "")
        raise ShapeError(f"there are {placed}, but the pattern arranges {queries}: {spaces[0]}")


def _check_condition(condition: Expr, params: Mapping[str, int]) -> None:
    """Raise ParamError unless `a <= b` holds."""
    a, b = (value_of(x, params) for x in condition.args)
    if a > b:
        given = ", ".join(f"`{p.name}` = {params[p.name]}" for p in params_of(condition))
        raise ParamError(f"{given}: the pattern asks that `{condition}`, but {a} is more than {b}")


def value_of(e: Expr, params: Mapping[str, int]) -> int:
    """The value of a sum of products of constants and parameters."""
    if isinstance(e.value, ParamDecl):
        return params[e.value.name]
    if e.op is Op.CONST:
        return e.const
    a, b = (value_of(x, params) for x in e.args)
    return a + b if e.op is Op.ADD else a * b


def _index(value: object) -> int:
    """The integer that is given; one that torch traces stays symbolic, so that a graph serves every value."""
    if isinstance(value, int | torch.SymInt) and not isinstance(value, bool):
        return cast(int, value)  # which a SymInt stands for
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise TypeError
    return operator.index(value)


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{n}`" for n in names) or "no field and no parameter"


def _param(decl: ParamDecl, value: object) -> int:
    try:
        number = _index(value)
    except TypeError:
        raise ParamError(f"the parameter `{decl.name}` is an integer, not {value!r}") from None
    if not decl.low <= number <= decl.high:
        raise ParamError(f"the parameter `{decl.name}` = {number} lies outside [{decl.low}, {decl.high}]")
    return number


def _number(decl: ParamDecl, value: object) -> float:
    real = isinstance(value, Real | torch.SymFloat) and not isinstance(value, bool)
    if not real or not abs(cast(float, value)) <= REAL_LIMIT:
        advice = f"; one that is learned is a tensor: an.tensor({decl.name!r})" if isinstance(value, Tensor) else ""
        raise ParamError(
            f"the parameter `{decl.name}` is a finite real number of at most 1e12, not {_shown(value)}{advice}"
        )
    return traced_or_float(value)


def _shown(value: object) -> str:
    return "a tensor" if isinstance(value, Tensor) else repr(value)


WORDS = {"b": "samples", "h": "query heads", "q": "queries", "k": "keys"}


def _real(decl: TensorDecl, given: object, sizes: Mapping[str, int], device: torch.device) -> Tensor:
    """A real tensor, whose axes that are named as tokens have the sizes of the call, or 1."""
    if not isinstance(given, Tensor) or given.dtype not in REAL_DTYPES or given.layout is not torch.strided:
        shown = f"{given.layout} of {given.dtype}" if isinstance(given, Tensor) else type(given).__name__
        shown = shown.removeprefix("torch.strided of ")
        advice = f"; for integers declare it so: an.tensor({decl.name!r}, ..., dtype=int)" * isinstance(given, Tensor)
        raise TensorError(f"the tensor `{decl.name}` is a dense tensor of real numbers in a score, not {shown}{advice}")
    if given.device != device:
        raise DeviceError(f"the tensor `{decl.name}` is on {given.device}, q on {device}; move one of them")
    if given.dim() != len(decl.axes):
        axes = ", ".join(decl.axes)
        raise TensorError(f"the tensor `{decl.name}` has axes [{axes}], but shape {list(given.shape)}")
    for axis, size in zip(decl.axes, given.shape, strict=True):
        if axis in sizes and size not in (1, sizes[axis]):
            raise TensorError(
                f"the tensor `{decl.name}` has {size} {WORDS[axis]} along its axis `{axis}`; there are {sizes[axis]} "
                "(1 stands for all)"
            )
        if size == 0 and sizes.get(axis) != 0:
            raise TensorError(f"the tensor `{decl.name}` is empty along its axis `{axis}`")
    return given


def _per_copy(decl: TensorDecl, given: object, batch: int, heads: int, device: torch.device) -> Tensor:
    """The values of a tensor over samples and heads, [B or 1, H or 1]."""
    sizes = {"b": batch, "h": heads}
    wide = _integers(f"the tensor `{decl.name}`", given, device)
    shape = [sizes[a] for a in decl.axes]
    if list(wide.shape) != shape:
        over = " and ".join(f"{sizes[a]} {WORDS[a]}" for a in decl.axes)
        raise FieldError(f"the tensor `{decl.name}` over {over} has shape {shape}, not {list(wide.shape)}")
    return wide.view([sizes[a] if a in decl.axes else 1 for a in sizes])


def selection(decl: SelectionDecl, given: object, batch: int, heads: int, device: torch.device) -> Tensor:
    """The lists of a selection, int32 [B or 1, H or 1, lists, places]; where there are none, one that is empty."""
    sizes = {"b": batch, "h": heads}
    found = _integers(f"the selection `{decl.name}`", given, device)
    if isinstance(given, Tensor) and given.dtype is torch.bool:
        raise SelectionError(
            f"the selection `{decl.name}` has lists of members, -1 for none, not a mask; an.pack makes lists of bits"
        )
    shape = [sizes[a] for a in decl.axes]
    if found.dim() != len(shape) + 2 or list(found.shape[:-2]) != shape:
        words = ", ".join([*(f"{sizes[a]} {WORDS[a]}" for a in decl.axes), "lists", "places"])
        raise SelectionError(f"the selection `{decl.name}` has shape [{words}], not {list(found.shape)}")
    if max(found.shape[-2:]) > LISTED_LIMIT:
        raise SelectionError(f"the selection `{decl.name}` has at most 2**20 lists of 2**20 places each")
    found = found.view(*(sizes[a] if a in decl.axes else 1 for a in sizes), *found.shape[-2:])
    if 0 in found.shape[-2:]:
        return torch.full((*found.shape[:2], 1, 1), -1, dtype=torch.int32, device=device)
    return found.clamp(-1, torch.iinfo(torch.int32).max).to(torch.int32)


def _integers(name: str, given: object, device: torch.device) -> Tensor:
    """A dense tensor of integers on the device, as int32 or int64."""
    if not isinstance(given, Tensor) or given.dtype not in _FIELD_DTYPES or given.layout is not torch.strided:
        shown = f"{given.layout} of {given.dtype}" if isinstance(given, Tensor) else type(given).__name__
        raise FieldError(f"{name} is a dense tensor of integers, not {shown.removeprefix('torch.strided of ')}")
    if given.device != device:
        raise DeviceError(f"{name} is on {given.device}, q on {device}; move one of them")
    return given if given.dtype in (torch.int32, torch.int64) else given.to(torch.int32)


def _field(
    decl: FieldDecl, given: object, batch: int, q_len: int, k_len: int, q_start: int, device: torch.device
) -> FieldValues:
    if isinstance(given, tuple):
        if len(given) != 2:
            raise FieldError(
                f"the field `{decl.name}` is a tensor or a pair (for queries, for keys), not {len(given)} of them"
            )
        queries = _values(decl, given[0], batch, q_len, "queries", device)
        return FieldValues(queries, _values(decl, given[1], batch, k_len, "keys", device))
    keys = _values(decl, given, batch, k_len, "keys", device)
    if q_start + q_len > k_len:
        raise FieldError(
            f"the field `{decl.name}` has {k_len} values, for the keys, but the queries stand at positions "
            f"{q_start} to {q_start + q_len - 1}; give a pair {decl.name}=(for_queries, for_keys)"
        )
    return FieldValues(keys[:, q_start : q_start + q_len], keys)


def _values(decl: FieldDecl, given: object, batch: int, length: int, side: str, device: torch.device) -> Tensor:
    wide = _integers(f"the field `{decl.name}`", given, device)
    if tuple(wide.shape) not in ((length,), (1, length), (batch, length)):
        raise FieldError(
            f"the field `{decl.name}` for {length} {side} has shape [{length}] or [{batch}, {length}], "
            f"not {list(wide.shape)}"
        )
    return wide if wide.dim() == 2 else wide[None]
