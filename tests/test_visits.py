"""The counts of `explain` are true: the tiles that the kernels really visit are counted and compared.

Counted in the interpreter, from the unchanged kernels: every visited tile costs one product of scores and one with v.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from triton.runtime import interpreter

import attnir as an
from attnir.codegen.configure import configure, tile_of
from attnir.codegen.targets import current_target
from attnir.testing.case import Case
from tests.test_axes import CASES

NAMES = [
    "causal S=521",
    "window S=521",
    "full",
    "q shorter",
    "q longer, late",
    "sinks",
    "packed",
    "inside documents",
    "modular",
    "block lists",
    "per head",
    "dead rows and tiles",
    "all dead",
]

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="counts in the interpreter, which runs without a GPU")


@contextmanager
def counted_products(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The number of matrix products that the interpreter computes meanwhile, in a list of one."""
    count = [0]
    plain = interpreter.InterpreterBuilder.create_dot

    def create_dot(self: object, *args: object, **options: object) -> object:
        count[0] += 1
        return plain(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(interpreter.InterpreterBuilder, "create_dot", create_dot)
        yield count


LAID_OUT = {  # in classes, in boxes, in both
    "dilated": Case(an.window(255, 0) & an.mask(lambda q, k: (q - k) % 8 == 0), q_len=521),
    "a neighbourhood": Case(an.neighborhood(an.grid(y=32, x=32), 5), q_len=1024),
    "labels": Case(
        an.mask(lambda q, k: an.field("c")(q) == an.field("c")(k)) & an.causal(),
        q_len=700,
        bindings={"c": torch.arange(700) * 7 % 5},
    ),
    "a window and every 32nd": Case(an.causal() & (an.window(63) | an.mask(lambda q, k: k % 32 == 0)), q_len=1025),
}
TRIED = {name: CASES[name] for name in NAMES} | LAID_OUT


@pytest.mark.parametrize("name", TRIED)
def test_the_kernels_visit_the_tiles_that_explain_counts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    c: Case = TRIED[name]
    q, k, v, do, _ = c.tensors()
    attention = an.compile(c.pattern, backend="triton")
    options = c.options()
    options.pop("scale")
    e = attention.explain(
        c.q_len,
        k.shape[2],
        heads=c.heads,
        batch=c.batch,
        d=c.d,
        dtype=c.dtype,
        **options,  # type: ignore[arg-type]
    )
    leaves = [t.requires_grad_() for t in (q, k, v)]
    with counted_products(monkeypatch) as forward:
        o = attention(*leaves, **c.options())
    visits = e.tiles.full + e.tiles.partial
    assert forward[0] == 2 * visits, f"{forward[0] / 2} tiles visited, {visits} explained"
    with counted_products(monkeypatch) as backward:
        torch.autograd.grad(o, leaves, do)
    # dq: three products a tile of its walk, whose tiles are of its own size; dkv: four a tile of the transposed walk.
    dq_tile = attention.plan.config("dq")
    assert dq_tile is None
    transposed = e.transposed_tiles.full + e.transposed_tiles.partial
    walked = attention.explain(c.q_len, k.shape[2], heads=c.heads, batch=c.batch, tile=_dq_tile(c), **options)  # type: ignore[arg-type]
    assert backward[0] == 3 * (walked.tiles.full + walked.tiles.partial) + 4 * transposed


def _dq_tile(c: Case) -> tuple[int, int]:
    plan, dv = an.compile(c.pattern, backend="triton").plan, c.d if c.dv is None else c.dv
    return tile_of("dq", configure(plan, "dq", current_target(), c.d, dv, c.dtype).config)
