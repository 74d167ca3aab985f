"""Statistics of long sequences on this CPU: their memory beside that of P, and sampled rows beside dense float64.

    make statistics                                        # S = 65,536, whose P takes 16 GiB, and half of that
    python -m benchmarks.statistics_memory --length 131072

Row entropy, what keys receive, and the mass of a segment, of a causal window with sinks (B = 1, one head, float32), on
the torch target. Each length runs in a process of its own, whose peak of resident memory is the system's; that of a
process that only makes the inputs stands beside it. The exit status says whether every sampled row and column is
accepted and whether memory grows no faster than the length.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

import attnir as an
from attnir.testing.judge import accept
from benchmarks.apart import MIB, measured_apart, peak

WIDTH, SINKS, D = 1024, 4, 64
SAMPLED = 16  # rows, and columns
ROWS = 256  # at a time
PATTERN = an.causal() & (an.window(WIDTH) | an.mask(lambda q, k: k < SINKS))
NAMES = ["row-entropy", "received-mass", "sinks"]


@dataclass(frozen=True, slots=True)
class Measured:
    """One length: seconds, MiB of resident memory at the peak and of the process before, the largest errors."""

    length: int
    seconds: float
    before: float
    peak: float
    errors: dict[str, float]

    @property
    def dense(self) -> float:
        """MiB of P in float32."""
        return self.length**2 * 4 / MIB

    @property
    def own(self) -> float:
        """MiB that the statistics took."""
        return self.peak - self.before


def measure(length: int) -> Measured:
    """Statistics of one length, and some of their rows and columns again, dense and in float64."""
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 1, length, D, generator=g) for _ in range(3))
    attention = an.compile(PATTERN, backend="torch")
    sinks = torch.arange(length) < SINKS
    warm = slice(0, 256)
    attention.statistics(q[:, :, warm], k[:, :, warm], v[:, :, warm], ["row-entropy", "received-mass"])
    before, began = peak(), time.perf_counter()
    found = attention.statistics(q, k, v, ["row-entropy", "received-mass", *an.segment_mass(sinks=sinks)])
    seconds, high = time.perf_counter() - began, peak()
    return Measured(length, seconds, before, high, _checked(found, q, k, g))


def _checked(found: dict[str, Tensor], q: Tensor, k: Tensor, g: torch.Generator) -> dict[str, float]:
    """The largest error of sampled rows and columns, each judged by the rules of every kernel."""
    at = torch.randint(q.shape[2], (SAMPLED,), generator=g).sort().values
    exact, eager = (_dense(q, k, at.tolist(), dtype) for dtype in (torch.float64, torch.float32))
    errors = {}
    for name in NAMES:
        terms, roundings = exact[name].abs(), exact[f"{name}, rounded"]
        each = (t[:, None] for t in (found[name][0, 0, at], exact[name], eager[name], terms, roundings))
        x, ref, yardstick, terms, roundings = each
        errors[name] = accept(name, x, ref, yardstick, terms, roundings, 2, torch.float32)
    return errors


def _dense(q: Tensor, k: Tensor, at: list[int], dtype: torch.dtype) -> dict[str, Tensor]:
    """The statistics of some rows and columns by their formulas, and what the roundings of each follow."""
    found: dict[str, list[Tensor]] = {name: [] for known in NAMES for name in (known, f"{known}, rounded")}
    for row in at:
        keys, p, size = _probabilities(q, k, row, row + 1, dtype)
        entropy = -(p * torch.where(p > 0, p, 1.0).log()).sum()
        found["row-entropy"].append(entropy)
        found["row-entropy, rounded"].append(size.sum() * (1 + entropy))
        found["sinks"].append(p[:, keys < SINKS].sum())
        found["sinks, rounded"].append(size[:, keys < SINKS].sum())
    for column in at:
        received = rounded = torch.zeros((), dtype=dtype)
        last = q.shape[2] if column < SINKS else min(q.shape[2], column + WIDTH + 1)
        for start in range(column, last, ROWS):
            keys, p, size = _probabilities(q, k, start, min(start + ROWS, last), dtype)
            received, rounded = received + p[:, keys == column].sum(), rounded + size[:, keys == column].sum()
        found["received-mass"].append(received)
        found["received-mass, rounded"].append(rounded)
    return {name: torch.stack(values) for name, values in found.items()}


def _probabilities(q: Tensor, k: Tensor, start: int, stop: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """(keys that rows [start, stop) may see, their P, what the roundings of their scores follow), [rows, keys]."""
    first = max(0, start - WIDTH)
    keys = torch.cat([torch.arange(min(SINKS, first)), torch.arange(first, stop)])
    rows = torch.arange(start, stop)[:, None]
    own, others = q[0, 0, start:stop].to(dtype), k[0, 0, keys].to(dtype)
    s = own @ others.T * D**-0.5
    live = (keys <= rows) & ((rows - keys <= WIDTH) | (keys < SINKS))
    p = torch.where(live, s, -torch.inf).softmax(-1)
    return keys, p, p * (1 + 2 * s.abs() + own.abs() @ others.abs().T * D**-0.5)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=65536, help="tokens")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.one:
        print(json.dumps(asdict(measure(given.one))))
        return 0
    lengths = given.length // 4, given.length // 2, given.length
    found = [Measured(**measured_apart("benchmarks.statistics_memory", "--one", n)) for n in lengths]
    print(f"{PATTERN}, float32, B = H = 1, D = {D}: {', '.join(NAMES)}")
    for m in found:
        errors = ", ".join(f"{name} {error:.1e}" for name, error in m.errors.items())
        inputs = 3 * 4 * m.length * D / MIB
        print(f"S = {m.length:>7,}: {m.seconds:.1f} s, {m.own:.1f} MiB; inputs {inputs:.0f} MiB, P {m.dense:,.0f} MiB")
        print(f"    largest relative errors of {SAMPLED} samples: {errors}")
    linear = found[-1].own <= 2.5 * max(found[-2].own, 16.0)
    growth = "no faster than the length" if linear else "FASTER than the length"
    print(f"Every sample is accepted. Memory grows {growth}.")
    return 0 if linear else 1


if __name__ == "__main__":
    sys.exit(main())
