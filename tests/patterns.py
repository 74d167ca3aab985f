"""Patterns by name, with bindings for any sizes: what every test of meaning, numbers and precision runs over.

A pattern is made for a `unit`: its windows, blocks and sinks are that many times a few tokens, so the same shapes are
tried at 20 tokens (unit 1) and at thousands. Bindings are the same for the same sizes, on every machine.

    named = PATTERNS["documents"]
    mask = named.mask(unit)
    call = call_of(named, unit, q_len=24)                      # for the level of analysis
    attn(q, k, v, **named.bindings(unit, Sizes(2, 3, 24, 24, 0)))  # for kernels
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

import attnir as an
from attnir import functions as tr
from attnir.call import Call
from attnir.masks import Mask
from attnir.signature import first_position


@dataclass(frozen=True)
class Sizes:
    """The sizes of one call."""

    batch: int
    heads: int
    q_len: int
    k_len: int
    q_start: int

    @property
    def positions(self) -> int:
        """How many positions tokens of either side take: one past the largest."""
        return max(self.k_len, self.q_start + self.q_len)

    def both(self, values: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """A field's values by position, [..., positions], as the binding: for the keys, or as a pair where needed."""
        keys = values[..., : self.k_len]
        if self.positions == self.k_len:
            return keys
        return values[..., self.q_start : self.q_start + self.q_len], keys


Bindings = dict[str, object]


def nothing(unit: int, sizes: Sizes) -> Bindings:
    """What a pattern without fields and parameters is given."""
    return {}


@dataclass(frozen=True)
class Named:
    """How to make a pattern and its bindings for a unit; `way` is how its forward program finds the live tiles."""

    mask: Callable[[int], Mask]
    bindings: Callable[[int, Sizes], Bindings] = field(default=nothing)
    way: str = "closed"  # "closed", "tables" or "lists"


