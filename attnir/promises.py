"""What is promised of the values of fields, tested where they can be looked at: their size, and their order."""

from __future__ import annotations

import torch

from attnir.call import Call, FieldValues
from attnir.errors import FieldError, NotSortedError
from attnir.expr import Expr
from attnir.limits import field_limit
from attnir.ops import FieldDecl, Side
from attnir.traverse import fields_of, tensors_of


def check_sizes(call: Call, *roots: Expr) -> None:
    """Raise FieldError if a field holds a value with which what predicates compute could leave 64 bits."""
    limit = field_limit(*roots)
    fields = [(f"field `{d.name}`", side, call.fields[d.name].on(side)) for d in fields_of(*roots) for side in Side]
    tensors = [(f"tensor `{d.name}`", None, call.tensors[d.name]) for d in tensors_of(*roots)]
    for name, side, values in (*fields, *tensors):
        if values.numel() == 0 or torch.iinfo(values.dtype).max <= limit:
            continue
        found = max((int(values.amin()), int(values.amax())), key=abs)
        if abs(found) > limit:
            raise FieldError(
                f"the {name} holds {found}{f' for the {side.name.lower()}' if side else ''}; in this pattern a value "
                f"beyond +-2**{limit.bit_length() - 1} can leave 64 bits; number its values from 0"
            )


def check_sorted(decl: FieldDecl, values: FieldValues) -> None:
    """Raise NotSortedError if a field that is declared sorted decreases somewhere."""
    if not decl.sorted:
        return
    for side, v in (("queries", values.queries), ("keys", values.keys)):
        falls = v[:, 1:] < v[:, :-1]
        if falls.any():
            b, i = falls.nonzero()[0].tolist()
            raise NotSortedError(
                f"the field `{decl.name}` is declared sorted, but for the {side} of sample {b} it falls from "
                f"{int(v[b, i])} to {int(v[b, i + 1])} at index {i + 1}; "
                "sort the tokens, or declare it without sorted=True"
            )
