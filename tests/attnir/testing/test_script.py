"""Scripts: run, they check the very case that they were written for."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from hypothesis import HealthCheck, given, settings

import attnir as an
from attnir import testing
from attnir.testing import Case, cases
from attnir.testing.script import script


def rerun(text: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Case, tuple[str, ...]]:
    """What a script hands to `check`."""
    found: list[tuple[Case, tuple[str, ...]]] = []
    monkeypatch.setattr(testing, "check", lambda case, *names: found.append((case, names)))
    exec(compile(text, "script", "exec"), {})
    return found[0]


@pytest.mark.parametrize("name", ["walks", "text"])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(case=cases())
def test_a_script_repeats_its_case(name: str, case: Case) -> None:
    with pytest.MonkeyPatch.context() as patch:
        found, names = rerun(script(case, "triton", name, "some words"), patch)
    assert names == ("triton", name)
    assert an.pattern(found.pattern) == an.pattern(case.pattern)
    for f in fields(Case):
        if f.name not in ("pattern", "bindings"):
            assert getattr(found, f.name) == getattr(case, f.name), f.name
    assert found.bound.keys() == case.bound.keys()
    for a, b in zip(found.bound.values(), case.bound.values(), strict=True):
        for x, y in zip(*(v if isinstance(v, tuple) else (v,) for v in (a, b)), strict=True):
            assert (torch.equal(x, y) and x.dtype == y.dtype) if isinstance(x, torch.Tensor) else x == y


def test_errors_of_many_lines_make_one_line() -> None:
    text = script(Case(an.causal(), q_len=2), "torch", "numbers", "first\nsecond " + 200 * "x")
    assert text.splitlines()[0] == "# `numbers` on torch: first"


def test_a_script_of_nodes_knows_selections() -> None:
    """Where the text of a pattern is what fails, it is written as nodes, with all that they are made of."""
    picks = an.selection("picks", "h")
    case = Case(an.mask(lambda q, k: picks(q, k) > 0), q_len=4, bindings={"picks": torch.ones(2, 1, 1).long()})
    written = script(case, "torch", "text", "reads back as another one")
    assert "SelectionDecl(" in written
    exec(written.replace("\ncheck(", "\nassert case, ("), {})
