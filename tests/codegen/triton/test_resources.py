"""The resource model: there is always a configuration, and it fits by its own estimate."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from attnir.codegen.budgets import Extra
from attnir.codegen.chunks import chunks, equal_chunk
from attnir.codegen.resources import Estimate, Problem, choose
from attnir.codegen.targets import Config, Target, current_target
from attnir.errors import ConfigError

TARGETS = ("sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120", "gfx942")
DTYPES = (torch.bfloat16, torch.float16, torch.float32)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", ["forward", "dq", "dkv"])
def test_there_is_always_one_that_fits(target: str, kind: str) -> None:
    t, widths = Target.parse(target), (1, 16, 40, 64, 80, 96, 128, 160, 192, 240, 256)
    for d, dv, dtype in product(widths, widths, DTYPES):
        found = Estimate(Problem(kind, t, d, dv, dtype.itemsize), choose(kind, t, d, dv, dtype))
        assert found.fits, (d, dv, dtype, found.c)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", ["forward", "dq", "dkv"])
@pytest.mark.parametrize(("d", "dv"), [(320, 320), (576, 512), (257, 16), (16, 576), (576, 576)])
def test_wide_heads_have_tiles_that_were_tried(d: int, dv: int, kind: str, target: str) -> None:
    t = Target.parse(target)
    config = choose(kind, t, d, dv, torch.bfloat16)
    assert Estimate(Problem(kind, t, d, dv, 2), config).fits and config.num_stages == 1
    assert (config.block_q, config.block_k) in ((32, 32), (32, 16), (16, 16))
    assert config.num_warps == (4 if t.family == "hip" else 8)
    scored = choose(kind, t, d, dv, torch.bfloat16, Extra(scored=True))
    assert (scored.block_q, scored.block_k) == (16, 16)


def test_products_of_three_have_chunks_of_one_width() -> None:
    found = {(d, dv): equal_chunk(d, dv, 4, "cuda") for d, dv in ((5, 16), (16, 17), (33, 16), (80, 80), (256, 16))}
    assert found == {(5, 16): 16, (16, 17): 32, (33, 16): 64, (80, 80): 64, (256, 16): 64}
    assert equal_chunk(80, 80, 2, "cuda") is equal_chunk(80, 80, 4, "hip") is None
    assert chunks(80, 64) == (64, 64)
    assert [not Problem("dq", Target.parse("sm_90"), d, d, 4).is_wide for d in (16, 64, 128, 129)] == [1, 1, 1, 0]


@pytest.mark.parametrize("d", [16, 64, 128])
def test_sm_90_fills_its_own_instructions(d: int) -> None:
    for kind in ("forward", "dq", "dkv"):
        t = Target.parse("sm_90")
        assert Estimate(Problem(kind, t, d, d, 2), choose(kind, t, d, d, torch.bfloat16)).native


def test_what_users_will_see() -> None:
    choices = {d: choose("forward", Target.parse("sm_90"), d, d, torch.bfloat16) for d in (64, 128, 256)}
    assert choices == {64: Config(128, 128, 8, 3), 128: Config(128, 64, 8, 3), 256: Config(128, 32, 8, 3)}
    assert str(choices[64]) == "128 x 128 tiles, 8 warps, 3 stages"


@pytest.mark.parametrize("width", range(1, 257))
def test_chunks_cover_a_width_without_a_chunk_to_spare(width: int) -> None:
    found = chunks(width)
    assert width <= sum(found) < width + 16
    assert list(found) == sorted(found, reverse=True)
    assert all(c >= 16 and c & (c - 1) == 0 for c in found)
    assert len(found) == len(set(found))


def test_targets_are_read_and_printed() -> None:
    assert [str(Target.parse(t)) for t in TARGETS] == list(TARGETS)
    assert Target.parse("sm_90a") == Target.parse("sm_90")
    assert (Target.parse("gfx942").family, Target.parse("gfx942").warp) == ("hip", 64)
    if not torch.cuda.is_available():
        assert current_target() == Target.parse("sm_90")


@pytest.mark.parametrize("name", ["sm_75", "sm90", "cuda", "gfx1100", ""])
def test_unknown_targets_say_what_is_expected(name: str) -> None:
    with pytest.raises(ConfigError, match="expected sm_80 or newer, or gfx942"):
        Target.parse(name)


def test_unknown_kernels_say_what_is_expected() -> None:
    with pytest.raises(ConfigError, match="unknown kernel 'backward'; expected one of forward, dq, dkv, delta"):
        choose("backward", Target.parse("sm_90"), 64, 64, torch.bfloat16)
