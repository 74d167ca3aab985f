"""The torch target alone, on schedules made here from a dense mask, against dense float64 attention written here."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

import attnir as an
from attnir.codegen.gradients import Incoming
from attnir.codegen.torch import budget
from attnir.codegen.torch.operands import Unit
from attnir.codegen.torch.schedule import Group, Schedule, Span, Visit
from attnir.codegen.torch.series import Series, Shape, series
from attnir.codegen.torch.steps import steps
from attnir.codegen.torch.target import backward, default_tile, forward

NAMES = ("o", "lse", "dq", "dk", "dv")


# Patterns as dense masks over query and key indices [Sq, 1] and [1, Sk]; queries are the last positions.
def causal(q: Tensor, k: Tensor) -> Tensor:
    return k <= q


def window(q: Tensor, k: Tensor) -> Tensor:
    return (k <= q) & (k > q - 70)


def sinks(q: Tensor, k: Tensor) -> Tensor:
    return (k <= q) & ((k > q - 50) | (k < 4))


def documents(q: Tensor, k: Tensor) -> Tensor:
    return (k <= q) & (k // 90 == q // 90)


def modular(q: Tensor, k: Tensor) -> Tensor:
    return (q - k) % 3 == 0


def gaps(q: Tensor, k: Tensor) -> Tensor:
    """Rows 0-7 and a whole run of tiles are dead."""
    return (q >= 8) & ((q < 100) | (q >= 300)) & (k % 97 < 60)


def full(q: Tensor, k: Tensor) -> Tensor:
    return (q >= 0) & (k >= 0)


PATTERNS = (causal, window, sinks, documents, modular, gaps, full)


def dense_mask(pattern: Callable[[Tensor, Tensor], Tensor], q_len: int, k_len: int) -> Tensor:
    q = torch.arange(q_len)[:, None] + max(0, k_len - q_len)
    return pattern(q, torch.arange(k_len)[None]).expand(q_len, k_len)[None, None]


def schedule_of(mask: Tensor, batch: int, heads: int, tile: tuple[int, int]) -> Schedule:
    """The schedule of a mask [B or 1, Hq or 1, Sq, Sk], one group for each of its samples and heads."""
    groups = []
    for b, h in itertools.product(range(mask.shape[0]), range(mask.shape[1])):
        batches = slice(0, batch) if mask.shape[0] == 1 else slice(b, b + 1)
        members = slice(0, heads) if mask.shape[1] == 1 else slice(h, h + 1)
        groups.append(Group(batches, members, tuple(visits_of(mask[b, h], tile))))

    return Schedule(tuple(groups), live_in(mask))


def live_in(mask: Tensor) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """What a schedule asks of a predicate, from a mask [B or 1, Hq or 1, Sq, Sk]."""
    return lambda b, h, rows, cols: mask[b % mask.shape[0], h % mask.shape[1], rows, cols]


def visits_of(mask: Tensor, tile: tuple[int, int]) -> Iterator[Visit]:
    q_len, k_len = mask.shape
    for start in range(0, q_len, tile[0]):
        rows = mask[start : start + tile[0]]
        spans: list[Span] = []
        for at in range(0, k_len, tile[1]):
            part = rows[:, at : at + tile[1]]
            if not part.any():
                continue
            full = bool(part.all())
            if spans and spans[-1].stop == at and spans[-1].full == full:
                spans[-1] = replace(spans[-1], stop=at + part.shape[1])
            else:
                spans.append(Span(at, at + part.shape[1], full))
        yield Visit(start, min(start + tile[0], q_len), tuple(spans))


@dataclass(frozen=True)
class Sizes:
    batch: int = 1
    heads: int = 2
    kv_heads: int = 2
    q_len: int = 200
    k_len: int = 200
    d: int = 16
    dv: int = 16
    dtype: torch.dtype = torch.float32


def inputs(s: Sizes, seed: int = 0) -> dict[str, Tensor]:
    """q, k, v, do, dlse of a call."""
    random = torch.Generator().manual_seed(seed)
    shapes = {
        "q": (s.batch, s.heads, s.q_len, s.d),
        "k": (s.batch, s.kv_heads, s.k_len, s.d),
        "v": (s.batch, s.kv_heads, s.k_len, s.dv),
        "do": (s.batch, s.heads, s.q_len, s.dv),
    }
    given = {name: torch.randn(shape, generator=random, dtype=torch.float64) for name, shape in shapes.items()}
    given = {name: t.to(s.dtype) for name, t in given.items()}
    return {**given, "dlse": torch.randn(shapes["q"][:3], generator=random)}


def reference(given: dict[str, Tensor], mask: Tensor, scale: float) -> dict[str, Tensor]:
    """o, lse and gradients by autograd through dense float64 attention, from the same rounded inputs."""
    q, k, v = (given[name].detach().double().requires_grad_() for name in "qkv")
    ratio = q.shape[1] // k.shape[1]
    scores = q @ k.repeat_interleave(ratio, 1).transpose(-1, -2) * scale
    alive = mask.any(-1, keepdim=True)
    lse = torch.where(alive, scores.masked_fill(~mask & alive, -torch.inf), 0.0).logsumexp(-1)
    weights = torch.where(mask, (torch.where(mask, scores, 0.0) - lse[..., None]).exp(), 0.0)
    o = weights @ v.repeat_interleave(ratio, 1)
    dlse = given["dlse"].double() if given["dlse"] is not None else torch.zeros_like(lse)
    loss = (o * given["do"].double()).sum() + (lse * dlse * alive[..., 0]).sum()
    grads = torch.autograd.grad(loss, (q, k, v))
    return dict(zip(NAMES, (o.detach(), lse.detach().masked_fill(~alive[..., 0], -torch.inf), *grads), strict=True))


def allowed(given: dict[str, Tensor], mask: Tensor, scale: float, want: dict[str, Tensor]) -> dict[str, Tensor]:
    """The error that each row [..., 1] of a result may have: a rounding of the result, and of what is summed in it.

    Sums are in float32, so they may be wrong by some of its roundings of the sum of the absolute terms; o, which the
    backward reads, is rounded to the input's dtype. The norm over a row stands for its entries.
    """
    q, k, v, do = (given[name].double() for name in ("q", "k", "v", "do"))
    eps, fine = torch.finfo(given["q"].dtype).eps, 16 * torch.finfo(torch.float32).eps
    ratio = q.shape[1] // k.shape[1]
    k, v = (t.repeat_interleave(ratio, 1) for t in (k, v))
    scores = q @ k.transpose(-1, -2) * scale
    lse = want["lse"].masked_fill(want["lse"] == -torch.inf, 0.0)[..., None]
    p = torch.where(mask, (scores - lse).exp(), 0.0)
    size = 1 + q.abs() @ k.mT.abs() * scale + lse.abs()  # exp magnifies the rounding of scores, and underflows
    p_terms = torch.where(mask, p * size + torch.finfo(torch.float32).tiny, 0.0)
    delta = (do * want["o"]).abs().sum(-1, keepdim=True)
    dlse = 0.0 if given["dlse"] is None else given["dlse"].double().abs()[..., None]
    ds = scale * (fine * p_terms * ((do @ v.transpose(-1, -2)).abs() + delta + dlse) + eps * p * delta)
    dk, dv = (t.unflatten(1, (-1, ratio)).sum(2) for t in (ds.mT @ q.abs(), fine * p_terms.mT @ do.abs()))
    terms = {"o": fine * p_terms @ v.abs(), "lse": fine * size.amax(-1), "dq": ds @ k.abs()}
    return {
        name: t[..., None]
        if name == "lse"
        else t.norm(dim=-1, keepdim=True) + eps * want[name].norm(dim=-1, keepdim=True)
        for name, t in {**terms, "dk": dk, "dv": dv}.items()
    }


def compare(got: dict[str, Tensor], given: dict[str, Tensor], mask: Tensor, scale: float) -> None:
    want = reference(given, mask, scale)
    limits = allowed(given, mask, scale, want)
    for name in NAMES:
        x, ref = got[name], want[name]
        assert x.shape == ref.shape and x.dtype == (torch.float32 if name == "lse" else given["q"].dtype), name
        assert torch.equal(x == -torch.inf, ref == -torch.inf), f"{name}: dead rows"
        error = (x.double() - ref).masked_fill(ref == -torch.inf, 0.0)
        size = error.abs()[..., None] if name == "lse" else error.norm(dim=-1, keepdim=True)
        assert bool((size <= limits[name]).all()), (
            f"{name}: {float((size / limits[name]).nan_to_num().max()):.2f} of allowed"
        )


def run(given: dict[str, Tensor], schedule: Schedule, scale: float) -> dict[str, Tensor]:
    q, k, v = (given[name] for name in "qkv")
    o, lse = forward(q, k, v, schedule, scale)
    grads = backward(Incoming(q, k, v, o, lse, given["do"], given["dlse"], scale), schedule, {})
    assert grads.q is not None and grads.k is not None and grads.v is not None and not grads.reals
    return dict(zip(NAMES, (o, lse, grads.q, grads.k, grads.v), strict=True))


def check(s: Sizes, mask: Tensor, given: dict[str, Tensor] | None = None, tile: tuple[int, int] = (32, 16)) -> None:
    given = inputs(s) if given is None else given
    scale = s.d**-0.5
    compare(run(given, schedule_of(mask, s.batch, s.heads, tile), scale), given, mask, scale)


SIZES = (
    Sizes(),
    Sizes(batch=2, heads=6, kv_heads=2, d=8, dv=24),
    Sizes(heads=7, kv_heads=1, q_len=33, k_len=201),
    Sizes(heads=3, kv_heads=3, q_len=321, k_len=190, d=1, dv=5),
    Sizes(q_len=1, k_len=129, heads=8, kv_heads=1),
    Sizes(q_len=521, k_len=521, d=72, dv=40),
    Sizes(batch=3, dtype=torch.bfloat16),
    Sizes(heads=4, dtype=torch.float16, d=80),
    Sizes(heads=4, dtype=torch.float64),
)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("s", SIZES, ids=str)
def test_forward_and_gradients(pattern: Callable[[Tensor, Tensor], Tensor], s: Sizes) -> None:
    check(s, dense_mask(pattern, s.q_len, s.k_len))


@pytest.mark.parametrize("tile", [(64, 64), (128, 32), (7, 5), (1, 1000)])
@pytest.mark.parametrize("pattern", [sinks, gaps])
def test_any_tile(pattern: Callable[[Tensor, Tensor], Tensor], tile: tuple[int, int]) -> None:
    s = Sizes(q_len=250, k_len=333)
    check(s, dense_mask(pattern, s.q_len, s.k_len), tile=tile)


def whole(visits: Iterable[Visit]) -> Group:
    """One head of one sample."""
    return Group(slice(0, 1), slice(0, 1), tuple(visits))


@pytest.mark.parametrize("s", [Sizes(q_len=1100, k_len=1300, d=64, dv=64), Sizes(1, 6, 2, 700, 1500, 32, 96)], ids=str)
@pytest.mark.parametrize("pattern", [causal, full, sinks])
def test_wide_products(pattern: Callable[[Tensor, Tensor], Tensor], s: Sizes) -> None:
    mask = dense_mask(pattern, s.q_len, s.k_len)
    visits = schedule_of(mask, 1, s.heads, (64, 64)).groups[0].visits
    tall = [x for x in series(whole(visits), s.heads // s.kv_heads, budget.CPU) if x.shape.height > 64]
    assert bool(tall) == (pattern is not sinks), "these sizes try the wide products"
    check(s, mask, tile=(64, 64))


def test_products_cut_by_a_small_budget() -> None:
    s = Sizes(batch=3, heads=6, kv_heads=3)
    with budget.limited(budget.Budget(heads=2, rows=64, wide=48, pairs=1 << 10, alone=0)):
        for pattern in PATTERNS:
            check(s, dense_mask(pattern, s.q_len, s.k_len))


def test_masks_of_their_own_for_samples_and_heads() -> None:
    s = Sizes(batch=2, heads=6, kv_heads=2)
    patterns = [(causal, window, gaps), (sinks, modular, full)]
    rows = [[dense_mask(p, s.q_len, s.k_len)[0, 0] for p in row for _ in range(2)] for row in patterns]
    mask = torch.stack([torch.stack(row) for row in rows])
    check(s, mask)
    check(s, mask[:1])
    check(s, mask[:, :1])


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5])
def test_a_group_may_cut_a_key_head(cut: int) -> None:
    s = Sizes(batch=2, heads=6, kv_heads=2)
    mask = dense_mask(causal, s.q_len, s.k_len)
    whole = schedule_of(mask, s.batch, s.heads, (32, 16))
    groups = tuple(replace(whole.groups[0], heads=heads) for heads in (slice(0, cut), slice(cut, 6)))
    given = inputs(s)
    compare(run(given, Schedule(groups, whole.live), 0.25), given, mask, 0.25)


def test_one_mask_for_heads_that_differ() -> None:
    """One group of all heads whose predicate reads the head."""
    s = Sizes(batch=2, heads=4, kv_heads=2)
    mask = torch.cat([dense_mask(p, s.q_len, s.k_len) for p in (causal, window, sinks, gaps)], 1)
    visits = tuple(
        replace(v, spans=tuple(replace(x, full=False) for x in v.spans)) for v in visits_of(mask.any(1)[0], (32, 16))
    )
    whole = Schedule((Group(slice(0, 2), slice(0, 4), visits),), live_in(mask))
    given = inputs(s)
    compare(run(given, whole, 0.25), given, mask, 0.25)


def test_a_predicate_of_one_axis_broadcasts() -> None:
    s = Sizes()
    mask = (torch.arange(s.k_len) % 5 > 1).expand(1, 1, s.q_len, s.k_len)
    whole = schedule_of(mask, s.batch, s.heads, (32, 16))
    narrow = Schedule(whole.groups, lambda b, h, rows, cols: mask[0, 0, 0, cols])
    for name, x in run(inputs(s), whole, 0.25).items():
        assert torch.equal(x, run(inputs(s), narrow, 0.25)[name]), name


def test_rows_that_no_visit_names_are_dead() -> None:
    s = Sizes()
    mask = dense_mask(gaps, s.q_len, s.k_len)
    whole = schedule_of(mask, s.batch, s.heads, (32, 16))
    fewer = replace(whole.groups[0], visits=tuple(v for v in whole.groups[0].visits if v.spans))
    assert len(fewer.visits) < len(whole.groups[0].visits)
    for name, x in run(inputs(s), whole, 0.25).items():
        assert torch.equal(x, run(inputs(s), Schedule((fewer,), whole.live), 0.25)[name]), name


def strided(t: Tensor, layout: str) -> Tensor:
    """The same values in another layout."""
    if layout == "heads last":
        return t.transpose(1, 2).contiguous().transpose(1, 2)
    if layout == "widths apart":
        return torch.stack([t, t.new_full(t.shape, torch.nan)], -1)[..., 0]
    if layout == "width first":
        return t.transpose(-1, -2).contiguous().transpose(-1, -2)
    return torch.nn.functional.pad(t, (3, 5, 2, 1), value=torch.nan)[..., 2:-1, 3:-5]


@pytest.mark.parametrize("layout", ["heads last", "widths apart", "width first", "guard bands"])
def test_strides(layout: str) -> None:
    for s in (Sizes(batch=2, heads=4, kv_heads=2), Sizes(batch=2, q_len=1100, k_len=1100, d=64, dv=64)):
        given = {name: strided(t, layout) if t.dim() == 4 else t for name, t in inputs(s).items()}
        check(s, dense_mask(causal, s.q_len, s.k_len), given, tile=(64, 64))


@pytest.mark.parametrize("q_len", [200, 1100])
def test_expanded_gradient(q_len: int) -> None:
    s = Sizes(q_len=q_len, k_len=q_len, d=64, dv=64)
    given = inputs(s)
    one, zero = torch.ones(()), torch.zeros(())
    check(s, dense_mask(causal, q_len, q_len), {**given, "do": one.expand(given["do"].shape)})
    check(s, dense_mask(causal, q_len, q_len), {**given, "do": zero.expand(given["do"].shape)})


def test_without_a_gradient_for_lse() -> None:
    s = Sizes()
    check(s, dense_mask(gaps, s.q_len, s.k_len), {**inputs(s), "dlse": None})


def test_nothing_leaks_from_keys_outside_the_spans() -> None:
    s = Sizes(q_len=300, k_len=300)
    mask = dense_mask(window, 300, 300).clone()
    mask[..., 96:160] = False  # four whole tiles of keys that no row sees
    clean, dirty = inputs(s), inputs(s)
    for name in ("k", "v"):
        dirty[name][:, :, 96:160] = torch.nan
    schedule = schedule_of(mask, s.batch, s.heads, (32, 16))
    want, got = run(clean, schedule, 0.25), run(dirty, schedule, 0.25)
    for name in NAMES:
        assert torch.equal(want[name], got[name]), name
    assert not got["dk"][:, :, 96:160].any() and not got["dv"][:, :, 96:160].any()


@pytest.mark.parametrize("factor,shift", [(8.0, 0.0), (1.0, 30.0), (0.0, 0.0)])
def test_peaked_shifted_and_constant_scores(factor: float, shift: float) -> None:
    s = Sizes(q_len=200, k_len=700)
    given = inputs(s)
    given["q"] = given["q"] * factor + shift
    given["k"][:, :, 5] *= 3
    check(s, dense_mask(sinks, 200, 700), given, tile=(64, 64))


def test_counts_are_exact_with_zero_queries() -> None:
    """Without scores, lse is the log of the number of live keys, and o times that a sum of integers."""
    s = Sizes(q_len=1100, k_len=1100, d=64, dv=64)
    mask = dense_mask(causal, 1100, 1100)
    given = inputs(s)
    given["q"].zero_()
    given["v"] = torch.randint(-8, 9, given["v"].shape, generator=torch.Generator().manual_seed(1)).float()
    o, lse = forward(*(given[n] for n in "qkv"), schedule_of(mask, 1, 2, (64, 64)), 1.0)
    count = mask.sum(-1).double()
    torch.testing.assert_close(lse.double(), count.log().expand(lse.shape), rtol=3e-7, atol=3e-7)
    sums = mask.double() @ given["v"].double()
    assert torch.equal((o.double() * count[..., None]).round(), sums)


def test_same_bits_every_time() -> None:
    s = Sizes(q_len=1100, k_len=1100, d=64, dv=64)
    schedule = schedule_of(dense_mask(causal, 1100, 1100), 1, 2, (64, 64))
    first, second = (run(inputs(s), schedule, 0.125) for _ in range(2))
    for name in NAMES:
        assert torch.equal(first[name], second[name]), name


def test_mixed_precision_does_not_reach_inside() -> None:
    s = Sizes()
    schedule = schedule_of(dense_mask(causal, s.q_len, s.k_len), s.batch, s.heads, (32, 16))
    plain = run(inputs(s), schedule, 0.25)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = run({n: t.requires_grad_(n in "qkv") for n, t in inputs(s).items()}, schedule, 0.25)
    for name in NAMES:
        assert torch.equal(plain[name], mixed[name]) and not mixed[name].requires_grad, name


def visited(found: Series, counts: Tensor, checked: Tensor) -> None:
    """Count the pairs of a series' products, and those that are checked."""
    height, width = found.shape.height, found.shape.width
    assert len(set(found.rows)) == len(found.rows), "the products of a series have rows of their own"
    for row, col in zip(found.rows, found.cols, strict=True):
        counts[row : row + height, col : col + width] += 1
        for start, stop in found.shape.checks:
            assert 0 <= start < stop <= width
            checked[row : row + height, col + start : col + stop] += 1
    if found.even:
        for places in (found.rows, found.cols):
            assert len({b - a for a, b in itertools.pairwise(places)}) <= 1


