"""Timing several actions in one run, in turn, so that whatever else the machine does meets all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch


def medians(actions: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The median milliseconds of each action, after a first run of each that is not counted.

    >>> sorted(medians({"a": lambda: None, "b": lambda: None}, 3))
    ['a', 'b']
    """
    taken: dict[str, list[float]] = {name: [] for name in actions}
    for action in actions.values():
        action()
    for _ in range(repeats):
        for name, action in actions.items():
            _wait()
            began = time.perf_counter()
            action()
            _wait()
            taken[name].append(1e3 * (time.perf_counter() - began))
    return {name: median(times) for name, times in taken.items()}


def _wait() -> None:
    """Until the GPU, where there is one, has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
