"""Values of fields, tensors and parameters, as a command line gives them.

    --set w=512                       a parameter
    --field "doc=i // 300"            a field: an integer, or a condition, of the position i
    --field doc=ids.npy               or the values of all keys, from a file of NumPy or torch
    --set cap=30.0                    a real parameter
    --tensor "n=100,90,80"            a number for each sample, or head; rows are separated by `;`
    --tensor slopes=slopes.npy        or a tensor from a file
    --tensor table=8x128              or a real one of a shape, of random numbers

Expressions are read by attnir's own reader; nothing is evaluated as Python, and no file is unpickled as code.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import attnir as an
from attnir.call import Call
from attnir.errors import FieldError, ParamError, TextError
from attnir.evaluate import Evaluator
from attnir.expr import K
from attnir.limits import size_problem, width_problem
from attnir.reading import Reader

FILES = (".npy", ".pt", ".pth")
SHAPE = re.compile(r"[1-9]\d{0,8}(x[1-9]\d{0,8})+")


@dataclass(frozen=True, slots=True)
class Given:
    """What a command line binds, as it was typed: NAME=VALUE each."""

    params: Sequence[str] = ()
    fields: Sequence[str] = ()
    tensors: Sequence[str] = ()

    def bind(
        self,
        attention: an.Attention,
        q_len: int,
        k_len: int | None = None,
        q_start: int | None = None,
        *,
        counted: bool = False,
    ) -> dict[str, object]:
        """The bindings of a call of this size; `counted`: those of its mask will do.

        Raises ParamError, FieldError and TextError for what cannot be read, and for what is missing.
        """
        q, k = _positions(attention, q_len, q_len if k_len is None else k_len, q_start)
        found: dict[str, object] = {**self.scalars()}
        found |= {name: _field(name, text, q, k) for name, text in _named("--field", self.fields)}
        s = attention.signature
        axes = {t.name: (len(t.axes), t.real) for t in (*s.tensors, *s.reals)}
        axes |= {x.name: (len(x.axes) + 2, False) for x in s.selections}
        for name, text in _named("--tensor", self.tensors):
            tensor = _copies(name, text)
            found[name] = tensor if text.endswith(FILES) or name not in axes else _shaped(tensor, *axes[name])
        _check_missing(attention, found, attention.pattern.mask.signature.names if counted else s.names)
        return found

    def bind_graph(self, q_len: int, k_len: int | None = None) -> dict[str, object]:
        """What a graph reads besides q, k and v, at this size; it says itself what is missing."""
        keys = torch.arange(q_len if k_len is None else k_len)
        found: dict[str, object] = {**self.scalars()}
        for name, text in _named("--field", self.fields):
            found[name] = _loaded(name, Path(text)) if text.endswith(FILES) else values_of(text, keys)
        return found | {name: _copies(name, text) for name, text in _named("--tensor", self.tensors)}

    def scalars(self) -> dict[str, int | float]:
        """The parameters."""
        return {name: _number(name, text) for name, text in _named("--set", self.params)}


def _named(option: str, given: Sequence[str]) -> list[tuple[str, str]]:
    pairs = [text.partition("=") for text in given]
    for name, equals, value in pairs:
        if not (name.strip() and equals and value.strip()):
            raise TextError(f"{option} takes name=value, not {name + equals + value!r}")
    return [(name.strip(), value.strip()) for name, _, value in pairs]


def _shaped(typed: Tensor, axes: int, real: bool) -> Tensor:
    """What was typed, as a tensor of so many axes: the first of those that were not typed have one entry."""
    if axes == 0 and typed.numel() == 1:
        typed = typed.view(())
    typed = typed.view([*[1] * (axes - typed.dim()), *typed.shape])
    return typed.float() if real else typed


def _check_missing(attention: an.Attention, found: dict[str, object], needed: Collection[str]) -> None:
    """Raise where something that is needed was not given, and say how a command line gives it."""
    s = attention.signature
    ways = {
        f.name: f'the field `{f.name}`; give --field "{f.name}=i // 300" or --field {f.name}=FILE.npy' for f in s.fields
    }
    ways |= {t.name: f"the tensor `{t.name}`; give --tensor {t.name}=1,2,3" for t in s.tensors}
    ways |= {x.name: f'the selection `{x.name}`; give --tensor "{x.name}=0,1;1,2" or a file' for x in s.selections}
    ways |= {t.name: f"the tensor `{t.name}`; give --tensor {t.name}=0.5{',0.25' * bool(t.axes)}" for t in s.reals}
    ways |= {p.name: f"the parameter `{p.name}`; give --set {p.name}=16" for p in s.params}
    ways |= {p.name: f"the parameter `{p.name}`; give --set {p.name}=1.5" for p in s.numbers}
    needed = {*needed} - {r.name for r in attention.routes} - found.keys()
    if missing := [way for name, way in ways.items() if name in needed]:
        raise TextError(f"the pattern reads {missing[0]}")


def _number(name: str, text: str) -> int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise ParamError(f"--set takes name=number, not {name}={text}")


def _positions(attention: an.Attention, q_len: int, k_len: int, q_start: int | None) -> tuple[Tensor, Tensor]:
    """The positions of queries and keys, as a call places them."""
    start = attention.signature.start(q_start, q_len, k_len)
    return start + torch.arange(q_len), torch.arange(max(0, k_len))  # a call says what is wrong with less


def _field(name: str, text: str, q: Tensor, k: Tensor) -> object:
    if text.endswith(FILES):
        return _loaded(name, Path(text))
    return tuple(values_of(text, positions) for positions in (q, k))


def values_of(text: str, positions: Tensor) -> Tensor:
    """An expression of the position i, at some positions; int64.

    >>> values_of("i // 2 + 1", torch.arange(5)).tolist(), values_of("i < 2", torch.arange(3)).tolist()
    ([1, 1, 2, 2, 3], [1, 1, 0])

    Raises TextError for what is no integer and no condition of i.
    """
    e = Reader(text, {"i": K}).read()
    if e.is_real:
        raise TextError(f"a field has integers; {text!r} is a real number")
    if problem := size_problem(e) or width_problem(e, 1):
        raise TextError(f"{text!r}: {problem}")
    call = Call(1, 1, 0, 0, 0, {}, {}, positions.device)
    return Evaluator(call, {"k": positions})(e).to(torch.int64).expand(positions.shape).contiguous()


def _loaded(name: str, path: Path) -> Tensor:
    """The numbers in a file."""
    try:
        if path.suffix == ".npy":
            found = torch.from_numpy(np.load(path, allow_pickle=False))
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what is no such file leads a reader to errors of any kind
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        raise FieldError(f"the values of `{name}` cannot be read from {path}: {why}") from None
    if not isinstance(found, Tensor):
        raise FieldError(f"{path} holds {type(found).__name__}, not the tensor that `{name}` takes")
    return found


def _copies(name: str, text: str) -> Tensor:
    """A tensor: its numbers, rows of them, a file that has them, or a shape for random ones."""
    if text.endswith(FILES):
        return _loaded(name, Path(text))
    if SHAPE.fullmatch(text):
        return torch.randn([int(n) for n in text.split("x")], generator=torch.Generator().manual_seed(0))
    for kind in (int, float):
        try:
            rows = [[kind(n) for n in row.split(",")] for row in text.split(";")]
            return torch.tensor(rows if len(rows) > 1 else rows[0])
        except (ValueError, TypeError, RuntimeError):
            continue
    ways = 'name=1,2,3, or rows of one length, "name=1,2;3,4", a file, or a shape, name=8x128'
    raise FieldError(f"--tensor takes {ways}; not {name}={text}")
