"""Instances on a processor, against numbers worked out by hand from the vendors' tables."""

from __future__ import annotations

import pytest

from attnir.codegen.occupancy import occupancy, processor
from attnir.codegen.targets import Target


@pytest.mark.parametrize(
    ("target", "warps", "registers", "shared", "columns", "instances", "limit"),
    [
        # 255 registers are given as 256, 8192 to a warp: two warps in each of the four parts.
        ("sm_90", 4, 255, 1000, 0, 2, "registers"),
        ("sm_90", 8, 255, 1000, 0, 1, "registers"),
        ("sm_90", 8, 129, 1000, 0, 1, "registers"),  # given as 136: three warps in a part, and two of each instance
        ("sm_90", 8, 128, 1000, 0, 2, "registers"),
        ("sm_90", 4, 32, 1000, 0, 16, "registers"),
        ("sm_90", 4, 16, 0, 0, 16, "warps"),
        ("sm_90", 1, 16, 0, 0, 16, "warps"),  # a part's 16 warps: the first warp of every instance may lie in it
        ("sm_90", 4, 32, 114 * 1024 - 1024, 0, 2, "shared memory"),  # with its own KiB it is half of 228 KiB
        ("sm_90", 4, 32, 114 * 1024 - 1023, 0, 1, "shared memory"),
        ("sm_80", 4, 32, 82 * 1024 - 1024, 0, 2, "shared memory"),
        ("sm_89", 4, 64, 50 * 1024, 0, 1, "shared memory"),
        ("sm_100", 4, 64, 1000, 256, 2, "tensor memory"),
        ("sm_100", 4, 64, 1000, 512, 1, "tensor memory"),
        ("gfx942", 4, 128, 1000, 0, 4, "registers"),
        ("gfx942", 4, 129, 1000, 0, 3, "registers"),
        ("gfx942", 4, 512, 1000, 0, 1, "registers"),
        ("gfx942", 4, 64, 32 * 1024, 0, 2, "shared memory"),
        ("gfx942", 4, 64, 0, 0, 8, "registers"),
    ],
)
def test_the_first_limit_counts(
    target: str, warps: int, registers: int, shared: int, columns: int, instances: int, limit: str
) -> None:
    found = occupancy(Target.parse(target), warps, registers, shared, columns)
    assert (found.instances, found.warps, found.limit) == (instances, instances * warps, limit)


def test_a_kernel_that_does_not_fit_has_no_instance() -> None:
    assert occupancy(Target.parse("sm_80"), 4, 128, 164 * 1024).instances == 0


def test_unknown_targets_are_taken_for_those_before_them() -> None:
    assert processor(Target.parse("sm_103")) == processor(Target.parse("sm_100"))
    assert processor(Target.parse("sm_121")) == processor(Target.parse("sm_120"))
    assert processor(Target.parse("gfx950")).warps == 32