def lengths(total: int, seed: int, mean: int) -> Tensor:
    """Uneven document lengths, at least 1, with sum `total`."""
    g = torch.Generator().manual_seed(seed)
    cuts = torch.randperm(max(0, total - 1), generator=g)[: max(0, total // mean - 1)] + 1
    edges = torch.cat([torch.tensor([0]), cuts.sort().values, torch.tensor([total])])
    return edges.diff()


def documents(unit: int, sizes: Sizes) -> Tensor:
    """Document numbers by position, [B, positions]: ascending, different in every sample."""
    numbers = []
    for b in range(sizes.batch):
        n = lengths(sizes.positions, b, 6 * unit)
        numbers.append(torch.repeat_interleave(3 * torch.arange(len(n)) - 5, n))  # neither dense nor from 0
    return torch.stack(numbers)


def starts(unit: int, sizes: Sizes) -> Tensor:
    """The first position of each token's document, int32 [B, positions]."""
    doc = documents(unit, sizes)
    return torch.searchsorted(doc, doc).to(torch.int32)


def kinds(unit: int, sizes: Sizes) -> Tensor:
    """An unsorted field in runs of a few tokens, [positions]."""
    position = torch.arange(sizes.positions)
    return (position // (3 * unit) * 7) % 5 - 2


def _document_sinks(unit: int) -> Mask:
    start = an.field("start", sorted=True)
    inside = an.mask(lambda q, k: start(q) == start(k))
    near = an.mask(lambda q, k: (q - k < 5 * unit) | (k - start(q) < 2 * unit))
    return an.causal() & inside & near


def _document_heads(unit: int) -> Mask:
    start = an.field("start", sorted=True)
    return an.causal() & an.mask(lambda q, k: (start(q) == start(k)) & (k - start(q) < 2 * unit))


def _same(name: str, *, sorted: bool) -> Mask:
    f = an.field(name, sorted=sorted)
    return an.mask(lambda q, k: f(q) == f(k))


def _global_tokens(unit: int) -> Mask:
    kind = an.field("kind")
    return an.window(4 * unit) | an.mask(lambda q, k: (kind(k) == 1) | (kind(q) == 1))


def _two_windows(unit: int) -> Mask:
    w1, w2 = an.param("w1"), an.param("w2")
    return an.mask(lambda q, k: (abs(q - k - w1) <= unit) | (abs(q - k - w2) <= unit))


def _prefix(unit: int) -> Mask:
    prefix = an.param("prefix", low=0)
    return an.causal() | an.mask(lambda q, k: k < prefix)


def _clashing(unit: int) -> Mask:
    """Names that tile programs use as well."""
    stop, start_ = an.field("stop", sorted=True), an.param("start")
    return an.mask(lambda q, k: (stop(q) == stop(k)) & (q - k < start_)) | an.mask(lambda q, k: k < 2 * unit)


PATTERNS: dict[str, Named] = {
    "full": Named(lambda u: an.full()),
    "causal": Named(lambda u: an.causal()),
    "anticausal": Named(lambda u: an.mask(lambda q, k: k >= q)),
    "window": Named(lambda u: an.window(5 * u)),
    "window_left": Named(lambda u: an.window(5 * u, 0)),
    "window_param": Named(lambda u: an.window(an.param("w"), 0), lambda u, s: {"w": 6 * u}),
    "window_params": Named(
        lambda u: an.window(an.param("left"), an.param("right")), lambda u, s: {"left": 7 * u, "right": -2 * u}
    ),
    "window_sinks": Named(lambda u: an.causal() & (an.window(5 * u, 0) | an.mask(lambda q, k: k < 2 * u))),
    "outside_window": Named(lambda u: ~an.window(4 * u)),
    "two_windows": Named(_two_windows, lambda u, s: {"w1": 6 * u, "w2": 2 * u}),
    "documents": Named(
        lambda u: an.causal() & _same("doc", sorted=True), lambda u, s: {"doc": s.both(documents(u, s))}, "tables"
    ),
    "documents_both_ways": Named(
        lambda u: _same("doc", sorted=True), lambda u, s: {"doc": s.both(documents(u, s))}, "tables"
    ),
    "document_sinks": Named(_document_sinks, lambda u, s: {"start": s.both(starts(u, s))}, "tables"),
    "document_heads": Named(_document_heads, lambda u, s: {"start": s.both(starts(u, s))}, "tables"),
    "other_documents": Named(
        lambda u: ~_same("doc", sorted=True), lambda u, s: {"doc": s.both(documents(u, s))}, "tables"
    ),
    "block_diagonal": Named(lambda u: an.mask(lambda q, k: q // (4 * u) == k // (4 * u))),
    "block_causal": Named(lambda u: an.mask(lambda q, k: k // (4 * u) <= q // (4 * u))),
    "block_param": Named(
        lambda u: (lambda n: an.mask(lambda q, k: k // n <= q // n))(an.param("n", low=1)), lambda u, s: {"n": 5 * u}
    ),
    "checkerboard": Named(lambda u: an.mask(lambda q, k: (q // (3 * u) + k // (3 * u)) % 2 == 0), way="lists"),
    "strided": Named(lambda u: an.mask(lambda q, k: k % 4 == 0)),
    "dilated": Named(lambda u: an.window(9 * u, 0) & an.mask(lambda q, k: (q - k) % 3 == 0)),
    "strided_and_near": Named(lambda u: an.causal() & (an.window(3 * u) | an.mask(lambda q, k: (k - q) % 5 == 1))),
    "modular_product": Named(lambda u: an.mask(lambda q, k: (q * k) % 5 == 0), way="lists"),
    "modular_sum": Named(lambda u: an.mask(lambda q, k: (q + k) % 6 < 2)),
    "head_windows": Named(lambda u: an.causal() & an.mask(lambda q, k, h: q - k < 3 * u * (h + 1))),
    "one_causal_head": Named(lambda u: an.mask(lambda q, k, h: (h != 1) | (k <= q))),
    "batch_prefix": Named(lambda u: an.causal() | an.mask(lambda q, k, b: k < 4 * u * (b + 1))),
    "prefix_lm": Named(_prefix, lambda u, s: {"prefix": 7 * u}),
    "unsorted": Named(lambda u: _same("kind", sorted=False), lambda u, s: {"kind": s.both(kinds(u, s))}, "lists"),
    "global_tokens": Named(_global_tokens, lambda u, s: {"kind": s.both(kinds(u, s))}, "lists"),
    "antidiagonal": Named(
        lambda u: (lambda t: an.mask(lambda q, k: abs(q + k - t) <= 2 * u))(an.param("turn")),
        lambda u, s: {"turn": s.positions},
    ),
    "slope": Named(lambda u: an.mask(lambda q, k: (2 * k <= q + 3 * u) & (5 * k >= 2 * q - 4 * u))),
    "parabola": Named(lambda u: an.mask(lambda q, k: (q - k) * (q - k) <= 30 * u * u)),
    "cases": Named(
        lambda u: an.mask(lambda q, k: k <= tr.where(q < 8 * u, 3 * u, tr.maximum(q - 2 * u, tr.minimum(q, 5 * u))))
    ),
    "first_tile_masked": Named(lambda u: an.mask(lambda q, k: (k >= 9 * u) & (k <= q + 9 * u))),
    "dead_rows": Named(lambda u: an.causal() & an.mask(lambda q, k: q % 7 >= 2)),
    "dead_tiles": Named(lambda u: an.window(6 * u) & an.mask(lambda q, k: (q // (8 * u)) % 2 == 1)),
    "dead_columns": Named(lambda u: an.causal() & an.mask(lambda q, k: (k < 6 * u) | (k >= 13 * u))),
    "negative_offsets": Named(lambda u: an.mask(lambda q, k: ((q - k) // (3 * u) >= -2) & ((k - q) % -4 != -1))),
    "clashing_names": Named(_clashing, lambda u, s: {"stop": s.both(documents(u, s)), "start": 4 * u}, "tables"),
    "empty": Named(lambda u: an.mask(lambda q, k: (k < q) & (k > q))),
    "empty_param": Named(lambda u: (lambda n: an.mask(lambda q, k: k < n))(an.param("n")), lambda u, s: {"n": 0}),
}


def call_of(
    named: Named,
    unit: int,
    q_len: int,
    k_len: int | None = None,
    *,
    batch: int = 2,
    heads: int = 3,
    q_start: int | None = None,
    device: str = "cpu",
) -> Call:
    """The named pattern bound to sizes."""
    k_len = q_len if k_len is None else k_len
    sizes = Sizes(batch, heads, q_len, k_len, first_position(q_start, q_len, k_len))
    mask = named.mask(unit)
    given = {
        name: tuple(t.to(device) for t in v) if isinstance(v, tuple) else v.to(device) if isinstance(v, Tensor) else v
        for name, v in named.bindings(unit, sizes).items()
    }
    return mask.signature.bind(
        given,
        batch=batch,
        heads=heads,
        q_len=q_len,
        k_len=k_len,
        q_start=q_start,
        device=device,
        check=True,
    )
