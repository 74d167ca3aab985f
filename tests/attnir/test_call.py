"""Binding: fields and parameters end up on the right tokens, and whatever is wrong with them is said."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from attnir.call import Call
from attnir.errors import (
    AttnirError,
    DeviceError,
    FieldError,
    MissingBindingError,
    NotSortedError,
    ParamError,
    ShapeError,
    UnknownBindingError,
)
from attnir.ops import FieldDecl, ParamDecl
from attnir.signature import Signature, first_position

DOC, KIND = FieldDecl("doc", sorted=True), FieldDecl("kind")
W, N = ParamDecl("w"), ParamDecl("n", 1, 64)
IDS = torch.arange(8)


def bound(
    given: dict[str, object],
    fields: tuple[FieldDecl, ...] = (),
    params: tuple[ParamDecl, ...] = (),
    *,
    q_len: int = 8,
    q_start: int | None = None,
    check: bool = True,
) -> Call:
    return Signature(fields, params).bind(given, batch=2, heads=3, q_len=q_len, k_len=8, q_start=q_start, check=check)


@pytest.mark.parametrize(
    "q_start, q_len, k_len, expected",
    [(None, 8, 8, 0), (None, 3, 8, 5), (None, 8, 3, 0), (0, 3, 8, 0), (7, 3, 8, 7), (None, 1, 2**28, 2**28 - 1)],
)
def test_the_queries_are_the_last_positions_unless_said_otherwise(
    q_start: int | None, q_len: int, k_len: int, expected: int
) -> None:
    assert first_position(q_start, q_len, k_len) == expected


def test_a_single_field_is_read_at_the_positions_of_the_queries() -> None:
    call = bound({"doc": IDS}, (DOC,), q_len=3)
    assert call.fields["doc"].keys.tolist() == [list(range(8))]
    assert call.fields["doc"].queries.tolist() == [[5, 6, 7]]
    assert bound({"doc": IDS}, (DOC,), q_len=3, q_start=1).fields["doc"].queries.tolist() == [[1, 2, 3]]


def test_a_single_field_is_not_copied() -> None:
    values = bound({"doc": IDS}, (DOC,)).fields["doc"]
    assert values.keys.data_ptr() == values.queries.data_ptr() == IDS.data_ptr()


def test_a_pair_is_for_queries_and_keys() -> None:
    call = bound({"doc": (IDS[:3], IDS)}, (DOC,), q_len=3, q_start=100)
    assert call.fields["doc"].queries.tolist() == [[0, 1, 2]]
    assert call.fields["doc"].keys.tolist() == [list(range(8))]


@pytest.mark.parametrize("shape", [(8,), (1, 8), (2, 8)])
@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool])
def test_shapes_and_dtypes_of_fields(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    keys = bound({"kind": torch.ones(shape, dtype=dtype)}, (KIND,)).fields["kind"].keys
    assert keys.shape == (shape[0] if len(shape) == 2 else 1, 8)
    assert keys.dtype is (torch.int64 if dtype is torch.int64 else torch.int32)
    assert keys.unique().tolist() == [1]


@pytest.mark.parametrize("value", [-(2**30), 0, 2**30, torch.tensor(5)])
def test_parameters(value: int | Tensor) -> None:
    assert bound({"w": value}, params=(W,)).params == {"w": int(value)}


def test_fields_of_no_tokens() -> None:
    call = Signature((DOC,)).bind({"doc": IDS[:0]}, batch=2, heads=1, q_len=0, k_len=0, check=True)
    assert call.fields["doc"].keys.shape == (1, 0)


ERRORS: dict[str, tuple[type[AttnirError], list[str], dict[str, object]]] = {
    "misspelt": (UnknownBindingError, ["`docs`", "`doc`, `w`", "spelling"], {"docs": IDS, "doc": IDS, "w": 1}),
    "none read": (
        UnknownBindingError,
        ["`doc`", "no field and no parameter"],
        {"fields": (), "params": (), "doc": IDS},
    ),
    "field missing": (MissingBindingError, ["reads `doc`", "doc=..."], {"w": 1}),
    "parameter missing": (MissingBindingError, ["reads `w`", "w=..."], {"doc": IDS}),
    "both missing": (MissingBindingError, ["`doc`, `w`"], {}),
    "list": (FieldError, ["`doc`", "tensor of integers", "list"], {"doc": [0] * 8, "w": 1}),
    "number": (FieldError, ["`doc`", "int"], {"doc": 3, "w": 1}),
    "float": (FieldError, ["`doc`", "torch.float32"], {"doc": IDS.float(), "w": 1}),
    "unsigned": (FieldError, ["`doc`", "torch.uint16"], {"doc": IDS.to(torch.uint16), "w": 1}),
    "sparse": (FieldError, ["`doc`", "torch.sparse_coo"], {"doc": IDS.to_sparse(), "w": 1}),
    "short": (FieldError, ["`doc` for 8 keys", "[8] or [2, 8], not [5]"], {"doc": IDS[:5], "w": 1}),
    "rank 0": (FieldError, ["not []"], {"doc": torch.tensor(3), "w": 1}),
    "rank 3": (FieldError, ["not [1, 1, 8]"], {"doc": IDS[None, None], "w": 1}),
    "samples": (FieldError, ["not [3, 8]"], {"doc": IDS.expand(3, 8), "w": 1}),
    "three": (FieldError, ["a pair (for queries, for keys)", "not 3"], {"doc": (IDS, IDS, IDS), "w": 1}),
    "short for queries": (FieldError, ["`doc` for 8 queries", "not [7]"], {"doc": (IDS[:7], IDS), "w": 1}),
    "swapped": (FieldError, ["`doc` for 3 queries", "not [8]"], {"q_len": 3, "doc": (IDS, IDS[:3]), "w": 1}),
    "past the keys": (
        FieldError,
        ["`doc` has 8 values", "positions 4 to 11", "doc=(for_queries, for_keys)"],
        {"q_start": 4, "doc": IDS, "w": 1},
    ),
    "device": (DeviceError, ["`doc` is on meta", "q on cpu"], {"doc": IDS.to("meta"), "w": 1}),
    "not sorted": (
        NotSortedError,
        ["`doc`", "for the keys of sample 1", "from 7 to 3 at index 4", "sorted=True"],
        {"q_len": 2, "doc": torch.stack([IDS, torch.tensor([1, 2, 3, 7, 3, 7, 8, 9])]), "w": 1},
    ),
    "queries not sorted": (
        NotSortedError,
        ["for the queries of sample 0", "from 5 to 4 at index 1"],
        {"q_len": 2, "doc": (torch.tensor([5, 4]), IDS), "w": 1},
    ),
    "float parameter": (ParamError, ["`w` is an integer, not 1.5"], {"doc": IDS, "w": 1.5}),
    "bool parameter": (ParamError, ["`w` is an integer, not True"], {"doc": IDS, "w": True}),
    "string parameter": (ParamError, ["'3'"], {"doc": IDS, "w": "3"}),
    "tensor parameter": (ParamError, ["`w` is an integer"], {"doc": IDS, "w": IDS}),
    "large parameter": (ParamError, ["`w` = 1073741825", "[-1073741824, 1073741824]"], {"doc": IDS, "w": 2**30 + 1}),
    "parameter below": (ParamError, ["`n` = 0", "[1, 64]"], {"fields": (), "params": (N,), "n": 0}),
    "parameter above": (ParamError, ["`n` = 65", "[1, 64]"], {"fields": (), "params": (N,), "n": 65}),
    "negative start": (ShapeError, ["q_start=-1", "8 queries", "8 keys"], {"q_start": -1, "doc": IDS, "w": 1}),
    "far start": (ShapeError, ["2**28"], {"q_start": 2**28 - 7, "doc": (IDS, IDS), "w": 1}),
    "float start": (ShapeError, ["q_start", "an integer, not 1.5"], {"q_start": 1.5, "doc": IDS, "w": 1}),
}


@pytest.mark.parametrize("case", ERRORS)
def test_bad_bindings(case: str) -> None:
    error, parts, given = ERRORS[case]
    options = {name: given[name] for name in ("fields", "params", "q_len", "q_start") if name in given}
    bindings = {name: value for name, value in given.items() if name not in options}
    with pytest.raises(AttnirError) as caught:
        bound(bindings, **{"fields": (DOC,), "params": (W,), **options})  # type: ignore[arg-type]
    assert caught.type is error
    assert [part for part in parts if part not in str(caught.value)] == []


def test_sorting_is_checked_on_request() -> None:
    falling = {"doc": -IDS}
    assert bound(falling, (DOC,), check=False).fields["doc"].keys.tolist() == [(-IDS).tolist()]
    assert bound({"kind": -IDS}, (KIND,)).fields["kind"].keys.tolist() == [(-IDS).tolist()]
    with pytest.raises(NotSortedError):
        bound(falling, (DOC,))


def test_equal_neighbours_are_sorted() -> None:
    bound({"doc": torch.tensor([[3] * 8, [-5, -5, -1, 0, 0, 2, 2, 2]])}, (DOC,))
