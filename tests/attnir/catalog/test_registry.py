"""The table of the catalog: what it is asked for, and what every entry is given, is checked with errors of attnir."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
import torch

import attnir as an
from attnir.errors import AttnirError, DeclarationError, UnknownNameError
from tests.checks import refused
from tests.test_bad_input import wrong

OTHERS: list[object] = [3, -1, 10**30, 2.5, float("nan"), True, None, "x", (), [], {}, ("a",), (1, 2, 3, 4, 5)]
OTHERS += [torch.tensor(2), torch.tensor([1, 2]), an.param("n"), an.param("n", low=1), an.grid(u=3)]
OTHERS += [an.tensor("t", "h"), an.field("f")]


@pytest.mark.parametrize("name", an.catalog.names())
def test_every_argument_gives_a_pattern_or_an_error_of_attnir(name: str) -> None:
    entry = an.catalog.get(name)
    for argument in inspect.signature(entry.build).parameters:
        for other in OTHERS:
            try:
                found = an.catalog.build(name, **{**entry.example.params, argument: other})
            except AttnirError:
                continue
            assert isinstance(found, an.Mask | an.Pattern | an.Graph), (argument, other)


BAD: dict[str, tuple[type[AttnirError], str, Callable[[], object]]] = {
    "a list": (UnknownNameError, "the catalog has no []", lambda: an.catalog.get(wrong([]))),
    "a misspelt name": (UnknownNameError, "near it: axial", lambda: an.catalog.get("axal")),
    "a part of a name": (UnknownNameError, "near it: packed-documents", lambda: an.catalog.get("packed")),
    "nothing near": (
        UnknownNameError,
        "no 'zzzz'; all that it has: an.catalog.names()",
        lambda: an.catalog.get("zzzz"),
    ),
    "no grid": (DeclarationError, "not of 3", lambda: an.catalog.build("axial", grid=3, axes=("y",))),
    "a tensor": (
        DeclarationError,
        "`frames` shapes the pattern, so it is no tensor; give int(frames)",
        lambda: an.catalog.build("radial", frames=torch.tensor(2), tokens=256),
    ),
    "a parameter where a number is needed": (
        DeclarationError,
        "`tokens` shapes the pattern, so it is an integer that is known now, not n",
        lambda: an.catalog.build("radial", frames=3, tokens=an.param("n", low=1)),
    ),
    "an unknown argument": (DeclarationError, "'size'", lambda: an.catalog.build("radial", size=3)),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused_and_why(name: str) -> None:
    refused(*BAD[name])
