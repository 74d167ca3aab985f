"""What is too small alone goes together: samples and heads that visit other keys compute what they compute apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import attnir as an
from attnir.codegen.torch import budget, build
from attnir.codegen.torch.budget import CPU, limited
from attnir.codegen.torch.schedule import Group, Schedule
from attnir.codegen.torch.series import series
from attnir.testing.judge import Results, differentiated

APART, TOGETHER = replace(CPU, alone=0), replace(CPU, alone=1 << 60)
CUT = replace(TOGETHER, pairs=1 << 11)
DOC, GIVEN = an.field("doc"), an.selection("given", "b", "h")
ALIKE = an.selection("alike")
OWN = an.mask(lambda q, k: DOC(q) == DOC(k))
REACH = an.tensor("reach", "b", "h")
TABLE = an.tensor("table", "h", "k")
PICKS, SHARED = (an.route.topk_blocks(block=32, k=3, heads=heads) for heads in ("each", "all"))
LISTED = an.mask(lambda q, k: GIVEN(q // 32, k // 32) > 0)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def labels(*shape: int) -> Tensor:
    return torch.randint(0, 5, shape, generator=seeded())


def lists(*shape: int) -> Tensor:
    """Lists of up to 4 of 7 members: some shorter, some empty."""
    drawn = torch.randint(-2, 7, (*shape, 7, 4), generator=seeded()).clamp(min=-1)
    return drawn.to(torch.int32)


CASES: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {  # pattern, options of compile, bindings
    "lists of each head": (an.full(), {"route": PICKS}, {}),
    "lists of each sample": (an.full(), {"route": SHARED}, {}),
    "lists of each head, causal": (an.causal(), {"route": PICKS}, {}),
    "lists of many lengths": (LISTED & an.causal(), {}, {"given": lists(3, 4)}),
    "lists for all": (an.mask(lambda q, k: ALIKE(q // 32, k // 32) > 0), {}, {"alike": lists()}),
    "labels of each sample": (OWN, {}, {"doc": labels(3, 200)}),
    "labels of each sample, causal": (OWN & an.causal(), {}, {"doc": labels(3, 200)}),
    "windows of each sample and head": (
        an.mask(lambda q, k, b, h: (q - k < REACH[b, h]) & (k <= q)),
        {},
        {"reach": torch.randint(1, 150, (3, 4), generator=seeded())},
    ),
    "a learned score, a factor": (
        an.pattern(
            an.causal(),
            score=an.score(lambda s, k, h: s + TABLE[h, k]),
            factor=an.factor(lambda k, h: an.where(k % 3 == h, 0.5, 1.0)),
        ),
        {"route": PICKS},
        {"table": torch.randn(4, 200, generator=seeded())},
    ),
    "sigmoid": (an.causal(), {"route": PICKS, "normalize": an.weights(lambda s: an.sigmoid(s))}, {}),
    "a sink": (
        OWN,
        {"normalize": an.softmax(sink=an.tensor("sink", "h"))},
        {"doc": labels(3, 200), "sink": torch.ones(4)},
    ),
}


def results(name: str, kv_heads: int, q_len: int, bounds: budget.Budget) -> Results:
    pattern, options, bindings = CASES[name]
    generator = seeded()
    q, do = (torch.randn(3, q_len, 4, 16, generator=generator).transpose(1, 2) for _ in range(2))
    k, v = (torch.randn(3, kv_heads, 200, 16, generator=generator) for _ in range(2))
    learned = [n for n in ("table", "sink") if n in bindings]
    attention = an.compile(pattern, backend="torch", **options)
    with limited(bounds):
        with_lse = "normalize" not in options or name == "a sink"
        dlse = torch.randn(3, 4, q_len, generator=generator)
        return differentiated(attention, (q, k, v, do, dlse), bindings, learned, with_lse=with_lse)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("q_len", [200, 77])
def test_together_as_apart(name: str, kv_heads: int, q_len: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Schedule] = []
    monkeypatch.setattr(build, "Schedule", lambda *args, **more: made.append(Schedule(*args, **more)) or made[-1])
    apart = results(name, kv_heads, q_len, APART)
    assert all(g.gathered is None for s in made for g in s.groups)
    made.clear()
    for bounds in (TOGETHER, CUT):
        together = results(name, kv_heads, q_len, bounds)
        assert all(len(s.groups) == 1 and s.groups[0].gathered is not None for s in made)
        assert apart.keys() == together.keys()
        for which, expected in apart.items():
            torch.testing.assert_close(
                together[which], expected, rtol=1e-5, atol=1e-5, msg=lambda m, w=which: f"{w}: {m}"
            )


def test_products_of_a_batch_are_few() -> None:
    """Lists of equal length: one product of each visit, and one series of all visits of all samples and heads."""
    group = _group(PICKS)
    (found,) = series(group, 1, CPU)
    assert (len(found.rows), found.shape.height, found.shape.width, found.even) == (3 * 4 * 8, 32, 96, True)


def _group(route: Any) -> Group:
    made: list[Schedule] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "Schedule", lambda *args, **more: made.append(Schedule(*args, **more)) or made[-1])
        q, k, v = (torch.randn(3, 4, 256, 16, generator=seeded()) for _ in range(3))
        an.compile(an.full(), route=route, backend="torch")(q, k, v)
    (group,) = made[0].groups
    return group


def test_what_is_large_stays_apart() -> None:
    """Documents of a thousand tokens: their keys are views, and wide."""
    q = torch.randn(2, 8, 4096, 8)
    docs = torch.stack([torch.arange(4096) // n for n in (1024, 2048)])
    made: list[Schedule] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "Schedule", lambda *args, **more: made.append(Schedule(*args, **more)) or made[-1])
        doc = an.field("doc", sorted=True)
        an.compile(an.mask(lambda q, k: doc(q) == doc(k)), backend="torch")(q, q, q, doc=docs)
    assert [g.gathered for g in made[0].groups] == [None, None]
