"""Every axis of verification.md section 4 on every executor: numbers forward and backward against dense float64.

Executors: the torch target, the Triton kernels in the interpreter (or compiled, where a GPU is).
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import attnir as an
from attnir.testing.case import Case
from tests.checks import check

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BACKENDS = ["torch", pytest.param("triton", marks=pytest.mark.gpu) if DEVICE == "cuda" else "triton"]
DOC, START, KIND = an.field("doc", sorted=True), an.field("start", sorted=True), an.field("kind")

CAUSAL = an.causal()
WINDOW = an.causal() & an.window(100, 0)
SINKS = an.causal() & (an.window(60) | an.mask(lambda q, k: k < 4))
PACKED = an.causal() & an.mask(lambda q, k: DOC(q) == DOC(k))
INSIDE = (
    an.causal() & an.mask(lambda q, k: START(q) == START(k)) & an.mask(lambda q, k: (q - k < 40) | (k - START(q) < 3))
)
MODULAR = an.causal() & an.mask(lambda q, k: (q - k) % 3 == 0)
LISTED = an.mask(lambda q, k: (q // 64 + k // 64) % 2 == 0)
HEADS = an.causal() & an.mask(lambda q, k, h: (h % 2 == 0) | (q - k < 30))
SAMPLES = an.mask(lambda q, k, b: k < 20 + 50 * b)
LATE = an.mask(lambda q, k: k >= 64 + q // 4)  # the first tile is masked, the rows live
DEAD = an.mask(lambda q, k: (q % 2 == 0) & (k <= q) & (q // 64 != 1))  # dead rows, a dead tile of rows
UNSORTED = an.mask(lambda q, k: KIND(q) >= KIND(k)) & an.causal()


def lengths(n: int) -> torch.Tensor:
    return torch.arange(n) // 37


def starts(n: int) -> torch.Tensor:
    return torch.arange(n) // 37 * 37


def kinds(n: int) -> torch.Tensor:
    return torch.randint(0, 3, (n,), generator=torch.Generator().manual_seed(n))


CASES = {
    **{f"causal S={s}": Case(CAUSAL, q_len=s, heads=1) for s in (1, 2, 31, 127, 129, 257, 521, 1025)},
    **{f"window S={s}": Case(WINDOW, q_len=s, heads=1) for s in (1, 127, 257, 521)},
    "full": Case(an.full(), q_len=129),
    "q shorter": Case(CAUSAL, q_len=65, k_len=200),
    "q shorter, from 0": Case(CAUSAL, q_len=65, k_len=200, q_start=0),
    "q longer": Case(CAUSAL, q_len=200, k_len=65),
    "q longer, late": Case(WINDOW, q_len=200, k_len=130, q_start=40),
    "decoding": Case(WINDOW, q_len=1, k_len=257, heads=8, kv_heads=1),
    "sinks": Case(SINKS, q_len=257),
    "window as parameter": Case(an.window(an.param("w")), q_len=257, bindings={"w": 33}),
    "packed": Case(PACKED, q_len=257, bindings={"doc": lengths(257)}),
    "packed, a document each": Case(
        PACKED, q_len=129, batch=2, bindings={"doc": torch.stack([lengths(129), torch.arange(129) // 50])}
    ),
    "packed, pair": Case(PACKED, q_len=70, k_len=129, q_start=59, bindings={"doc": (lengths(129)[59:], lengths(129))}),
    "inside documents": Case(INSIDE, q_len=257, bindings={"start": starts(257)}),
    "modular": Case(MODULAR, q_len=257),
    "block lists": Case(LISTED, q_len=257),
    "block lists, field": Case(UNSORTED, q_len=257, bindings={"kind": kinds(257)}),
    "per head": Case(HEADS, q_len=257, heads=4, kv_heads=2),
    "a field of queries by sample, of keys shared": Case(
        an.mask(lambda q, k: (k + KIND(q)) % 3 == 0),
        q_len=129,
        batch=3,
        bindings={"kind": (torch.arange(3).repeat_interleave(129).view(3, 129), torch.zeros(129, dtype=torch.int64))},
    ),
    "per sample": Case(SAMPLES, q_len=129, batch=3),
    "first tile masked": Case(LATE, q_len=257),
    "dead rows and tiles": Case(DEAD, q_len=257),
    "proved empty, with a field": Case(
        an.mask(lambda q, k: (k < q) & (k > q) & (KIND(q) + 1 > an.param("w"))),
        q_len=40,
        bindings={"kind": kinds(40), "w": 1},
    ),
    "a constant of 33 bits": Case(an.mask(lambda q, k: k <= an.minimum(q, 5_000_000_000)), q_len=40),
    "ranges by head, grouped": Case(an.mask(lambda q, k, h: k <= q + q * h), q_len=40, heads=4, kv_heads=2),
    "all dead": Case(an.mask(lambda q, k: k > q + 1000), q_len=129),
    "batch of short": Case(CAUSAL, q_len=17, batch=5),
    **{f"group {g}": Case(WINDOW, q_len=129, heads=2 * g, kv_heads=2, d=16) for g in (1, 3, 7, 8)},
    **{f"D={d}": Case(WINDOW, q_len=129, d=d) for d in (1, 16, 24, 72, 80, 96, 128, 192, 256)},
    **{f"D={d} Dv={dv}": Case(WINDOW, q_len=129, d=d, dv=dv) for d, dv in ((16, 128), (192, 128), (64, 256), (72, 5))},
    **{layout: Case(WINDOW, q_len=129, heads=4, kv_heads=2, layout=layout) for layout in ("bshd", "padded")},
    **{kind: Case(WINDOW, q_len=257, kind=kind) for kind in ("peaked", "constant", "offset")},
    "scale": Case(CAUSAL, q_len=129, scale=0.7),
    "negative scale": Case(CAUSAL, q_len=129, scale=-0.3),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CASES)
def test_float32(name: str, backend: str) -> None:
    print(check(backend, CASES[name], DEVICE))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "name", ["causal S=257", "sinks", "packed", "D=80", "dead rows and tiles", "peaked", "constant", "offset"]
)
def test_low_precision(name: str, dtype: torch.dtype, backend: str) -> None:
    print(check(backend, replace(CASES[name], dtype=dtype), DEVICE))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_and_its_heads_equal_their_slices(backend: str) -> None:
    """Law: slices of batch and head equal the slices of the result, up to the order of additions in a product."""
    attention = an.compile(WINDOW, backend=backend)
    q, k, v, _, _ = Case(WINDOW, q_len=129, batch=2, heads=4, kv_heads=2).tensors(DEVICE)
    whole = attention(q, k, v)
    for b in range(2):
        for h in range(4):
            kv = h // 2
            part = attention(q[b : b + 1, h : h + 1], k[b : b + 1, kv : kv + 1], v[b : b + 1, kv : kv + 1])
            torch.testing.assert_close(part[0, 0], whole[b, h], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_expanded_gradient_of_the_output(backend: str) -> None:
    """`o.sum().backward()` hands over a gradient whose strides are 0."""
    c = Case(WINDOW, q_len=129)
    grads = []
    for f in (an.compile(WINDOW, backend=backend), an.reference(WINDOW)):
        leaves = [t.requires_grad_() for t in c.tensors(DEVICE)[:3]]
        f(*leaves).sum().backward()
        grads.append([t.grad for t in leaves])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b.to(a.dtype), rtol=1e-4, atol=2e-5)
