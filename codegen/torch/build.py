"""From a tile program and a call to the torch target's schedule: concrete spans of keys for each tile of queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from torch import Tensor

from attnir.call import Call
from attnir.codegen.plan import Plan
from attnir.codegen.torch.budget import budget_on, default_tile
from attnir.codegen.torch.distance import by_distance
from attnir.codegen.torch.floats import floated
from attnir.codegen.torch.gather import gather
from attnir.codegen.torch.operands import compute_dtype
from attnir.codegen.torch.overwriting import Overwriting
from attnir.codegen.torch.schedule import Change, Group, Landmarks, Learned, Schedule
from attnir.codegen.torch.spans import spans
from attnir.codegen.torch.together import together
from attnir.codegen.torch.units import LOG2E, Scaled, cheap, scaled
from attnir.dense import of_rows
from attnir.evaluate import Evaluator, entry_of_pairs, of_pairs, tokens_of_pairs
from attnir.expr import Expr
from attnir.heads import Heads
from attnir.labels import TOKEN, in_order
from attnir.program import Programs, TileProgram
from attnir.real import ONE, SCORE, derivative, is_unbounded, slope, tensors_read
from attnir.real_range import range_of
from attnir.separate import bias_of
from attnir.traverse import reads


def schedule(
    plan: Plan,
    call: Call,
    q: Tensor,
    v: Tensor,
    reals: Sequence[str] = (),
    maps: Heads | None = None,
    *,
    natural: bool = False,
    fold: bool = True,
) -> Schedule:
    """The spans that each tile of queries visits, for every sample and head; equal ones share a group.

    reals: the real tensors whose gradients are asked for. maps: those of heads, where k and v need some. natural:
    whether scores are wanted in natural units. fold: whether what samples and heads visit may go together.
    """
    pattern, weights = plan.pattern, plan.pattern.weights
    tile = default_tile(pattern, budget_on(q.device).tile)
    groups: list[Group] = []
    as_one = fold and maps is None and weights.landmarks is None
    for programs in plan.launches(tile):
        if len(programs) == 1 and programs[0].of_runs:
            groups += _of_runs(programs[0], call, v.shape[1] if as_one else None)
        else:
            groups += _gathered(programs, call)
    bias = bias_of(pattern.score) if weights.is_softmax else None
    changed = None
    if weights.is_softmax and bias is None and pattern.score is not SCORE:
        turned = slope(pattern.score)
        whole = bool(tensors_read(pattern.score))  # whose derivatives take s as it is
        plain = Scaled(1.0, cheap(pattern.score, call.numbers), cheap(turned, call.numbers))
        changed = plain if natural else scaled(pattern.score, turned, numbers=call.numbers, whole=whole)
    return Schedule(
        tuple(groups),
        lambda samples, heads, rows, cols: of_pairs(plan.predicate, call, samples, heads, rows, cols),
        by_distance=by_distance(plan.predicate),
        by_member=bool(reads(plan.predicate) & {"b", "h"}) or call.fields_differ,
        score=None if changed is None else _change(changed.score, SCORE, call),
        factor_of_s=changed.factor if changed is not None else LOG2E if weights.is_softmax else 1.0,
        bias=None if bias is None else _change(cheap(bias, call.numbers), SCORE, call),
        bias_by_distance=bias is not None and by_distance(bias),
        slope=_change(slope(pattern.weighed) if changed is None else changed.slope, ONE, call),
        unbounded=is_unbounded(pattern.weighed),
        learned=tuple(_learned(pattern.weighed, call, reals)),
        weight=None if weights.is_softmax else _change(pattern.weighed, None, call),
        divided=weights.divided,
        factor=_change(weights.factor, ONE, call),
        unbounded_factor=is_unbounded(weights.factor),
        learned_factor=tuple(_learned(weights.factor, call, reals)),
        sink=None if weights.sink is None else of_rows(weights.sink, call, compute_dtype(q.dtype)),
        maps=maps,
        landmarks=None if weights.landmarks is None else Landmarks(weights.landmarks, call.q_start),
        reach=None if not weights.is_softmax or is_unbounded(pattern.score) else partial(_reach, pattern.score, call),
    )


def _reach(score: Expr, call: Call, most: Tensor) -> tuple[Tensor, Tensor]:
    """The range of a score in powers of two, of products that are at most so large."""
    low, high = range_of(score, call, most)
    return low * LOG2E, high * LOG2E


def _learned(e: Expr, call: Call, names: Sequence[str]) -> Iterator[Learned]:
    for name, n in tensors_read(e):
        if name in names:
            yield Learned(name, _change(derivative(e, n), ONE, call), partial(entry_of_pairs, n, call))


def _change(e: Expr, neutral: Expr | None, call: Call) -> Change | None:
    """An expression as a function of pairs and their scores; None where it changes nothing."""
    if e is neutral:
        return None
    e = floated(e, call)

    def change(
        samples: Tensor, heads: Tensor, rows: Tensor, cols: Tensor, s: Tensor, *, overwrite: bool = False
    ) -> Tensor:
        tokens = {**tokens_of_pairs(call, samples, heads, rows, cols), "s": s}
        return (Overwriting(call, tokens, e) if overwrite else Evaluator(call, tokens))(e).to(s.dtype)

    return change


def _of_runs(program: TileProgram, call: Call, kv_heads: int | None) -> Iterator[Group]:
    """The groups of a launch whose tiles are runs of tokens; kv_heads: of k and v, where members may go together."""
    placed = in_order(call, program.label)
    found = spans(program, placed)
    orders = None if program.label is None else _orders(placed)
    if kv_heads is not None and (group := together(found, orders, call, kv_heads)) is not None:
        yield group
        return
    for at, visits in enumerate(found.visits(call.q_len)):
        batches, heads = _members(call, found.shape, divmod(at, found.shape[1]))
        if orders is None:
            yield Group(batches, heads, visits)
            continue
        apart = max(len(order) for order in orders) > 1
        for samples in (slice(b, b + 1) for b in range(batches.start, batches.stop)) if apart else (batches,):
            rows, keys = (order[samples.start % len(order)] for order in orders)
            yield Group(samples, heads, visits, rows, keys)


def _orders(placed: Call) -> tuple[Tensor, Tensor]:
    """(indices of the queries, of the keys) in the order of a label, [B or 1, tokens]."""
    tokens = placed.fields[TOKEN.name]
    return tokens.queries.long() - placed.q_start, tokens.keys.long()


def _gathered(programs: Programs, call: Call) -> Iterator[Group]:
    """The groups of a launch whose tokens are gathered."""
    found = gather(programs, call)
    for b in range(found.shape[0]):
        for h in range(found.shape[1]):
            batches, heads = _members(call, found.shape, (b, h))
            yield Group(batches, heads, *found.visits(b, h))


def _members(call: Call, shape: tuple[int, int], at: tuple[int, int]) -> tuple[slice, slice]:
    """The samples and heads that share the tiles computed at index `at` of [B or 1, H or 1]."""
    totals = (call.batch, call.heads)
    batches, heads = (slice(0, n) if s == 1 else slice(i, i + 1) for n, s, i in zip(totals, shape, at, strict=True))
    return batches, heads