@pytest.mark.parametrize("limits", [budget.CPU, budget.Budget(16, 128, 64, 1 << 12, 0)], ids=str)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_series_visit_every_span_once(pattern: Callable[[Tensor, Tensor], Tensor], limits: budget.Budget) -> None:
    mask = dense_mask(pattern, 1500, 1500)[0, 0]
    visits = list(visits_of(mask, (64, 32)))
    counts, checked = torch.zeros(2, *mask.shape, dtype=torch.int64)
    wanted, partial = torch.zeros(2, *mask.shape, dtype=torch.int64)
    for visit in visits:
        for span in visit.spans:
            (wanted if span.full else partial)[visit.start : visit.stop, span.start : span.stop] += 1
    turns = torch.zeros(1500, dtype=torch.int64)
    for found in series(whole(visits), 2, limits):
        visited(found, counts, checked)
        assert found.shape.height * found.shape.width * 2 <= max(limits.pairs, 64 * 2)
        assert found.shape.height <= max(64, limits.rows // 2)
        for row in found.rows:
            rows = turns[row : row + found.shape.height]
            assert (rows == found.shape.turn).all(), "turns come in order"
            rows += 1
    assert torch.equal(counts, wanted + partial) and torch.equal(checked, partial)


def unit_of(n: int) -> Unit:
    """One head of n samples."""
    return Unit(Group(slice(0, n), slice(0, 1), ()), slice(0, 1), slice(0, 1), 1)


@pytest.mark.parametrize("n", [1, 3, 8])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_steps_do_every_product_once(pattern: Callable[[Tensor, Tensor], Tensor], n: int) -> None:
    found = series(whole(visits_of(dense_mask(pattern, 1500, 1500)[0, 0], (64, 32))), 1, budget.CPU)
    want = {(m, r, c) for s in found for r, c in zip(s.rows, s.cols, strict=True) for m in range(n)}
    got = [
        (m, r, c)
        for step in steps(found, unit_of(n), 1 << 17)
        for r, c in zip(step.series.rows, step.series.cols, strict=True)
        for m in range(n)[step.members]
    ]
    assert len(got) == len(want) and set(got) == want


@pytest.mark.parametrize("cols", [(0, 16, 32, 48, 64), (7, 7, 7), (0, 100, 200), (5,), (90, 3, 41)])
@pytest.mark.parametrize("pairs", [1, 1 << 20])
def test_sums_over_keys_that_overlap(cols: tuple[int, ...], pairs: int) -> None:
    """What products add to keys arrives once from each, however the products are batched."""
    shape = Shape(0, 8, 40, ())
    even = len({b - a for a, b in itertools.pairwise(cols)}) <= 1
    found = Series(shape, tuple(range(0, 8 * len(cols), 8)), cols, even)
    total, want = torch.zeros(2, 3, 300, 4)
    for step in steps([found], unit_of(3), pairs):
        more = torch.randint(-8, 8, (*step.shape[:2], 40, 4)).float()
        step.add_to_keys(total, more)
        for i, col in enumerate(step.series.cols):
            want[step.members, col : col + 40] += more[:, i] if step.by_member else more[i]
    assert torch.equal(total, want) and total.any()


def test_no_step_holds_more_than_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """At S = 4096 the largest tensor that is made, other than inputs, results and their like, is a step's scores."""
    sizes: list[int] = []
    empty = torch.empty

    def counted(*args: object, **kwargs: object) -> Tensor:
        made: Tensor = empty(*args, **kwargs)  # type: ignore[call-overload]
        sizes.append(made.numel())
        return made

    s = Sizes(heads=4, kv_heads=4, q_len=4096, k_len=4096)
    given, schedule = inputs(s), schedule_of(dense_mask(causal, 4096, 4096), 1, 4, (64, 64))
    monkeypatch.setattr(torch, "empty", counted)
    run(given, schedule, 0.25)
    assert max(sizes) <= max(budget.CPU.pairs, given["q"].numel())


def test_default_tile() -> None:
    for unit, tile in ((1, 64), (8, 64), (16, 16), (49, 49), (96, 48), (128, 64), (67, 64)):
        assert default_tile(an.pattern(an.route.topk_blocks(block=unit, k=1).mask)) == (tile, tile), unit
    assert default_tile(an.pattern(an.causal())) == (64, 64)
    assert default_tile(an.pattern(an.causal()), 16) == (16, 16)
    assert default_tile(an.pattern(an.causal(), normalize=an.softmax(landmarks=128))) == (64, 128)
