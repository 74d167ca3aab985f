"""Properties notice what they are about, and do not count cases of which they say nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import attnir as an
from attnir.program import TileProgram
from attnir.testing import PROPERTIES, Case, Executor, check, properties
from attnir.testing.engine import Tally, checked

CASE = Case(an.causal() & an.window(20), q_len=40, tile=(16, 32))


def without_reason(read: Callable[[str], TileProgram]) -> Callable[[str], TileProgram]:
    return lambda text: replace(read(text), reason="lost")


def one_more(count: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *given: replace(tiles := count(*given), partial=tiles.partial + 1)


@pytest.mark.parametrize(
    ("name", "of", "wrong"),
    [
        ("counts", "count_launches", one_more),
        ("counts", "live_pairs_of", lambda count: lambda *given: count(*given) - 1),
        ("text", "read_program", without_reason),
    ],
)
def test_a_property_fails_where_it_has_to(
    name: str, of: str, wrong: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    check(CASE, "torch", name)
    monkeypatch.setattr(properties, of, wrong(getattr(properties, of)))
    with pytest.raises(AssertionError, match=f"`{name}` on torch"):
        check(CASE, "torch", name)


@pytest.mark.parametrize("transposed", [False, True])
def test_the_tiles_of_a_case_are_walked_as_kernels_take_them(transposed: bool) -> None:
    walked = list(properties._tiles(CASE, Executor("triton"), transposed))
    assert walked[0] == ((32, 16) if transposed else (16, 32)) and (64, 64) in walked and len(walked) == 3
    chosen = properties._tiles(replace(CASE, tile=None), Executor("triton"), transposed)
    assert Executor("triton").tile(replace(CASE, tile=None), "dkv" if transposed else "forward") in chosen


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("shifts", Case(an.neighborhood(an.grid(y=4, x=4), (3, 3)), q_len=16)),
        ("permutes", Case(an.neighborhood(an.grid(y=4, x=4), (3, 3)), q_len=16)),
        ("slices", replace(CASE, heads=1)),
        ("slices", replace(CASE, pattern=an.per_head([(0, an.causal()), (1, an.full())]))),
    ],
)
def test_a_law_that_says_nothing_of_a_case_is_not_counted(name: str, case: Case) -> None:
    on, tally = Executor("torch"), Tally()
    assert checked(PROPERTIES[name], case, on, tally) is None and not tally.checks
    assert checked(PROPERTIES[name], CASE, on, tally) is None and tally.checks[name, "torch"] == 1
    check(case, "torch", name)
