"""Properties notice what they are about, and do not count cases of which they say nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

import attnir as an
from attnir.codegen.torch.budget import CPU, limited
from attnir.program import TileProgram
from attnir.testing import PROPERTIES, Case, Executor, Values, check, properties
from attnir.testing.engine import Tally, checked
from attnir.testing.statistics import _check_largest
from attnir.testing.values import Normal

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
    on, tally, law = Executor("torch"), Tally(), PROPERTIES[name]
    assert law.turn is not None
    case, other = (replace(c, seed=law.turn) for c in (case, CASE))
    assert checked(law, case, on, tally) is None and not tally.checks
    assert checked(law, other, on, tally) is None and tally.checks[name, "torch"] == 1
    check(case, "torch", name)


def test_a_sample_has_all_of_a_tensor_that_is_not_of_samples() -> None:
    """Its first row is that of a query."""
    bias = an.tensor("bias", "q", "k")
    declared = an.pattern(an.causal(), score=an.score(lambda s, q, k: s + bias[q, k]))
    check(
        Case(declared, q_len=30, batch=2, bindings={"bias": Values(Normal((30, 30), 0), torch.float32)}),
        "torch",
        "slices",
    )


def test_what_is_not_visited_is_known_by_the_tiles_of_small_steps() -> None:
    """Tiles of 16 keys leave the unit of 24 that alone is listed, tiles of the compiler do not."""
    picks = an.selection("picks")
    one = an.mask(lambda q, k: picks(q // 24, k // 24) > 0)
    check(Case(one, q_len=72, bindings={"picks": torch.tensor([[5, 0]] * 3)}), "torch", "steps")
    with limited(replace(CPU, tile=16)):
        assert Executor("torch").tile(CASE, "forward") == (16, 16)


def test_the_largest_key_of_a_row_is_the_largest() -> None:
    case = Case(an.causal(), q_len=20, d=16)
    q, k, *_ = (t.double() for t in case.tensors())
    scores = torch.where(case.live, q @ k.transpose(-1, -2), -torch.inf)
    _check_largest(scores.argmax(-1), case)
    with pytest.raises(AssertionError, match="outweighs"):
        _check_largest(torch.where(case.live, -scores, -torch.inf).argmax(-1), case)
